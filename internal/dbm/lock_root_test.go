//go:build e2e && !lite

package dbm

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// TestLockedByReader: a user who may only read a database locks it, and it is
// changed all the same. What others may open is no lock.
func TestLockedByReader(t *testing.T) {
	testenv.NeedsRoot(t, "locks a file as another user")
	const reader = 64998
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	made(t, path, Options{}, "a", "1")
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("flock", path, "sh", "-c", "echo locked; exec cat")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: reader, Gid: reader}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // its end is of no interest
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("%q, %v: want the reader's lock", line, err)
	}
	changed(t, path, func(e *Edit) {
		info, err := os.Stat(filepath.Join(dir, ".x.db.lock"))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("the lock is %v, %v, want mode 0600", info, err)
		}
		if err := e.Store([]byte("b"), []byte("2"), Insert); err != nil {
			t.Error(err)
		}
	})
	onlyFile(t, path)

	theirs := filepath.Join(dir, ".x.db.lock")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, reader, reader); err != nil {
		t.Fatal(err)
	}
	if e, err := Change(path, Options{}); err == nil {
		e.Abort()
		t.Error("a lock that another user made was taken")
	}
	if err := os.Remove(theirs); err != nil {
		t.Fatal(err)
	}

	// A lock that root left in a user's directory keeps the user from nothing.
	if err := os.Chown(path, reader, reader); err != nil {
		t.Fatal(err)
	}
	e, err := Change(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Abort()
	info, err := os.Stat(theirs)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != reader {
		t.Errorf("the lock of a user's database is %v, %v, want it to be the user's", info, err)
	}
}

// watchedFS tells when a file in it is given to somebody.
type watchedFS struct {
	disk.FS
	given func()
}

func (w watchedFS) OpenDir(path string) (disk.Dir, error) {
	d, err := w.FS.OpenDir(path)
	return watchedDir{d, w.given}, err
}

type watchedDir struct {
	disk.Dir
	given func()
}

func (d watchedDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	f, err := d.Dir.Create(name, mode)
	return watchedFile{f, d.given}, err
}

func (d watchedDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(watchedDir).Dir, name)
}

type watchedFile struct {
	disk.File
	given func()
}

func (f watchedFile) Chown(uid, gid int) error {
	f.given()
	return f.File.Chown(uid, gid)
}

// TestLockOfCrashedRoot: root makes a lock beside a user's database. Wherever it crashes,
// the lock's name leads to none of root's.
func TestLockOfCrashedRoot(t *testing.T) {
	testenv.NeedsRoot(t, "locks a file as another user")
	const owner = 64998
	dir := t.TempDir()
	path, lock := filepath.Join(dir, "x.db"), filepath.Join(dir, ".x.db.lock")
	made(t, path, Options{}, "a", "1")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, owner, owner), os.Chown(path, owner, owner)); err != nil {
		t.Fatal(err)
	}
	given := 0
	e, err := Change(path, Options{FS: watchedFS{disk.OS(), func() {
		given++
		if _, err := os.Lstat(lock); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("before the lock is the user's its name is there: %v", err)
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(lock); err != nil || info.Sys().(*syscall.Stat_t).Uid != owner || given != 1 {
		t.Errorf("the lock is %v, %v, given away %d times, want the user's", info, err, given)
	}
	e.Abort()
	onlyFile(t, path)
}
