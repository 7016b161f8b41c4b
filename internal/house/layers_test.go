package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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

// layers is the architecture: which of our packages each package may import.
// docs/architecture.md says why; both change together.
var layers = map[string][]string{
	"applets/databases":      {"applets/client", "applets/cmdline", "applets/control", "applets/smtpd/greylist", "applets/state", "applets/sysexits", "internal/dbm", "internal/dbm/store", "internal/smtp"},
	"applets/state":          {"applets/privsep/creds", "internal/account", "internal/dbm/store", "internal/disk", "internal/maillog", "internal/statedir"},
	"applets/privsep/birth":  {"applets/privsep/creds", "applets/service"},
	"vhost":                  {"internal/account", "internal/alias", "internal/disk", "internal/smtp", "vhost/index"},
	"vhost/index":            {"internal/disk"},
	"applets/privsep/ask":    {},
	"applets/privsep/auth":   {"applets/logins/accounts", "applets/privsep/ask", "applets/privsep/birth", "applets/privsep/creds", "applets/privsep/logins", "applets/service", "applets/smtpd/login", "deliver/local/mailbox", "deliver/local/quota", "internal/account", "internal/disk", "internal/smtp", "vhost"},
	"applets/privsep/signer": {"applets/privsep/ask", "applets/privsep/birth", "applets/privsep/creds", "applets/service", "internal/maillog"},
	"applets/privsep/creds":  {"internal/account"},
	"applets/service":        {"internal/maillog"},
	"deliver/local/stalled":  {},
	"deliver/local/quota":    {"internal/disk"},
	"deliver/local/mailbox":  {"deliver/local", "deliver/local/quota", "deliver/local/stalled", "deliver/outcome", "internal/account", "internal/disk", "internal/maillog"},
	"deliver/local/user":     {"deliver/local", "deliver/local/mailbox", "deliver/local/stalled", "deliver/outcome", "internal/account", "internal/alias", "internal/disk", "internal/smtp"},
	".":                      {"applets"},
	"applets/client": {
		"applets/cmdline", "applets/config", "applets/control", "applets/server", "applets/service", "applets/smtpd/greykeeper", "applets/state", "applets/sysexits", "internal/dbm/store", "internal/disk",
		"internal/maillog", "internal/message", "internal/peer", "internal/smtp", "spool", "spool/envelope", "spool/maildrop",
	},
	"applets": {
		"applets/checkrelay", "applets/client", "applets/cmdline", "applets/config", "applets/control", "applets/policy", "applets/install", "applets/larger", "applets/manage", "applets/preflight", "applets/pretend", "applets/server", "applets/sysexits", "applets/trymilter", "applets/virtual", "deliver", "deliver/masquerade", "deliver/route", "deliver/routes",
		"internal/alias", "internal/dbm", "internal/smarthost", "internal/smtp", "spool", "spool/envelope", "vhost",
	},
	"applets/authexpire": {"applets/client", "applets/cmdline", "applets/config", "applets/control", "applets/server", "applets/smtpd/greykeeper", "applets/smtpd/greylist", "applets/state", "applets/sysexits", "internal/smtp"},
	"applets/virtual":    {"applets/cmdline", "applets/config", "applets/privsep/creds", "applets/sysexits", "internal/account", "internal/disk", "internal/hashes", "internal/idn", "internal/sasl", "internal/smtp", "vhost"},
	"applets/certs":      {"internal/disk", "internal/maillog", "internal/statedir"},
	"applets/preflight":  {"applets/cmdline", "applets/config", "applets/service", "applets/sysexits", "deliver/local/mailbox", "internal/alias", "internal/disk", "internal/filterline", "spool", "spool/maildrop", "vhost"},
	"applets/server": {
		"applets/certs", "applets/cmdline", "applets/coal", "applets/coal/nft", "applets/config", "applets/control", "applets/judging", "applets/logins", "applets/passwords", "applets/policy", "applets/preflight", "applets/privsep", "applets/privsep/auth", "applets/privsep/creds", "applets/privsep/shadow", "applets/privsep/signer", "applets/service", "applets/smtpd", "applets/filters", "applets/smtpd/greykeeper", "applets/smtpd/greylist", "applets/smtpd/pools", "applets/smtpd/rates", "applets/state", "applets/sysexits", "deliver", "deliver/local", "deliver/local/mailbox", "deliver/local/user", "deliver/masquerade",
		"deliver/remote", "deliver/remote/login", "deliver/route", "deliver/routes", "internal/account", "internal/alias", "internal/dbm/store", "internal/disk", "internal/maillog", "internal/peer", "internal/smarthost", "internal/smtp", "internal/statedir", "resolver", "spool", "spool/envelope", "spool/maildrop", "spool/shares", "vhost",
	},
	"deliver":                  {"deliver/local", "deliver/masquerade", "deliver/outcome", "deliver/remote", "deliver/report", "deliver/route", "deliver/schedule", "internal/account", "internal/maillog", "internal/message", "internal/peer", "internal/smtp", "spool", "spool/envelope"},
	"deliver/local":            {"deliver/outcome", "internal/alias", "internal/message", "internal/smtp", "spool/envelope"},
	"deliver/route":            {"deliver/local", "deliver/outcome", "deliver/remote", "deliver/routes", "internal/account", "internal/alias", "internal/smarthost", "internal/smtp", "resolver", "spool/envelope"},
	"deliver/outcome":          {"internal/smtp"},
	"deliver/report":           {"deliver/outcome", "internal/message", "internal/smtp"},
	"deliver/remote":           {"deliver/outcome", "deliver/remote/cert", "deliver/remote/login", "internal/maillog", "internal/peer", "internal/smarthost", "internal/smtp", "resolver"},
	"deliver/remote/cert":      {"internal/smtp"},
	"deliver/remote/login":     {"deliver/remote/cert", "internal/maillog", "internal/sasl", "internal/smarthost", "internal/smtp"},
	"deliver/masquerade":       {"internal/maillog", "internal/message", "internal/smtp", "internal/watched", "spool/envelope"},
	"deliver/routes":           {"internal/maillog", "internal/smarthost", "internal/smtp", "internal/watched"},
	"deliver/schedule":         {"deliver/outcome", "spool"},
	"internal/account":         {"internal/disk", "internal/smtp"},
	"internal/alias":           {"internal/dbm", "internal/disk", "internal/smtp"},
	"applets/cmdline":          {"applets/config", "applets/sysexits"},
	"applets/coal":             {"internal/maillog", "internal/peer"},
	"applets/coal/nft":         {},
	"applets/config":           {"internal/filterline", "internal/nearest", "internal/smarthost", "internal/smtp"},
	"applets/control":          {"internal/peer"},
	"internal/dbm":             {"internal/disk"},
	"internal/disk":            {},
	"internal/disk/crashfs":    {"internal/disk"},
	"internal/e2e/bench":       {},
	"internal/e2e/faults":      {},
	"internal/e2e/flow":        {},
	"internal/e2e/lan":         {"internal/testenv", "internal/testenv/roots"},
	"internal/e2e/letters":     {"internal/e2e/lan", "internal/testenv"},
	"internal/e2e/memory":      {},
	"internal/e2e/packages":    {},
	"internal/e2e/peers":       {},
	"internal/e2e/programs":    {},
	"internal/e2e/milters":     {},
	"internal/house":           {},
	"internal/idn":             {},
	"internal/maillog":         {"internal/smtp"},
	"internal/message":         {"internal/smtp"},
	"internal/hashes":          {"internal/turns"},
	"internal/turns":           {},
	"internal/nearest":         {"internal/smtp"},
	"internal/peer":            {},
	"internal/statedir":        {"internal/disk"},
	"applets/privsep/shadow":   {"applets/logins/accounts", "applets/privsep/birth", "applets/privsep/creds", "applets/privsep/logins", "applets/service", "applets/smtpd/login", "internal/account"},
	"internal/watched":         {"internal/disk"},
	"applets/privsep":          {"applets/privsep/birth", "applets/privsep/creds", "applets/privsep/signer", "applets/service", "deliver/local", "deliver/local/mailbox", "deliver/local/stalled", "deliver/outcome", "internal/account", "internal/maillog"},
	"internal/sasl":            {},
	"internal/smarthost":       {"internal/sasl", "internal/smtp"},
	"internal/smtp":            {"internal/idn"},
	"applets/smtpd":            {"applets/smtpd/edits", "applets/smtpd/login", "applets/smtpd/places", "applets/smtpd/proxy", "applets/smtpd/rates", "applets/smtpd/wire", "internal/maillog", "internal/message", "internal/peer", "internal/smtp"},
	"applets/trymilter":        {"applets/config", "applets/filters", "internal/filterline", "internal/message", "internal/smtp", "milter", "resolver"},
	"applets/smtpd/edits":      {"internal/message", "internal/smtp"},
	"applets/filters":          {"applets/smtpd", "applets/smtpd/edits", "internal/filterline", "internal/maillog", "internal/message", "internal/peer", "internal/smtp", "milter"},
	"internal/filterline":      {"internal/smtp"},
	"applets/smtpd/login":      {"internal/sasl", "internal/smtp"},
	"applets/smtpd/places":     {"internal/peer"},
	"applets/smtpd/proxy":      {"internal/smtp"},
	"applets/smtpd/rates":      {"internal/peer"},
	"applets/smtpd/greylist":   {"internal/smtp"},
	"applets/smtpd/greytest":   {"applets/smtpd/greylist"},
	"applets/smtpd/pools":      {"internal/smtp"},
	"applets/smtpd/greykeeper": {"applets/smtpd/greylist", "applets/smtpd/rates", "internal/maillog", "internal/smtp"},
	"applets/smtpd/wire":       {"internal/sasl", "internal/smtp"},
	"applets/logins":           {"applets/logins/dovecot", "applets/smtpd/login", "internal/disk", "internal/maillog", "internal/statedir"},
	"applets/logins/accounts":  {"applets/smtpd/login", "applets/smtpd/rates", "internal/hashes", "internal/idn", "internal/peer", "internal/sasl", "internal/smtp"},
	"applets/privsep/logins":   {"applets/privsep/ask", "applets/smtpd/login", "internal/peer", "internal/sasl"},
	"applets/logins/dovecot":   {"applets/smtpd/login", "internal/smtp"},
	"applets/passwords":        {"applets/privsep/birth", "applets/privsep/creds", "internal/account", "internal/smtp"},
	"applets/judging":          {"applets/filters", "applets/smtpd", "applets/smtpd/edits", "deliver/local", "deliver/outcome", "internal/maillog", "internal/message", "internal/smtp", "internal/turns", "spool", "spool/envelope"},
	"applets/checkrelay":       {"applets/cmdline", "applets/config", "applets/passwords", "applets/sysexits", "deliver/outcome", "deliver/remote", "deliver/remote/login", "deliver/routes", "internal/smarthost", "internal/smtp", "resolver"},
	"applets/policy":           {"applets/policy/hosts", "applets/smtpd", "applets/filters", "applets/smtpd/greykeeper", "applets/smtpd/greylist", "internal/maillog", "internal/smtp", "internal/watched"},
	"applets/policy/hosts":     {"internal/nearest", "internal/smtp"},
	"applets/larger":           {"applets/authexpire", "applets/cmdline", "applets/databases", "applets/sysexits", "applets/virtual"},
	"applets/pretend":          {},
	"applets/sysexits":         {},
	"internal/testenv":         {"internal/testenv/testfilter"},
	"milter":                   {"internal/message", "internal/smtp"},
	"resolver":                 {"internal/disk", "internal/maillog", "internal/smtp"},
	"spool":                    {"internal/disk", "internal/maillog", "spool/envelope"},
	"spool/envelope":           {"internal/smtp"},
	"spool/shares":             {"internal/peer", "spool/envelope"},
	"spool/maildrop":           {"internal/disk", "internal/maillog", "internal/smtp", "spool/envelope"},

	"internal/dbm/store":                         {"internal/disk", "internal/maillog"},
	"internal/dbm/standin/errors":                {},
	"internal/dbm/standin/errors/join":           {},
	"internal/dbm/standin/errors/oserror":        {},
	"internal/dbm/standin/prometheus/prometheus": {},
	"internal/dbm/standin/datadog":               {},
	"internal/dbm/standin/klauspost/zstd":        {},
	"internal/dbm/standin/minlz":                 {},
	"internal/testenv/testfilter":                {},
	"internal/testenv/machine":                   {},
	"internal/testenv/roots":                     {},
	"packaging":                                  {},
	"applets/install":                            {"applets/cmdline", "applets/install/plan", "applets/sysexits"},
	"applets/install/plan":                       {"packaging"},
	"applets/manage":                             {"applets/cmdline", "applets/config", "applets/control", "applets/server", "applets/service"},
	"internal/e2e/installs":                      {},
}

