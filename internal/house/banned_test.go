package house

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ban is a function or type of another package that doesn't belong here.
type ban struct {
	pkg, name string                 // import path and a regular expression for the name
	in        func(file source) bool // where it is banned
	why       string
}

// source is a file as the bans see it.
type source struct {
	name string
	*ast.File
}

func (s source) pkg() string   { return path.Dir(s.name) }
func (s source) shipped() bool { return !forTests(s.name) }

// forTests: the end-to-end tests have a harness in files of its own.
func forTests(name string) bool { return isTest(name) || strings.HasPrefix(name, "internal/e2e/") }

func (s source) imports(pkg string) bool {
	return slices.ContainsFunc(s.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(pkg) })
}

// parsers are the packages that read what a network peer or a queue file says.
var parsers = []string{"deliver/remote", "applets/control", "applets/privsep", "internal/smtp", "applets/smtpd", "applets/smtpd/wire", "spool"}

var bans = []ban{
	{"bufio", "^(NewScanner|Scanner)$", func(s source) bool { return s.shipped() && slices.Contains(parsers, s.pkg()) },
		"stops for good at 64 KiB (A5)"},
	{"syscall", "^Set(e|re|res|fs)?[ug]id$|^Setgroups$", func(s source) bool { return s.pkg() != "applets/privsep/creds" }, "changes all threads, and real and saved ids: see applets/privsep/creds"},
	{"golang.org/x/sys/unix", "^Set(e|re|res|fs)?[ug]id$|^Setgroups$", everywhere, "changes all threads, and real and saved ids: see applets/privsep/creds"},
	{"os", "^Exit$", func(s source) bool { return s.shipped() && s.name != "main.go" }, "return an error; main.go alone exits"},
	{"time", "^Sleep$", func(s source) bool { return forTests(s.name) && !s.imports("testing/synctest") }, "wait for the event, or in testing/synctest"},
	{"strings", "^(EqualFold|ToLower)$", comparesNames, "takes letters beyond ASCII for the like (A15): smtp.EqualFold, smtp.Fold"},
	{"bytes", "^(EqualFold|ToLower)$", comparesNames, "takes letters beyond ASCII for the like (A15): smtp.EqualFold, smtp.Fold"},
	{"net", "^(Listen|ListenTCP)$", func(s source) bool { return s.shipped() && s.pkg() != "internal/testenv" },
		"makes MPTCP sockets (A78): use net.ListenConfig with SetMultipathTCP(false)"},
}

func everywhere(source) bool { return true }

// comparesNames: the command line has no names but our own.
func comparesNames(s source) bool {
	return s.shipped() && s.pkg() != "applets/cmdline" && s.pkg() != "internal/testenv"
}

// TestBanned is A5 and a short list of the like, by syntax: calls, init functions
// and what would run before main.
func TestBanned(t *testing.T) {
	goFiles(t, func(name string, file *ast.File, fset *token.FileSet) {
		s := source{name, file}
		report := func(pos token.Pos, what, why string) {
			t.Errorf("%s: %s: %s", fset.Position(pos), what, why)
		}
		names := importNames(file)
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			for _, b := range bans {
				if names[x.Name] == b.pkg && b.in(s) && regexp.MustCompile(b.name).MatchString(sel.Sel.Name) {
					report(sel.Pos(), x.Name+"."+sel.Sel.Name, b.why)
				}
			}
			if forTests(name) && regexp.MustCompile(`^Skip(f|Now)?$`).MatchString(sel.Sel.Name) && (x.Name == "t" || x.Name == "b" || x.Name == "f") {
				report(sel.Pos(), "skipped test", "a test that can't run says what is missing and fails")
			}
			return true
		})
		if s.shipped() {
			beforeMain(file, names, report)
		}
	})
}

// importNames maps the names under which a file knows packages to their paths.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	return names
}

// beforeMain reports what every start of every applet would pay for.
func beforeMain(file *ast.File, names map[string]string, report func(pos token.Pos, what, why string)) {
	const why = "every applet pays for it at its start"
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			report(f.Pos(), "func init", why)
		}
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		ast.Inspect(g, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false // runs when it is called
			case *ast.CompositeLit:
				if _, ok := n.Type.(*ast.MapType); ok && len(n.Elts) > 0 {
					report(n.Pos(), "filled map at package level", why)
				}
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] == "regexp" {
						report(n.Pos(), "regexp at package level", why)
					}
				}
			}
			return true
		})
	}
}

// TestNothingLeftForLater: the words that mean it.
func TestNothingLeftForLater(t *testing.T) {
	words := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	goFiles(t, func(name string, _ *ast.File, _ *token.FileSet) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		number := 0
		for line := range strings.Lines(string(data)) {
			number++
			if w := words.FindString(line); w != "" {
				t.Errorf("%s:%d: %s", name, number, w)
			}
		}
	})
}
