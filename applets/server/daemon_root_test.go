//go:build e2e

package server

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
)

const nobody = 65534

// TestQueueDirectory: a queue directory that is missing, or that root has left
// empty, becomes the server's; of any other the master says what is wrong.
func TestQueueDirectory(t *testing.T) {
	server := service.User{Name: "postoffice", UID: nobody, GID: nobody}
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
		{"a volume, empty, of anybody's", func(dir string) error {
			return then(os.Mkdir(dir, 0o700), os.Chown(dir, 1, 1), os.Chmod(dir, 0o777|os.ModeSticky))
		}, "", 0},
		{"the same with a file system's own", func(dir string) error { return then(os.MkdirAll(dir+"/lost+found", 0o700), os.Chown(dir, 1, 1)) }, "", 0},
		{"a user's", func(dir string) error { return then(os.MkdirAll(dir+"/x", 0o700), os.Chown(dir, 1, 1)) }, "belongs to uid 1", 77},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is not a directory", 78},
		{"a link to what is root's", func(dir string) error { return os.Symlink("/etc", dir) }, "belongs to uid 0", 77},
		{"a link to an empty one of anybody's", func(dir string) error {
			return then(os.Mkdir(dir+".far", 0o700), os.Chown(dir+".far", 1, 1), os.Symlink(dir+".far", dir))
		}, "belongs to uid 1", 77},
		{"nothing above it", func(dir string) error { return os.Remove(filepath.Dir(dir)) }, "no such file", 75},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "above", "queue")
			if err := then(os.Mkdir(filepath.Dir(dir), 0o755), tt.make(dir)); err != nil {
				t.Fatal(err)
			}
			err := makeQueueDir(dir, server)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || cmdline.ExitStatus(err) != tt.code {
					t.Errorf("%v, exit code %d, want %q, %d", err, cmdline.ExitStatus(err), tt.want, tt.code)
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

// TestQueueDirectoryStays: a queue directory that is the server's stays so while another
// start looks at it: it may be about to be filled.
func TestQueueDirectoryStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	server := service.User{Name: "postoffice", UID: nobody, GID: nobody}
	if err := makeQueueDir(dir, server); err != nil {
		t.Fatal(err)
	}
	changed := func() (at syscall.Timespec) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ctim
	}
	before := changed()
	for range 1000 { // in which the clock of the files ticks
		if err := makeQueueDir(dir, server); err != nil {
			t.Fatal(err)
		}
	}
	if after := changed(); after != before {
		t.Error("its owner was changed again")
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
		if err := open(); cmdline.ExitStatus(err) != sysexits.CantCreate {
			t.Errorf("%v, exit code %d, want %d", err, cmdline.ExitStatus(err), sysexits.CantCreate)
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
	env := &cmdline.Env{}
	env.Prepare(cmdline.Applet{Name: "smtpd"}, []string{"-C", cf})
	if err := env.Parse(); err != nil {
		t.Fatal(err)
	}
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

func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
