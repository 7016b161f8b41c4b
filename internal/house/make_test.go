package house

import (
	"bytes"
	"crypto/sha256"
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestInstall: make install puts what make built below DESTDIR, without Go and without
// building it again, takes no name away from another mail server, says what to do, and
// changes nothing then; make uninstall removes it again and keeps what isn't ours.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	out, dest := build(t, dir, "all"), filepath.Join(dir, "dest")
	usr := filepath.Join(dest, "usr")
	run := func(target string) (string, error) {
		cmd := exec.Command("make", "-s", "GO=false", "OUT="+out, "DESTDIR="+dest, "PREFIX=/usr", target)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	write := func(name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("another server's\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	there := func(name string) bool {
		_, err := os.Lstat(filepath.Join(usr, name))
		return err == nil
	}
	if said, err := exec.Command("make", "-s", "GO=false", "OUT=none", "DESTDIR="+dest, "install").CombinedOutput(); err == nil || !bytes.Contains(said, []byte("run make first")) {
		t.Errorf("install of what was not built: %v, said %q", err, said)
	}
	for name, hint := range map[string]string{"sbin/sendmail": "remove that server", "bin/mailq": "remove that server", "share/man/man1/mailq.1": "PREFIX"} {
		write(filepath.Join(usr, name))
		said, err := run("install")
		if err == nil || !strings.Contains(said, name) || !strings.Contains(said, hint) || there("sbin/postoffice") {
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
	names := []string{"sbin/postoffice", "sbin/sendmail", "sbin/smtpd", "sbin/runq", "sbin/authexpire", "sbin/send-mail", "bin/mailq", "bin/newaliases", "bin/dbm", "share/man/man8/postoffice.8"}
	for _, name := range names {
		if !there(name) {
			t.Errorf("install made no %s", name)
		}
	}
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if installed, err := os.ReadFile(filepath.Join(usr, "sbin/sendmail")); err != nil || !bytes.Equal(installed, made) {
		t.Errorf("what was installed is not what make built: %v", err)
	}
	theirs := filepath.Join(usr, "sbin/sendmail")
	if err := os.Remove(theirs); err != nil {
		t.Fatal(err)
	}
	write(theirs)
	if said, err := run("uninstall"); err != nil || !there("sbin/sendmail") {
		t.Errorf("uninstall: %v, said %q", err, said)
	}
	for _, name := range names {
		if name != "sbin/sendmail" && there(name) {
			t.Errorf("uninstall left %s", name)
		}
	}
	if said, err := run("uninstall"); err == nil || !strings.Contains(said, "nothing is installed below "+usr) {
		t.Errorf("uninstall again: %v, said %q", err, said)
	}
}

// TestDist: make dist writes the same octets each time, and what is in it needs no network.
func TestDist(t *testing.T) {
	dir := t.TempDir()
	var sums [2][32]byte
	var name string
	for i := range sums {
		at := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("sh", "testdata/tools/dist.sh", at).Output()
		if err != nil {
			t.Fatalf("dist: %v\n%s", err, out)
		}
		name = strings.TrimSpace(string(out))
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(text)
	}
	if sums[0] != sums[1] {
		t.Error("twice made, the archive is another one")
	}
	if out, err := exec.Command("tar", "-C", dir, "-xzf", name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list := exec.Command("go", "list", "-deps", ".")
	list.Dir = filepath.Join(dir, strings.TrimSuffix(filepath.Base(name), ".tar.gz"))
	list.Env = append(os.Environ(), "GOFLAGS=", "GOPROXY=off", "GOMODCACHE="+filepath.Join(dir, "none"))
	if out, err := list.CombinedOutput(); err != nil || !strings.Contains(string(out), "postoffice/applets/server") {
		t.Errorf("what it needs isn't all in it: %v\n%s", err, out)
	}
	if commit, err := os.ReadFile(filepath.Join(list.Dir, ".commit")); err != nil || len(bytes.TrimSpace(commit)) < 12 {
		t.Errorf(".commit: %q, %v", commit, err)
	}
}

// TestOldGo: a Go that was chosen and is too old, or isn't there, is told, with what to do.
func TestOldGo(t *testing.T) {
	for _, tt := range []struct{ prints, want string }{
		{"go version go1.19.8 linux/amd64", "and here is 1.19.8\nhint: make fetches the right one"},
		{"go version go1.24.4 linux/arm64", "and here is 1.24.4\nhint: make fetches the right one"},
		{"", "and here is none\nhint: install your system's"},
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
		if (err != nil) != (tt.want != "") || !strings.Contains(string(text), tt.want) || tt.want == "" && len(text) > 0 {
			t.Errorf("%q: %v, said %q, want %q", tt.prints, err, text, tt.want)
		}
	}
}

// TestOldGoChecks: an older Go fetches the newer one with its sum looked up, whatever it is
// told to leave unchecked, and not at all without; but from a directory.
func TestOldGoChecks(t *testing.T) {
	script, err := os.ReadFile("testdata/tools/go.sh")
	if err != nil {
		t.Fatal(err)
	}
	const places = " /usr/local/go/bin/go /usr/lib/go-*/bin/go;"
	if !bytes.Contains(script, []byte(places)) {
		t.Fatalf("it looks in other places than %q", places)
	}
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	for name, text := range map[string]string{
		"go.mod": "go 1.99\n",
		"go.sh":  strings.Replace(string(script), places, ";", 1),
		"go": `#!/bin/sh
case "$*" in
version) echo go version go1.19.8 linux/amd64 ;;
"env GOMODCACHE") echo ` + cache + ` ;;
"env GOHOSTOS" | "env GOHOSTARCH") echo x ;;
"env "*) eval "echo \$$2" ;;
"mod download "*) echo "left out: $GONOSUMDB"; exit 1 ;;
esac
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ proxy, db, private, want string }{
		{"https://proxy.example", "sum.example", "*", "left out: none.invalid\n"},
		{"file:///a,https://proxy.example", "sum.example", "*", "left out: none.invalid\n"},
		{"https://proxy.example", "off", "", "GOSUMDB=off keeps it from being checked\nhint: "},
		{"file:///a", "off", "golang.org/toolchain", "left out: golang.org/toolchain\n"},
	} {
		cmd := exec.Command("sh", "go.sh")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "GOTOOLCHAIN=auto", "GO="+cache+"/golang.org/toolchain@v0.0.1-go1.99.x-x/bin/go",
			"GOPROXY="+tt.proxy, "GOSUMDB="+tt.db, "GONOSUMDB="+tt.private)
		text, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(text), tt.want) {
			t.Errorf("%+v: %v, said %q", tt, err, text)
		}
	}
}

// TestRooted: make quick knows the tests that need root, and all of them ask in one way.
func TestRooted(t *testing.T) {
	out, err := exec.Command("go", "run", "testdata/tools/rooted.go").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"TestLite", "TestThreadsUnderLoad"} {
		if !regexp.MustCompile(strings.TrimSpace(string(out))).MatchString(name) {
			t.Errorf("%s isn't among those that need root", name)
		}
	}
	asks := regexp.MustCompile(`uid\(\) != 0 \{\n\t*(t|f|b)\.Fatal`)
	goFiles(t, func(name string, _ *ast.File, _ *token.FileSet) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if isTest(name) && asks.Match(text) {
			t.Errorf("%s: ask by testenv.NeedsRoot, by which make quick knows the test", name)
		}
	})
}
