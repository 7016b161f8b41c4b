package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// build makes the binary in a directory as `make` does, and returns its path.
func build(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("make", "-s", "COMMIT=0123456789ab", "OUT="+filepath.Join(dir, "postoffice"))
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	return filepath.Join(dir, "postoffice")
}

// TestStart: no package of ours runs anything before main, and a start costs
// a small multiple of the smallest Go program's.
func TestStart(t *testing.T) {
	dir := t.TempDir()
	ours := build(t, dir)
	trace := exec.Command(ours, "-V")
	trace.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := trace.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range regexp.MustCompile(`(?m)^init (postoffice\S*|main) .*$`).FindAllString(string(out), -1) {
		t.Errorf("runs before main: %s", line)
	}
	if !bytes.Contains(out, []byte("postoffice "+readVersion(t)+"+0123456789ab\n")) {
		t.Errorf("-V printed %q", out)
	}

	hello := filepath.Join(dir, "hello.go")
	if err := os.WriteFile(hello, []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "hello"), hello)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// In turns, and the median of many: other work on the machine hits both.
	var a, b []time.Duration
	for range 60 {
		a = append(a, timed(t, ours, "-V"))
		b = append(b, timed(t, filepath.Join(dir, "hello")))
	}
	ratio := float64(median(a)) / float64(median(b))
	t.Logf("start: %v, hello world %v, ratio %.1f", median(a), median(b), ratio)
	if ratio > 4 {
		t.Errorf("a start takes %.1f times a hello world's (%v to %v), want at most 4", ratio, median(a), median(b))
	}
}

func readVersion(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("VERSION")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func timed(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	began := time.Now()
	if err := exec.Command(name, args...).Run(); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// copySources copies what a build reads.
func copySources(t *testing.T, to string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || len(name) > 1 && name[0] == '.'):
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		if ext := filepath.Ext(name); !slices.Contains([]string{".go", ".mod", ".sum"}, ext) && name != "Makefile" && name != "VERSION" {
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
	here := build(t, t.TempDir())
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