// only names the packages that may import a heavy or dangerous one, and what
// nobody may.
var only = map[string][]string{
	"github.com/cockroachdb/errors":   {}, // Pebble's, from internal/dbm/standin
	"github.com/cockroachdb/pebble":   {"internal/dbm", "internal/dbm/store"},
	"github.com/d--j/go-milter":       {}, // in tests
	"github.com/google/go-cmp":        {}, // in tests
	"github.com/google/nftables":      {"applets/coal/nft"},
	"github.com/miekg/dns":            {"resolver", "internal/testenv"},
	"github.com/rogpeppe/go-internal": {}, // in tests
	"github.com/spf13/pflag":          {"applets", "applets/cmdline"},
	"log":                             {}, // log/slog
	"net/smtp":                        {}, // internal/smtp
	"net/textproto":                   {}, // ends a message at a bare LF (A5)
	"testing":                         {"applets/smtpd/greytest", "internal/disk/crashfs", "internal/e2e/lan", "internal/e2e/letters", "internal/testenv", "internal/testenv/machine", "internal/testenv/roots"},
	"unsafe":                          {"applets/privsep/creds", "internal/disk", "internal/testenv"},
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

// TestLayers: each package imports what its row grants, and each grant is used,
// by a file of any build tag.
func TestLayers(t *testing.T) {
	const mod = "postoffice/"
	documented := map[string]bool{}
	used := map[[2]string]bool{} // package and import
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
			if ours, ok := strings.CutPrefix(imp, mod); ok {
				used[[2]string{pkg, ours}] = true
				if !slices.Contains(may, ours) {
					t.Errorf("%s: %s may not import %s", name, pkg, ours)
				}
			}
			for p, who := range only {
				if imp == p || strings.HasPrefix(imp, p+"/") && strings.Contains(p, ".") {
					used[[2]string{pkg, p}] = true
					if !slices.Contains(who, pkg) {
						t.Errorf("%s: %s may not import %s", name, pkg, imp)
					}
				}
			}
		}
	})
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
	for pkg, may := range layers {
		if _, ok := documented[pkg]; !ok {
			t.Errorf("layers has a row for %s, which is no package", pkg)
		}
		for _, imp := range may {
			if !used[[2]string{pkg, imp}] {
				t.Errorf("layers grants %s to %s, which does not import it", imp, pkg)
			}
		}
	}
	for imp, who := range only {
		for _, pkg := range who {
			if !used[[2]string{pkg, imp}] {
				t.Errorf("only grants %s to %s, which does not import it", imp, pkg)
			}
		}
	}
}

