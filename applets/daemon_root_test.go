//go:build e2e

package applets

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// TestQueueDirectory: a queue directory that is missing, or that root has left
// empty, becomes the server's; of any other the master says what is wrong.
func TestQueueDirectory(t *testing.T) {
	server := privsep.User{Name: "postoffice", UID: nobody, GID: nobody}
	for _, tt := range []struct {
		name string
		make func(dir string) error
		want string // in the error; "": the directory is the server's then
		code int
	}{
		{"missing", func(string) error { return nil }, "", 0},
		{"the server's", func(dir string) error { return then(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)) }, "", 0},
		{"killed before it was given away", func(dir string) error { return os.Mkdir(dir, 0o700) }, "", 0},
		{"root's with something in it", func(dir string) error { return os.MkdirAll(dir+"/x", 0o700) }, "belongs to uid 0", 77},
		{"a user's", func(dir string) error { return then(os.Mkdir(dir, 0o700), os.Chown(dir, 1, 1)) }, "belongs to uid 1", 77},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is not a directory", 78},
		{"a link to what is root's", func(dir string) error { return os.Symlink("/etc", dir) }, "belongs to uid 0", 77},
		{"nothing above it", func(dir string) error { return os.Remove(filepath.Dir(dir)) }, "no such file", 75},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "above", "queue")
			if err := then(os.Mkdir(filepath.Dir(dir), 0o755), tt.make(dir)); err != nil {
				t.Fatal(err)
			}
			err := makeQueueDir(dir, server)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || exitStatus(err) != tt.code {
					t.Errorf("%v, exit code %d, want %q, %d", err, exitStatus(err), tt.want, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(dir); err != nil || ownerOf(info) != nobody || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v, want a directory of uid %d", info, err, nobody)
			}
		})
	}
}

// TestLogGivenAway: the log becomes the server's, but no file that has a second
// name does, and none behind a link: a server that owns the log's directory
// could have put another's there.
func TestLogGivenAway(t *testing.T) {
	dir := t.TempDir()
	name, secret := filepath.Join(dir, "log"), filepath.Join(dir, "secret")
	d := daemonOf(t, dir)
	d.conf.Log = []string{"file:" + name}
	open := func() error {
		_, all, err := openLogs(d.env, d.conf, "smtpd")
		all.close()
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || ownerOf(info) != nobody {
		t.Errorf("%v, %v, want a log of uid %d", info, err, nobody)
	}
	for _, link := range []func(old, new string) error{os.Link, os.Symlink} {
		if err := then(os.RemoveAll(name), os.WriteFile(secret, nil, 0o600), link(secret, name)); err != nil {
			t.Fatal(err)
		}
		if err := open(); exitStatus(err) != sysexits.CantCreate {
			t.Errorf("%v, exit code %d, want %d", err, exitStatus(err), sysexits.CantCreate)
		}
		if info, err := os.Stat(secret); err != nil || ownerOf(info) != 0 {
			t.Errorf("%v, %v: root's file was given away", info, err)
		}
	}
}

// daemonOf is a daemon whose server is nobody.
func daemonOf(t *testing.T, dir string) *daemon {
	t.Helper()
	cf := filepath.Join(dir, "cf")
	if err := os.WriteFile(cf, []byte("server-user=nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := &Env{file: cf}
	conf, err := env.Config()
	if err != nil {
		t.Fatal(err)
	}
	return &daemon{env: env, conf: conf}
}

// then is the first error; what its arguments do was done in their order.
func then(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestNoTerminal: what reads the queue for root has a session of its own, so
// that one who took over the server's account can't type into root's terminal
// through it.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan error, 1)
	go func() { // it waits for its configuration
		env := &Env{Stdout: io.Discard, Stderr: io.Discard}
		ended <- asUser(t.Context(), env, privsep.User{Name: "nobody", UID: nobody, GID: nobody}, []string{ownerRole, "mailq", "mailq"}, r)
	}()
	limit := time.After(10 * time.Second)
	for own := false; !own; {
		select {
		case <-limit:
			t.Fatal("no child with a session of its own")
		case <-time.After(10 * time.Millisecond):
			own = leadsSession(t)
		}
	}
	w.Close()
	<-ended
}

// leadsSession says whether a child of this process leads a session.
func leadsSession(t *testing.T) bool {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tasks {
		text, _ := os.ReadFile(name) // the thread may have ended
		for child := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			if sid, err := unix.Getsid(pid); err == nil && sid == pid {
				return true
			}
		}
	}
	return false
}
