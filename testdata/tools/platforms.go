//go:build ignore

// Platforms says what doesn't compile where postoffice is to run: it reads the program as
// the compiler does for each platform, with the types of all that it imports, and makes no
// code, which would take a minute for each.
//
//	go run testdata/tools/platforms.go [-tags lite] GOOS/GOARCH...
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Standard        bool
	Module          *struct{ Main bool }
	Error           *struct{ Err string }
}

func main() {
	tags := flag.String("tags", "", "build tags")
	flag.Parse()
	failed := false
	for _, platform := range flag.Args() {
		if err := check(platform, *tags); err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "%s:\n%v\n", platform, err)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check reads all packages of one platform, those that others import first.
func check(platform, tags string) error {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return errors.New("want GOOS/GOARCH")
	}
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Standard,Module,Error", "-tags", tags, ".")
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	had := map[string]*types.Package{"unsafe": types.Unsafe}
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := in.Decode(&p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if p.Error != nil {
			return errors.New(p.Error.Err)
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		if had[p.ImportPath], err = p.check(arch, had); err != nil {
			return err
		}
	}
}

// imports finds what a package imports.
type imports struct {
	names map[string]string
	had   map[string]*types.Package
}

func (i imports) Import(path string) (*types.Package, error) {
	if to, ok := i.names[path]; ok {
		path = to
	}
	if p := i.had[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s isn't known", path)
}

// check reads one package; of others' what is exported.
func (p *listed) check(arch string, had map[string]*types.Package) (*types.Package, error) {
	ours := p.Module != nil && p.Module.Main
	set := token.NewFileSet()
	files := make([]*ast.File, len(p.GoFiles))
	broken := make([]error, len(p.GoFiles))
	var reading sync.WaitGroup
	for i, name := range p.GoFiles {
		reading.Go(func() {
			files[i], broken[i] = parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		})
	}
	reading.Wait()
	if err := errors.Join(broken...); err != nil {
		return nil, err
	}
	var all []error
	c := types.Config{
		Importer:         imports{p.ImportMap, had},
		Sizes:            types.SizesFor("gc", arch),
		IgnoreFuncBodies: !ours,
		Error:            func(err error) { all = append(all, err) },
	}
	made, _ := c.Check(p.ImportPath, set, files, nil)
	return made, errors.Join(all...)
}
