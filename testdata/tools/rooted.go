//go:build ignore

// Rooted prints a pattern of the tests that need root, for go test -skip: those that ask by
// testenv.NeedsRoot, themselves or by a function beside them. A name that a test of another
// package has too is an error, since that one would be left out with it.
//
//	go run testdata/tools/rooted.go
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tests are the functions of tests, by package.
type tests map[string]functions

// functions are those of the tests of a package, with the names that each uses.
type functions map[string]map[string]bool

func main() {
	names, err := rooted(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "rooted:", err)
		os.Exit(1)
	}
	fmt.Printf("^(%s)$\n", strings.Join(names, "|"))
}

// rooted are the names of the tests of a tree that need root, in their order.
func rooted(dir string) ([]string, error) {
	packages := tests{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != dir && (e.Name()[0] == '.' || e.Name() == "testdata" || e.Name() == "vendor"):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		if ours, err := build.Default.MatchFile(filepath.Dir(name), e.Name()); err != nil || !ours {
			return err
		}
		return packages.add(name)
	})
	if err != nil {
		return nil, err
	}
	homes := map[string][]string{} // by test, the packages that have one of that name
	var need []string
	for home, all := range packages {
		for name := range all {
			if !strings.HasPrefix(name, "Test") || name == "TestMain" {
				continue
			}
			homes[name] = append(homes[name], home)
			if all.reach(name, map[string]bool{}) {
				need = append(need, name)
			}
		}
	}
	slices.Sort(need)
	var twice []error
	for _, name := range need {
		if len(homes[name]) > 1 {
			twice = append(twice, fmt.Errorf("%s needs root in one of %s: give it a name of its own", name, strings.Join(homes[name], ", ")))
		}
	}
	return need, errors.Join(twice...)
}

// add reads a file of tests.
func (t tests) add(name string) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	home := filepath.Dir(name)
	if t[home] == nil {
		t[home] = functions{}
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Body == nil {
			continue
		}
		used := map[string]bool{}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					used[x.Name+"."+n.Sel.Name] = true
					return false
				}
			case *ast.Ident:
				used[n.Name] = true
			}
			return true
		})
		t[home][f.Name.Name] = used
	}
	return nil
}

// reach reports whether a function asks for root, by itself or by another one.
func (all functions) reach(name string, seen map[string]bool) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	for used := range all[name] {
		if used == "testenv.NeedsRoot" || all.reach(used, seen) {
			return true
		}
	}
	return false
}
