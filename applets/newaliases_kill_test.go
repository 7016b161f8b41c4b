//go:build linux && !lite

package applets

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/internal/dbm"
	"postoffice/internal/testenv"
)

// lookups looks two aliases up, again and again, until stop is closed: both
// must always be old, or always new from then on.
func lookups(t *testing.T, path string, stop <-chan struct{}, done chan<- struct{}, count *atomic.Int64) {
	defer close(done)
	for {
		select {
		case <-stop:
			return
		default:
		}
		db, err := dbm.Open(path+".db", dbm.Options{})
		if err != nil {
			t.Errorf("during newaliases: %v", err)
			return
		}
		x, err1 := db.Fetch([]byte("x"))
		y, err2 := db.Fetch([]byte("y"))
		db.Close()
		old, now := "old1\x001old2\x002", "new1\x001new2\x002"
		if both := string(x) + string(y); err1 != nil || err2 != nil || both != old && both != now {
			t.Errorf("during newaliases: %q %v, %q %v", x, err1, y, err2)
			return
		}
		count.Add(1)
	}
}

// Killed at any system call, newaliases leaves the old database or the new
// one, and nobody who looks an alias up meanwhile notices (A79).
func TestCrashA79Newaliases(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	newaliases := filepath.Join(t.TempDir(), "newaliases") // TestMain runs the applet of this name
	if err := os.Symlink(self, newaliases); err != nil {
		t.Fatal(err)
	}
	var count atomic.Int64
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(in testenv.Injection) testenv.Traced {
		path := filepath.Join(t.TempDir(), "aliases")
		put(path, "x: old1\ny: old2\n")
		env := &cmdline.Env{Program: "newaliases", Stderr: &strings.Builder{}}
		text, err := openAliases(&config.Config{Aliases: path})
		if err == nil {
			err = buildDatabase(env, &config.Config{Aliases: path}, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		put(path, "x: new1\ny: new2\n")
		stop, done := make(chan struct{}), make(chan struct{})
		go lookups(t, path, stop, done, &count)
		out := testenv.Strace{Args: []string{newaliases, "-o", "aliases=" + path}}.Run(t, in)
		close(stop)
		<-done
		if killed := out.Hit != ""; !killed && out.Code != 0 {
			t.Errorf("%v: exit code %d: %s", in, out.Code, out.Stderr)
		}
		return out
	}
	testenv.EveryCall(t, []string{"openat2", "openat", "write", "fchmod", "fsync", "renameat", "unlinkat", "close"}, "signal=KILL", false, run)
	if n := count.Load(); n < 1000 {
		t.Errorf("only %d lookups", n)
	} else {
		t.Logf("%d lookups", n)
	}
}
