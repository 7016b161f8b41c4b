package house

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// crashRuns are what runs a suite of crashfs, by the prefix that the names of its
// tests have: make leaves them out or runs them alone by it.
var crashRuns = map[string][]string{
	"TestCrash":     {"EveryStep", "EveryStepTwice", "EveryError", "Mutants", "Sites"},
	"TestInterleav": {"Interleave"},
}

// TestPrefixes: whatever runs a suite of crashfs is named so; what runs one of
// each kind is named after the first.
func TestPrefixes(t *testing.T) {
	calls := map[string]map[string][]string{} // by package and function: what it names
	goFiles(t, func(name string, file *ast.File, _ *token.FileSet) {
		pkg := path.Dir(name)
		if !isTest(name) || pkg == "internal/disk/crashfs" { // its own tests are small
			return
		}
		if calls[pkg] == nil {
			calls[pkg] = map[string][]string{}
		}
		for _, d := range file.Decls {
			for _, f := range declared(d) {
				calls[pkg][f] = append(calls[pkg][f], named(d)...)
			}
		}
	})
	found := 0
	for _, pkg := range slices.Sorted(maps.Keys(calls)) {
		for f := range calls[pkg] {
			if !strings.HasPrefix(f, "Test") {
				continue
			}
			all := reached(calls[pkg], f)
			want := ""
			for _, prefix := range []string{"TestCrash", "TestInterleav"} {
				run := slices.ContainsFunc(crashRuns[prefix], func(name string) bool { return all["crashfs"] && all[name] })
				if run && want == "" {
					want = prefix
					found++
				}
			}
			if !strings.HasPrefix(f, want) {
				t.Errorf("%s: %s runs a suite of crashfs: call it %s...", pkg, f, want)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d tests that run suites of crashfs: is this test blind?", found)
	}
}

// declared is what a declaration declares: functions by name, methods too, and
// variables, which may be tables of functions.
func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return []string{d.Name.Name}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok {
				for _, n := range v.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// named are the identifiers in a declaration.
func named(d ast.Decl) (names []string) {
	ast.Inspect(d, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
		return true
	})
	return names
}

// reached are the names that a function mentions, and those that they mention.
func reached(calls map[string][]string, f string) map[string]bool {
	all := map[string]bool{}
	next := []string{f}
	for len(next) > 0 {
		var more []string
		for _, f := range next {
			for _, name := range calls[f] {
				if !all[name] {
					all[name] = true
					more = append(more, name)
				}
			}
		}
		next = more
	}
	return all
}
