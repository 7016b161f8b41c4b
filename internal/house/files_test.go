package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPagesListed: each page of the manual is in the lists that readers begin with,
// those of README.md and of postoffice(8), and where one leads to another its section is right.
func TestPagesListed(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile("docs/man/postoffice.8")
	if err != nil {
		t.Fatal(err)
	}
	_, also, _ := strings.Cut(string(first), ".Sh SEE ALSO")
	pages, err := filepath.Glob("docs/man/*.[1-9]")
	if err != nil || len(pages) == 0 {
		t.Fatal(err)
	}
	for _, page := range pages {
		name, section := strings.TrimSuffix(filepath.Base(page), path.Ext(page)), path.Ext(page)[1:]
		if !strings.Contains(string(readme), name+"("+section+")") {
			t.Errorf("README.md has no %s(%s)", name, section)
		}
		if name != "postoffice" && !strings.Contains(also, ".Xr "+name+" "+section) {
			t.Errorf("postoffice(8) has no %s(%s) under SEE ALSO", name, section)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Xr (\S+) ([1-9])`).FindAllStringSubmatch(string(text), -1) {
			ours, err := filepath.Glob("docs/man/" + m[1] + ".[1-9]")
			if err != nil || len(ours) > 0 && !slices.Contains(ours, "docs/man/"+m[1]+"."+m[2]) {
				t.Errorf("%s leads to %s(%s), and there is %v", page, m[1], m[2], ours)
			}
		}
	}
}

// TestFileLists: the doc.go of each package of several files lists them in a line
// each, and its tests where it has nothing else.
func TestFileLists(t *testing.T) {
	fileLines := regexp.MustCompile(`(?m)^(?:\t| +- )[a-z0-9_]+\.go(?:, [a-z0-9_]+\.go)*(?::| +\S|$)`)
	fileNames := regexp.MustCompile(`[a-z0-9_]+\.go`)
	real, listed := map[string][]string{}, map[string][]string{}
	onlyTests := map[string]bool{}
	goFiles(t, func(name string, file *ast.File, _ *token.FileSet) {
		pkg, base := path.Dir(name), path.Base(name)
		switch {
		case pkg == "." || strings.HasPrefix(pkg, "internal/dbm/standin"):
			return
		case base == "doc.go":
			for _, line := range fileLines.FindAllString(file.Doc.Text(), -1) {
				listed[pkg] = append(listed[pkg], fileNames.FindAllString(line, -1)...)
			}
			if _, ok := onlyTests[pkg]; !ok {
				onlyTests[pkg] = true
			}
		default:
			real[pkg] = append(real[pkg], base)
			if !isTest(base) {
				onlyTests[pkg] = false
			} else if _, ok := onlyTests[pkg]; !ok {
				onlyTests[pkg] = true
			}
		}
	})
	for _, pkg := range slices.Sorted(maps.Keys(real)) {
		if len(real[pkg]) == 1 {
			continue
		}
		want := slices.DeleteFunc(slices.Sorted(slices.Values(real[pkg])), func(name string) bool {
			return isTest(name) && !onlyTests[pkg] || name == "main_test.go"
		})
		got := slices.DeleteFunc(slices.Sorted(slices.Values(listed[pkg])), func(name string) bool { return name == "main_test.go" })
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s/doc.go does not list %s", pkg, name)
			}
		}
		for _, name := range got {
			if !slices.Contains(want, name) {
				t.Errorf("%s/doc.go lists %s, which is no file of the package's", pkg, name)
			}
		}
		if len(got) != len(slices.Compact(slices.Clone(got))) {
			t.Errorf("%s/doc.go lists a file twice", pkg)
		}
	}
}

// TestDecisions: each page of decisions has a number of its own, in its name and
// its heading. A number may be missing while its page is being written.
func TestDecisions(t *testing.T) {
	pages, err := filepath.Glob("docs/decisions/[0-9][0-9][0-9][0-9]-*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	last := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(filepath.Base(page)[:4])
		if err != nil || number <= last || !strings.HasPrefix(string(text), fmt.Sprintf("# %d. ", number)) {
			t.Errorf("%s: its heading says another number, or another page has that", page)
		}
		last = number
	}
}
