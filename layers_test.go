package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers is the architecture: which of our packages each package may import.
// docs/architecture.md says why; both change together.
var layers = map[string][]string{
	".": {"applets"},
	"applets": {
		"deliver", "deliver/local", "deliver/remote", "internal/alias", "internal/config", "internal/control",
		"internal/dbm", "internal/disk", "internal/maillog", "internal/peer", "internal/privsep", "internal/smtp",
		"internal/smtpd",
		"internal/sysexits", "resolver", "spool",
	},
	"deliver":               {"deliver/local", "deliver/remote", "internal/alias", "internal/maillog", "internal/smtp", "resolver", "spool"},
	"deliver/local":         {"internal/alias", "internal/disk", "internal/maillog", "internal/smtp"},
	"deliver/remote":        {"internal/maillog", "internal/smtp", "resolver"},
	"internal/alias":        {"internal/dbm", "internal/smtp"},
	"internal/config":       {},
	"internal/control":      {"internal/peer"},
	"internal/dbm":          {"internal/disk"},
	"internal/disk":         {},
	"internal/disk/crashfs": {"internal/disk"},
	"internal/e2e":          {},
	"internal/maillog":      {"internal/smtp"},
	"internal/peer":         {},
	"internal/privsep":      {"deliver/local", "internal/control", "internal/maillog"},
	"internal/smtp":         {},
	"internal/smtpd":        {"internal/maillog", "internal/peer", "internal/smtp"},
	"internal/sysexits":     {},
	"internal/testenv":      {"internal/smtp"},
	"resolver":              {"internal/maillog"},
	"spool":                 {"internal/disk", "internal/maillog", "internal/smtp"},

	"third_party/errors":                {},
	"third_party/errors/join":           {},
	"third_party/errors/oserror":        {},
	"third_party/prometheus/prometheus": {},
}

// only names the packages that may import a heavy or dangerous one, and what
// nobody may.
var only = map[string][]string{
	"github.com/cockroachdb/errors":   {}, // Pebble's, from third_party
	"github.com/cockroachdb/pebble":   {"internal/dbm"},
	"github.com/google/go-cmp":        {}, // in tests
	"github.com/miekg/dns":            {"resolver", "internal/testenv"},
	"github.com/rogpeppe/go-internal": {}, // in tests
	"github.com/spf13/pflag":          {"applets"},
	"log":                             {}, // log/slog
	"net/smtp":                        {}, // internal/smtp
	"net/textproto":                   {}, // ends a message at a bare LF (A5)
	"testing":                         {"internal/disk/crashfs", "internal/testenv"},
	"unsafe":                          {"internal/disk", "internal/privsep", "internal/testenv"},
}

// goFiles calls check with each Go file of the tree, tests included, whatever
// its build constraints.
func goFiles(t *testing.T, check func(name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || len(name) > 1 && name[0] == '.'):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		check(filepath.ToSlash(name), file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func TestLayers(t *testing.T) {
	const mod = "postoffice/"
	documented := map[string]bool{}
	goFiles(t, func(name string, file *ast.File, _ *token.FileSet) {
		if isTest(name) {
			return
		}
		pkg := path.Dir(name)
		may, ok := layers[pkg]
		if !ok {
			t.Errorf("%s: give %s a row in layers and a line in docs/architecture.md", name, pkg)
		}
		documented[pkg] = documented[pkg] || file.Doc != nil
		for _, spec := range file.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(imp, mod); ok && !slices.Contains(may, ours) {
				t.Errorf("%s: %s may not import %s", name, pkg, ours)
			}
			for p, who := range only {
				if (imp == p || strings.HasPrefix(imp, p+"/") && strings.Contains(p, ".")) && !slices.Contains(who, pkg) {
					t.Errorf("%s: %s may not import %s", name, pkg, imp)
				}
			}
		}
	})
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
	for pkg := range layers {
		if _, ok := documented[pkg]; !ok {
			t.Errorf("layers has a row for %s, which is no package", pkg)
		}
	}
}

// TestArchitecturePage: the page that explains the borders names each package.
func TestArchitecturePage(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range slices.Sorted(maps.Keys(layers)) {
		if pkg != "." && !strings.Contains(string(page), pkg) {
			t.Errorf("docs/architecture.md says nothing of %s", pkg)
		}
	}
}
