package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstall: make install copies what make built, without Go and without
// building it again.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "postoffice")
	if err := os.WriteFile(out, []byte("what make built\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", "-s", "GO=false", "OUT="+out, "DESTDIR="+dir, "PREFIX=/usr", "install")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, text)
	}
	for _, name := range []string{"sbin/postoffice", "sbin/sendmail", "sbin/newaliases", "sbin/authexpire", "share/man/man8/postoffice.8"} {
		if _, err := os.Stat(filepath.Join(dir, "usr", name)); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "usr/sbin/sendmail")); err != nil || string(text) != "what make built\n" {
		t.Errorf("installed: %q, %v", text, err)
	}
}

// TestInstallBeside: make install takes no name away from another mail server,
// says what to do, and changes nothing then; make uninstall keeps what isn't ours.
func TestInstallBeside(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "postoffice")
	usr := filepath.Join(dir, "usr")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(target string) (string, error) {
		cmd := exec.Command("make", "-s", "GO=false", "OUT="+out, "DESTDIR="+dir, "PREFIX=/usr", target)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	there := func(name string) bool {
		_, err := os.Lstat(filepath.Join(usr, name))
		return err == nil
	}
	write(out, "what make built\n")
	theirs := []string{"sbin/sendmail", "bin/mailq", "share/man/man1/mailq.1"}
	for _, name := range theirs {
		write(filepath.Join(usr, name), "another server's\n")
		said, err := run("install")
		if err == nil || !strings.Contains(said, filepath.Join(usr, name)) || !strings.Contains(said, "dpkg-divert") || there("sbin/postoffice") {
			t.Errorf("install beside %s: %v, said %q", name, err, said)
		}
		if err := os.Remove(filepath.Join(usr, name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time over itself
		if said, err := run("install"); err != nil {
			t.Fatalf("install: %v, said %q", err, said)
		}
	}
	for _, name := range theirs {
		if err := os.Remove(filepath.Join(usr, name)); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(usr, name), "another server's\n")
	}
	if said, err := run("uninstall"); err != nil || !strings.Contains(said, "kept") {
		t.Errorf("uninstall: %v, said %q", err, said)
	}
	for _, name := range theirs {
		if !there(name) {
			t.Errorf("uninstall took %s", name)
		}
	}
	for _, name := range []string{"sbin/postoffice", "sbin/runq", "share/man/man8/postoffice.8"} {
		if there(name) {
			t.Errorf("uninstall left %s", name)
		}
	}
}

// TestOldGo: a Go that is too old, or none, is told in one sentence.
func TestOldGo(t *testing.T) {
	for _, tt := range []struct{ prints, want string }{
		{"go version go1.19.8 linux/amd64", "and here is 1.19.8"},
		{"go version go1.24.4 linux/arm64", "and here is 1.24.4"},
		{"", "and here is none"},
		{"go version go1.26.0 linux/amd64", ""},
		{"go version go1.100 linux/amd64", ""},
		{"go version devel go1.99-0123456 Mon Jan 2 linux/amd64", ""},
	} {
		fake := filepath.Join(t.TempDir(), "go")
		if err := os.WriteFile(fake, []byte("#!/bin/sh\necho '"+tt.prints+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "testdata/tools/go.sh")
		cmd.Env = append(os.Environ(), "GO="+fake)
		text, err := cmd.CombinedOutput()
		if (err != nil) != (tt.want != "") || !strings.Contains(string(text), tt.want) || tt.want != "" && strings.Count(string(text), "\n") != 1 {
			t.Errorf("%q: %v, said %q, want %q", tt.prints, err, text, tt.want)
		}
	}
}
