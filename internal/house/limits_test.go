package house

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limitsPage lists what bounds the program, and is made from the code.
const limitsPage = "docs/limits.md"

var update = flag.Bool("update", false, "write "+limitsPage+" anew")

// limitName is how constants are named that bound something: a number or size of
// ours (max…), or a time (…Wait).
var limitName = regexp.MustCompile(`^[mM]ax[A-Z]|^least[A-Z]|[a-z](Max|Wait|Grace|Share|Budget|Places)$`)

// A limit is a constant that bounds something.
type limit struct{ name, value, what string }

// TestLimitsPage: the page has each limit of the code with its value and what it
// bounds, and each limit says that. make man writes it anew.
func TestLimitsPage(t *testing.T) {
	page := limitsText(t)
	if *update {
		if err := os.WriteFile(limitsPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(limitsPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, page) {
		t.Errorf("%s is not what the code says: run `make man`", limitsPage)
	}
}

// limitsText makes the page.
func limitsText(t *testing.T) []byte {
	t.Helper()
	var page bytes.Buffer
	page.WriteString(`# Limits

Every bound in the code, by package, made from it by a test: constants that are named as one, and the places at gates. What an administrator may set is in postoffice.cf(5), which has its defaults; what all this is held against is in [security.md](security.md).

## Gates: how many messages may be at one place

| what | at one, to begin with | at one | at all together | of these for one submitter | when it is down |
| --- | --- | --- | --- | --- | --- |
`)
	exports := exportData(t)
	packages := shippedPackages(t)
	gates := false
	var rest bytes.Buffer
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		fset, info := token.NewFileSet(), &types.Info{Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
		files := checkedFiles(t, fset, info, pkg, packages[pkg], exports)
		if pkg == "deliver/schedule" {
			rows := gateRows(info, files)
			page.WriteString(strings.Join(rows, ""))
			gates = len(rows) > 0
		}
		limits := limitsOf(t, fset, info, files)
		if len(limits) == 0 {
			continue
		}
		fmt.Fprintf(&rest, "\n## %s\n\n| limit | | what |\n| --- | --- | --- |\n", pkg)
		for _, l := range limits {
			fmt.Fprintf(&rest, "| %s | %s | %s |\n", l.name, l.value, l.what)
		}
	}
	if !gates {
		t.Error("deliver/schedule has no table of gates named kinds")
	}
	page.Write(rest.Bytes())
	return page.Bytes()
}

// exportData returns where the compiled form of each package is.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if pkg, file, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && file != "" {
			files[pkg] = file
		}
	}
	return files
}

// shippedPackages returns the names of the files of each package of ours that
// is shipped, as they are built here.
func shippedPackages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}\t{{join .GoFiles \" \"}}{{end}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		pkg, files, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if pkg, ours := strings.CutPrefix(pkg, "postoffice/"); ours {
			packages[pkg] = strings.Fields(files)
		}
	}
	return packages
}

// checkedFiles reads a package and works out the values of its constants.
func checkedFiles(t *testing.T, fset *token.FileSet, info *types.Info, pkg string, names []string, exports map[string]string) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(fset, filepath.Join(pkg, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) { return os.Open(exports[p]) })}
	if _, err := conf.Check("postoffice/"+pkg, fset, files, info); err != nil {
		t.Fatal(err)
	}
	return files
}

// limitsOf returns the limits of a package in the order of its files.
func limitsOf(t *testing.T, fset *token.FileSet, info *types.Info, files []*ast.File) []limit {
	t.Helper()
	var limits []limit
	for _, file := range files {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for _, name := range v.Names {
					c, ok := info.Defs[name].(*types.Const)
					if !ok || !limitName.MatchString(name.Name) || c.Val().Kind() == constant.String {
						continue
					}
					what := limitWords(g, v, name.Name)
					if what == "" {
						t.Errorf("%s: what does %s bound? A comment in its line or above it says so in %s", fset.Position(name.Pos()), name.Name, limitsPage)
					}
					limits = append(limits, limit{name.Name, limitValue(c, shifted(v)), what})
				}
			}
		}
	}
	return limits
}

// limitWords returns what the comment of a constant says.
func limitWords(g *ast.GenDecl, v *ast.ValueSpec, name string) string {
	comment := v.Comment
	if comment == nil {
		comment = v.Doc
	}
	if comment == nil && !g.Lparen.IsValid() {
		comment = g.Doc
	}
	words := strings.Join(strings.Fields(comment.Text()), " ")
	for _, verb := range []string{" is ", " bounds "} {
		words = strings.TrimPrefix(words, name+verb)
	}
	return strings.ReplaceAll(strings.TrimSuffix(words, "."), "|", "\\|")
}

// shifted tells whether a value is written as octets are, 64 << 10.
func shifted(v *ast.ValueSpec) bool {
	for _, e := range v.Values {
		if e, ok := e.(*ast.BinaryExpr); ok && e.Op == token.SHL {
			if by, ok := e.Y.(*ast.BasicLit); ok && slices.Contains([]string{"10", "20", "30", "40"}, by.Value) {
				return true
			}
		}
	}
	return false
}

// limitValue writes a value as people do.
func limitValue(c *types.Const, octets bool) string {
	n, exact := constant.Int64Val(constant.ToInt(c.Val()))
	switch {
	case !exact:
		return c.Val().String()
	case c.Type().String() == "time.Duration":
		return shortTime(time.Duration(n))
	case octets && n%(1<<30) == 0:
		return thousands(n>>30) + " GiB"
	case octets && n%(1<<20) == 0:
		return thousands(n>>20) + " MiB"
	case octets:
		return thousands(n>>10) + " KiB"
	}
	return thousands(n)
}

// shortTime writes 90s as 1m30s and an hour as 1h.
func shortTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// gateRows returns the rows of the table of gates, from the literal of the
// variable kinds.
func gateRows(info *types.Info, files []*ast.File) []string {
	var rows []string
	comments := map[string]string{} // of each Kind
	for _, file := range files {
		for n := range ast.Preorder(file) {
			switch n := n.(type) {
			case *ast.GenDecl:
				for _, s := range n.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && n.Tok == token.CONST {
						comments[v.Names[0].Name] = limitWords(n, v, v.Names[0].Name)
					}
				}
			case *ast.ValueSpec:
				if n.Names[0].Name != "kinds" || len(n.Values) != 1 {
					continue
				}
				if literal, ok := n.Values[0].(*ast.CompositeLit); ok {
					for _, e := range literal.Elts {
						rows = append(rows, gateRow(info, comments, e.(*ast.KeyValueExpr)))
					}
				}
			}
		}
	}
	return rows
}

// gateRow returns the row of one Kind.
func gateRow(info *types.Info, comments map[string]string, e *ast.KeyValueExpr) string {
	kind := e.Key.(*ast.Ident).Name
	fields := map[string]constant.Value{}
	for _, f := range e.Value.(*ast.CompositeLit).Elts {
		f := f.(*ast.KeyValueExpr)
		fields[f.Key.(*ast.Ident).Name] = info.Types[f.Value].Value
	}
	number := func(name string) (int64, string) {
		if fields[name] == nil {
			return 0, ""
		}
		n, _ := constant.Int64Val(fields[name])
		return n, thousands(n)
	}
	_, first := number("first")
	_, most := number("most")
	n, all := number("all")
	share, down := "", ""
	if fields["shared"] != nil {
		share = thousands(n / 4)
	}
	if d, _ := number("down"); d > 0 {
		down = shortTime(time.Duration(d))
	}
	what := kind
	if comments[kind] != "" {
		what += ": " + comments[kind]
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", what, first, most, all, share, down)
}
