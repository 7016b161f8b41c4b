package house

import (
	"bytes"
	"cmp"
	"go/ast"
	"go/scanner"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rulesPage defines the codes of rules, one line each.
const rulesPage = "docs/rules.md"

// TestRules: each code that code, tests or pages cite is defined, and each that
// is defined is cited; a rule of what went wrong in mail servers by a test or its
// data, too, and its line names a test that there is. Nothing cites a page that is no part of the project.
func TestRules(t *testing.T) {
	page, err := os.ReadFile(rulesPage)
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	last := ""
	for _, m := range regexp.MustCompile(`(?m)^- \*\*([ABRS]\d+)\*\* \S.*\.$`).FindAllStringSubmatch(string(page), -1) {
		if defined[m[1]] {
			t.Errorf("%s defines %s twice", rulesPage, m[1])
		}
		if compareCodes(last, m[1]) > 0 {
			t.Errorf("%s has %s behind %s", rulesPage, m[1], last)
		}
		defined[m[1]], last = true, m[1]
	}
	tests := testNames(t)
	for _, m := range regexp.MustCompile(`(?m)^- \*\*(A\d+)\*\* .*$`).FindAllStringSubmatch(string(page), -1) {
		named := regexp.MustCompile(` Tested by (\w+)\.$`).FindStringSubmatch(m[0])
		if named == nil || !tests[named[1]] {
			t.Errorf("%s: %s does not end with \"Tested by TestOfIt.\", a test that there is", rulesPage, m[1])
		}
	}
	cited, tested := citations(t)
	for _, code := range slices.SortedFunc(maps.Keys(cited), compareCodes) {
		if !defined[code] {
			t.Errorf("%s cites %s, which %s does not define", cited[code], code, rulesPage)
		}
	}
	for _, code := range slices.SortedFunc(maps.Keys(defined), compareCodes) {
		if cited[code] == "" {
			t.Errorf("%s defines %s, which nothing cites", rulesPage, code)
		}
		if code[0] == 'A' && !tested[code] {
			t.Errorf("%s defines %s, which no test cites", rulesPage, code)
		}
	}
}

func compareCodes(a, b string) int {
	if a == "" || b == "" || a[0] != b[0] {
		return cmp.Compare(a, b)
	}
	x, _ := strconv.Atoi(a[1:])
	y, _ := strconv.Atoi(b[1:])
	return cmp.Compare(x, y)
}

// citations finds the codes that files cite, and a file for each: Go files in
// comments, strings and names of tests, others anywhere; and those that tests and
// their data cite.
func citations(t *testing.T) (cited map[string]string, tested map[string]bool) {
	t.Helper()
	cited, tested = map[string]string{}, map[string]bool{}
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (name == "testdata/messages" || name == "internal/dbm/standin" || len(name) > 1 && name[0] == '.'):
			return fs.SkipDir
		case e.IsDir() || name == rulesPage:
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		switch ext := filepath.Ext(name); {
		case bytes.IndexByte(text, 0) >= 0: // a program that was built here
			return nil
		case ext == ".go":
			text = []byte(citing(name, text))
		case !slices.Contains([]string{".md", ".txt", ".txtar", ".sh", ""}, ext) && !strings.HasPrefix(name, "docs/man/"):
			return nil
		}
		if m := regexp.MustCompile(`\b(hostile|original|DESIGN|HOUSE|STYLE)\.` + `md\b`).Find(text); m != nil {
			t.Errorf("%s cites %s, which is not here", name, m)
		}
		for _, code := range codesIn(string(text)) {
			cited[code] = cmp.Or(cited[code], name)
			tested[code] = tested[code] || isTest(name) || strings.Contains(name, "testdata/")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cited, tested
}

// citing is what a Go file says to people: comments, strings of more than one
// word, and the codes in names of tests.
func citing(name string, text []byte) string {
	inName := regexp.MustCompile(`(?:^Test|[a-z])([ABRS]\d{1,3})(?:[A-Z]|$)`)
	var b strings.Builder
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile(name, -1, len(text)), text, nil, scanner.ScanComments)
	for {
		_, kind, lit := s.Scan()
		switch {
		case kind == token.EOF:
			return b.String()
		case kind == token.COMMENT, kind == token.STRING && strings.Contains(lit, " "):
			b.WriteString(lit + "\n")
		case kind == token.IDENT && strings.HasPrefix(lit, "Test"):
			for _, m := range inName.FindAllStringSubmatch(lit, -1) {
				b.WriteString(m[1] + "\n")
			}
		}
	}
}

// codesIn finds the codes of a text, those within a range too.
func codesIn(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`\b[ABRS]\d{1,3}\b`).FindAllStringIndex(text, -1) {
		before := text[:m[0]]
		if !strings.HasSuffix(before, "=") && !strings.HasSuffix(before, "session ") { // IDs in examples
			all = append(all, text[m[0]:m[1]])
		}
	}
	for _, m := range regexp.MustCompile(`\b([ABRS])(\d{1,3})(?: to |–)([ABRS])(\d{1,3})\b`).FindAllStringSubmatch(text, -1) {
		from, _ := strconv.Atoi(m[2])
		to, _ := strconv.Atoi(m[4])
		for n := from; n <= to && m[1] == m[3]; n++ {
			all = append(all, m[1]+strconv.Itoa(n))
		}
	}
	return all
}

// TestSecurityPage: each test that the page of security names is there.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := testNames(t)
	named := regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(string(page), -1)
	for _, name := range named {
		if !there[name] {
			t.Errorf("docs/security.md names %s, which is no test", name)
		}
	}
	if len(named) < 20 {
		t.Errorf("docs/security.md names %d tests", len(named))
	}
}

// testNames are the names of all functions, tests' too.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	goFiles(t, func(_ string, file *ast.File, _ *token.FileSet) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				there[f.Name.Name] = true
			}
		}
	})
	return there
}
