package house

import (
	"cmp"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"testing"
)

// The most that may be.
const (
	packageFiles  = 15 // without tests
	fileLines     = 400
	functionLines = 60
)

// roomy packages have more files than they should: the number may fall, and go
// from here with the last one too many.
var roomy = map[string]int{"deliver": 27}

// TestSizes: a package is one concept, a file and a function can be read at once.
// Tests, which have tables, are free.
func TestSizes(t *testing.T) {
	files := map[string]int{} // by package
	goFiles(t, func(name string, file *ast.File, fset *token.FileSet) {
		if isTest(name) {
			return
		}
		if path.Base(name) != "doc.go" {
			files[path.Dir(name)]++
		}
		if n := fset.Position(file.FileEnd).Line; n > fileLines {
			t.Errorf("%s has %d lines, at most %d are allowed", name, n, fileLines)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > functionLines {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", fset.Position(f.Pos()), f.Name.Name, n, functionLines)
			}
		}
	})
	for _, pkg := range slices.Sorted(maps.Keys(files)) {
		if most := cmp.Or(roomy[pkg], packageFiles); files[pkg] > most || files[pkg] < roomy[pkg] {
			t.Errorf("%s has %d files without tests, want %d or, where roomy does not say so, fewer", pkg, files[pkg], most)
		}
	}
}
