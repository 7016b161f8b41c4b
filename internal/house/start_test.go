package house

import (
	"bytes"
	"debug/buildinfo"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/internal/testenv"
)

// build makes the binary in a directory as `make` and the target do, and
// returns its path.
func build(t *testing.T, dir, target string) string {
	t.Helper()
	cmd := exec.Command("make", "-s", "COMMIT=0123456789ab", "OUT="+filepath.Join(dir, "postoffice"), target)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	return filepath.Join(dir, "postoffice")
}

// TestStart: no package of ours runs anything before main, and size and what
// is done before main are bounded for both builds. The time of a start is said,
// beside the smallest Go program's, and bounds nothing: a busy machine's clock
// says more of the machine.
func TestStart(t *testing.T) {
	hello := buildHello(t)
	for _, b := range []struct {
		target string
		size   int64 // octets of the binary
		heap   int   // octets made before main
		allocs int   // pieces of it
	}{
		{"all", 73 << 18, 144 << 10, 640}, // Pebble as a store is 3.4 MB of it, and 20 KiB: decisions/0026, 0029, 0034
		{"lite", 47 << 18, 64 << 10, 600}, // decisions/0026, 0032, 0034
	} {
		t.Run(b.target, func(t *testing.T) {
			ours := build(t, t.TempDir(), b.target)
			info, err := os.Stat(ours)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() >= b.size {
				t.Errorf("%d octets, want less than %d", info.Size(), b.size)
			}
			if made, err := buildinfo.ReadFile(ours); err != nil || !strings.Contains(made.String(), "x509negativeserial=1") { // deliver/remote tests what it does
				t.Errorf("it reads no certificate with a negative serial number: %v\n%v", err, made)
			}
			heap, allocs := initWork(t, ours)
			if heap > b.heap || allocs > b.allocs {
				t.Errorf("before main: %d octets in %d pieces, want at most %d in %d", heap, allocs, b.heap, b.allocs)
			}
			// In turns, and the best of many: other work on the machine hits both.
			var x, y []time.Duration
			for range 50 {
				x = append(x, timed(t, ours, "-V"))
				y = append(y, timed(t, hello))
			}
			t.Logf("%d octets, before main %d in %d pieces, start %v, hello world %v, ratio %.2f", info.Size(), heap, allocs,
				slices.Min(x), slices.Min(y), float64(slices.Min(x))/float64(slices.Min(y)))
		})
	}
}

// initWork returns how many octets, in how many pieces, the packages of a
// binary make before main, and holds that none of them is ours.
func initWork(t *testing.T, ours string) (heap, allocs int) {
	t.Helper()
	trace := exec.Command(ours, "-V")
	trace.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := trace.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("postoffice "+cmdline.Release+"+0123456789ab\n")) {
		t.Errorf("-V printed %q", out)
	}
	lines := regexp.MustCompile(`(?m)^init (\S+) .* (\d+) bytes, (\d+) allocs$`).FindAllStringSubmatch(string(out), -1)
	if len(lines) == 0 {
		t.Fatalf("no trace of what runs before main: %q", out)
	}
	for _, l := range lines {
		if l[1] == "main" || strings.HasPrefix(l[1], "postoffice") {
			t.Errorf("runs before main: %s", l[0])
		}
		for i, sum := range []*int{&heap, &allocs} {
			n, err := strconv.Atoi(l[2+i])
			if err != nil {
				t.Fatal(err)
			}
			*sum += n
		}
	}
	return heap, allocs
}

// buildHello makes the program that starts are compared with.
func buildHello(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "hello.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "hello"), source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "hello")
}

// TestLite: the build without databases says so where one is asked for; it has filters
// (S109).
func TestLite(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	dir := t.TempDir()
	lite := build(t, dir, "lite")
	text := filepath.Join(dir, "aliases")
	if err := os.WriteFile(text, []byte("root: alice\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"newaliases -o aliases=" + text, 0, text + ": 1 alias, 9 bytes total.\npostoffice newaliases: this build reads " + text + " itself and makes no database\n"},
		{"dbm create " + dir + "/x", 69, "postoffice dbm: this build of postoffice has no databases\npostoffice dbm: hint: install the full postoffice\n"},
		{"smtpd -bD -C /dev/null -o coal", 78, "postoffice smtpd: this build of postoffice can't keep clients out by nftables (option coal)\npostoffice smtpd: hint: take the option coal out, or install the full postoffice for Linux\n"},
		{"smtpd -bD -C /dev/null -o greylist=on", 78, "postoffice smtpd: option greylist: this build of postoffice has no store: install the full one\npostoffice smtpd: hint: or take the option greylist out\n"},
		{"milter -C /dev/null test x", 64, "postoffice milter: option filter names no filter: add a line filter=/socket or filter=host:port\nusage: postoffice milter [-C file] [-o name=value] test [-m file] name\npostoffice milter: hint: postoffice milter --help lists the flags\n"},
		{"authexpire -l", 69, "postoffice authexpire: this build of postoffice has no store, and so no greylist\npostoffice authexpire: hint: install the full postoffice\n"},
		{"dbm -d " + dir + "/x fetch a", 69, "postoffice dbm: this build of postoffice has no databases\npostoffice dbm: hint: install the full postoffice\n"},
	} {
		cmd := exec.Command(lite, strings.Fields(tt.args)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != tt.code || string(out) != tt.want {
			t.Errorf("%s: %v, %q, want %d, %q", tt.args, err, out, tt.code, tt.want)
		}
	}
}

func timed(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	began := time.Now()
	if err := exec.Command(name, args...).Run(); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// copySources copies what a build reads.
func copySources(t *testing.T, to string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" && name != "testdata" || len(name) > 1 && name[0] == '.'):
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		if ext := filepath.Ext(name); !slices.Contains([]string{".go", ".mod", ".sum", ".sh"}, ext) && name != "Makefile" && !strings.HasPrefix(name, "packaging/") {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReproducible: the same sources give the same binary, wherever they lie.
func TestReproducible(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "elsewhere")
	copySources(t, copied)
	here := build(t, t.TempDir(), "all")
	there := exec.Command("make", "-s", "-C", copied, "COMMIT=0123456789ab", "OUT="+filepath.Join(copied, "postoffice"))
	there.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := there.CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	x, err := os.ReadFile(here)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(filepath.Join(copied, "postoffice"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("two builds differ: %d and %d octets", len(x), len(y))
	}
	if bytes.Contains(x, []byte(copied)) {
		t.Error("the binary names the directory it was built in")
	}
}
