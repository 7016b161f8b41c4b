//go:build e2e && linux

package spool

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"postoffice/internal/disk"
)

// TestAdopt: a spool of another owner's becomes ours, but for what may be a third one's and
// what lies in maildrop/, of which the group alone becomes ours; what is no spool stays as it
// is.
func TestAdopt(t *testing.T) {
	q, dir := tempQueue(t)
	id := accept(t, q, envelopeFor(1), text)
	const former, ours = 20001, 20002
	secret := filepath.Join(filepath.Dir(dir), "secret")
	for _, err := range []error{
		os.WriteFile(secret, nil, 0o600), os.Link(secret, filepath.Join(dir, "queue", "linked")),
		os.Symlink(secret, filepath.Join(dir, "queue", "link")), os.WriteFile(filepath.Join(dir, "queue", "third"), nil, 0o600),
		os.Mkdir(filepath.Join(dir, "maildrop"), 0o700), os.Mkdir(filepath.Join(dir, "maildrop", "deep"), 0o700), os.WriteFile(filepath.Join(dir, "maildrop", "deep", "file"), nil, 0o600), os.WriteFile(filepath.Join(dir, "maildrop", "drop"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	owners := map[string]int{"": ours, "lock": ours, "queue": ours, "queue/" + string(id): ours, "tmp": ours, "maildrop": ours,
		"queue/linked": former, "queue/link": former, "queue/third": 20003, "maildrop/drop": former, "maildrop/deep": former, "maildrop/deep/file": former}
	for name := range owners {
		if err := os.Lchown(filepath.Join(dir, name), former, former); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "queue", "third"), 20003, 20003); err != nil {
		t.Fatal(err)
	}
	if err := Adopt(dir, ours, ours); err != nil {
		t.Fatal(err)
	}
	for name, want := range owners {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || disk.InfoOf(info).UID != want {
			t.Errorf("%q: %v, %v, want uid %d", name, info, err, want)
		}
	}
	if info, err := os.Lstat(filepath.Join(dir, "maildrop", "drop")); err != nil || disk.InfoOf(info).GID != ours {
		t.Errorf("what lies in maildrop/: %+v, %v, want gid %d", info, err, ours)
	}
	other := t.TempDir()
	if err := os.Chown(other, former, former); err != nil {
		t.Fatal(err)
	}
	if err := Adopt(other, ours, ours); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(other); err != nil || disk.InfoOf(info).UID != former {
		t.Errorf("no spool: %v, %v", info, err)
	}
	lock := filepath.Join(other, lockName)
	for _, err := range []error{
		syscall.Mkfifo(lock, 0o600), Adopt(other, ours, ours), os.Remove(lock), // nobody ever writes there
		os.Symlink(filepath.Join(dir, lockName), lock), Adopt(other, ours, ours),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Lstat(other); err != nil || disk.InfoOf(info).UID != former {
		t.Errorf("with a lock that is none: %v, %v", info, err)
	}
}

// TestAdoptAgain: what was interrupted before all belongs to the new owner is begun again.
func TestAdoptAgain(t *testing.T) {
	_, dir := tempQueue(t)
	const former, ours = 20001, 20002
	last := filepath.Join(dir, "zz") // of which nothing can be changed for a while
	if err := os.Mkdir(last, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "queue"), last} {
		if err := os.Chown(path, former, former); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount(last, last, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(last, syscall.MNT_DETACH) // where the test ends early
	if err := syscall.Mount("", last, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := Adopt(dir, ours, ours); err == nil {
		t.Fatal("the first one was not interrupted")
	}
	if err := syscall.Unmount(last, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "queue"), former, former); err != nil { // as if it had not come so far
		t.Fatal(err)
	}
	if err := Adopt(dir, ours, ours); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "queue"), last} {
		if info, err := os.Lstat(path); err != nil || disk.InfoOf(info).UID != ours {
			t.Errorf("%s: %v, %v, want uid %d", path, info, err, ours)
		}
	}
}