// TestArchitecturePage: the page that explains the borders names each package,
// with the imports of its row, and speaks of packages, not of files.
func TestArchitecturePage(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range slices.Sorted(maps.Keys(layers)) {
		if pkg != "." && !strings.Contains(string(page), "`"+pkg+"`") {
			t.Errorf("docs/architecture.md says nothing of %s", pkg)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(string(page), -1) {
		want := strings.Join(slices.Sorted(slices.Values(layers[row[1]])), ", ")
		if got := strings.Join(slices.Sorted(strings.SplitSeq(row[2], ", ")), ", "); got != want && got+want != "nothing" {
			t.Errorf("docs/architecture.md: %s imports %s, want %s", row[1], got, want)
		}
	}
	for _, file := range regexp.MustCompile(`[a-z_]+\.go\b`).FindAllString(string(page), -1) {
		if file != "main.go" && file != "doc.go" {
			t.Errorf("docs/architecture.md speaks of the file %s", file)
		}
	}
}

// TestImportsRunDown: no row leads up.
func TestImportsRunDown(t *testing.T) {
	floors := []string{"applets", "deliver", "spool", "internal"} // each imports itself and what stands behind it
	floor := func(pkg string) int {
		top, _, _ := strings.Cut(pkg, "/")
		if top == "resolver" || top == "vhost" || top == "milter" {
			top = "spool"
		}
		if top == "packaging" {
			top = "internal"
		}
		return slices.Index(floors, top)
	}
	for pkg, may := range layers {
		for _, imp := range may {
			if pkg != "." && floor(imp) < floor(pkg) {
				t.Errorf("%s imports %s, which stands above it", pkg, imp)
			}
			// What a package is made of does not know the whole, but where that is
			// the words for it: deliver/local and internal/disk.
			if strings.HasPrefix(pkg, imp+"/") && imp != "deliver/local" && imp != "internal/disk" {
				t.Errorf("%s imports %s, which it is a part of", pkg, imp)
			}
		}
	}
}
