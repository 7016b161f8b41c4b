package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"postoffice/deliver/local"
)

// TestUnreadableHomeA49: a home directory that its user may search and not
// read, as one of root's with mode 0711, is as good as any other.
func TestUnreadableHomeA49(t *testing.T) {
	roots := func(t *testing.T, r *real) {
		if os.Getuid() == 0 {
			check(t, os.Chown(r.home, 0, 0))
		}
		check(t, os.Chmod(r.home, 0o711))
	}
	searchOnly := func(t *testing.T, r *real) { check(t, os.Chmod(r.home, 0o311)) }
	maildir := func(t *testing.T, r *real) {
		for _, d := range []string{"", "tmp", "new", "cur"} {
			check(t, os.MkdirAll(filepath.Join(r.home, "Maildir", d), 0o700))
			r.own(t, filepath.Join(r.home, "Maildir", d))
		}
		roots(t, r)
	}
	for _, tt := range []struct {
		name, mailbox, file string
		make                func(t *testing.T, r *real)
		want                local.Status
	}{
		{"root's", "", "", roots, local.Delivered},
		{"root's with a .forward", "", ".forward", roots, local.Forwarded},
		{"0311", "", "", searchOnly, local.Delivered},
		{"0311 with a .forward", "", ".forward", searchOnly, local.Forwarded},
		{"root's with a Maildir", "~/Maildir/", "", maildir, local.Delivered},
		{"0311, a Maildir is made", "~/mail/Maildir/", "", searchOnly, local.Delivered},
		{"0311, a file is made", "~/mbox", "", searchOnly, local.Delivered},
		{"0311 with a file", "~/mbox", "mbox", searchOnly, local.Delivered},
	} {
		r := newReal(t, tt.mailbox)
		if tt.file != "" {
			forwardFile(tt.file)(t, r)
			r.own(t, filepath.Join(r.home, tt.file))
		}
		tt.make(t, r)
		if res := r.letter("From a\n\nx\n\n", local.Delivery{}); res.Status != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, res.Status, res.Err, tt.want)
		}
	}
}

// TestLocksOfOthersA46: in a mail directory where anybody may make files nobody
// holds up another's mail with a lock.
func TestLocksOfOthersA46(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode os.FileMode // of the directory
		make func(lock string) error
		uid  int
		want local.Status
	}{
		{"a file", 0o777 | os.ModeSticky, newFile, realUID + 1, local.Delivered},
		{"a directory", 0o777 | os.ModeSticky, func(lock string) error { return os.Mkdir(lock, 0o755) }, realUID + 1, local.Delivered},
		{"a link", 0o777 | os.ModeSticky, func(lock string) error { return os.Symlink("x", lock) }, realUID + 1, local.Delivered},
		{"his own", 0o777 | os.ModeSticky, newFile, realUID, local.Deferred},
		{"root's", 0o777 | os.ModeSticky, newFile, 0, local.Deferred},
		{"in the group's directory", 0o775 | os.ModeSetgid, newFile, realUID + 1, local.Deferred},
	} {
		r := newReal(t, "")
		if r.a.UID != realUID {
			t.Fatal("this test makes files of other users: run it as root")
		}
		check(t, os.Chmod(r.mail, tt.mode), tt.make(r.box+".lock"), os.Lchown(r.box+".lock", tt.uid, tt.uid))
		if res := r.letter("From a\n\nx\n\n", local.Delivery{}); res.Status != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, res.Status, res.Err, tt.want)
		}
	}
}

func newFile(name string) error { return os.WriteFile(name, nil, 0o600) }
