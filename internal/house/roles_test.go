package house

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRoles: where the code under test may start /proc/self/exe, which is the test
// binary then, TestMain says in every build what that is to be (testenv.Main). A
// binary that ran its tests again would start itself without end. The end-to-end
// tests run the program itself.
func TestRoles(t *testing.T) {
	starts := map[string]bool{}      // by package: it holds the name of the program itself
	imports := map[string][]string{} // of ours, by package
	guarded := map[string]bool{}     // by package with tests
	goFiles(t, func(name string, file *ast.File, _ *token.FileSet) {
		pkg := path.Dir(name)
		if isTest(name) {
			guarded[pkg] = guarded[pkg] || guards(file)
			pkg += " tests"
		}
		for _, spec := range file.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(imp, "postoffice/"); ok {
				imports[pkg] = append(imports[pkg], ours)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			starts[pkg] = starts[pkg] || ok && lit.Value == `"/proc/self/exe"`
			return true
		})
	})
	var reaches func(pkg string) bool
	reaches = func(pkg string) bool { return starts[pkg] || slices.ContainsFunc(imports[pkg], reaches) }
	n := 0
	for pkg, ok := range guarded {
		may := reaches(pkg) || slices.ContainsFunc(imports[pkg+" tests"], reaches)
		if !may || strings.HasPrefix(pkg, "internal/e2e/") {
			continue
		}
		n++
		if !ok {
			t.Errorf("%s may start its test binary: give it a TestMain with testenv.Main, in a file of every build", pkg)
		}
	}
	if n < 5 {
		t.Errorf("%d packages may start their test binary: more are known", n)
	}
}

// guards reports whether a file of every build on Linux has a TestMain that calls
// testenv.Main.
func guards(file *ast.File) (ok bool) {
	for _, c := range file.Comments {
		if text := c.List[0].Text; c.Pos() < file.Package && strings.HasPrefix(text, "//go:build ") && text != "//go:build linux" {
			return false
		}
	}
	for _, d := range file.Decls {
		f, is := d.(*ast.FuncDecl)
		if !is || f.Name.Name != "TestMain" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, is := n.(*ast.SelectorExpr)
			if is {
				x, named := sel.X.(*ast.Ident)
				ok = ok || named && x.Name == "testenv" && sel.Sel.Name == "Main"
			}
			return true
		})
	}
	return ok
}
