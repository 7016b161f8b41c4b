package mailbox_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"postoffice/deliver/local"
	"postoffice/internal/testenv"
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
		want                string
	}{
		{"root's", "", "", roots, "delivered"},
		{"root's with a .forward", "", ".forward", roots, "forwarded"},
		{"0311", "", "", searchOnly, "delivered"},
		{"0311 with a .forward", "", ".forward", searchOnly, "forwarded"},
		{"root's with a Maildir", "~/Maildir/", "", maildir, "delivered"},
		{"0311, a Maildir is made", "~/mail/Maildir/", "", searchOnly, "delivered"},
		{"0311, a file is made", "~/mbox", "", searchOnly, "delivered"},
		{"0311 with a file", "~/mbox", "mbox", searchOnly, "delivered"},
	} {
		r := newReal(t, tt.mailbox)
		if tt.file != "" {
			forwardFile(tt.file)(t, r)
			r.own(t, filepath.Join(r.home, tt.file))
		}
		tt.make(t, r)
		if res := r.letter("From a\n\nx\n\n", local.Delivery{}); res.String() != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, res.String(), res.Err, tt.want)
		}
	}
}

// TestLocksOfOthersA46: in a mail directory where anybody may make files nobody
// holds up another's mail with a lock.
func TestLocksOfOthersA46(t *testing.T) {
	testenv.NeedsRoot(t, "makes files of other users")
	for _, tt := range []struct {
		name string
		mode os.FileMode // of the directory
		make func(lock string) error
		uid  int
		want string
	}{
		{"a file", 0o777 | os.ModeSticky, newFile, realUID + 1, "delivered"},
		{"a directory", 0o777 | os.ModeSticky, func(lock string) error { return os.Mkdir(lock, 0o755) }, realUID + 1, "delivered"},
		{"a link", 0o777 | os.ModeSticky, func(lock string) error { return os.Symlink("x", lock) }, realUID + 1, "delivered"},
		{"their own", 0o777 | os.ModeSticky, newFile, realUID, "deferred"},
		{"root's", 0o777 | os.ModeSticky, newFile, 0, "deferred"},
		{"in the group's directory", 0o775 | os.ModeSetgid, newFile, realUID + 1, "deferred"},
	} {
		r := newReal(t, "")
		if r.a.UID != realUID {
			t.Fatal("this test makes files of other users: run it as root")
		}
		check(t, os.Chmod(r.mail, tt.mode), tt.make(r.box+".lock"), os.Lchown(r.box+".lock", tt.uid, tt.uid))
		if res := r.letter("From a\n\nx\n\n", local.Delivery{}); res.String() != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, res.String(), res.Err, tt.want)
		}
	}
}

// TestDraftOfOthersA46: whatever name others take in a directory where anybody
// may make files, dot locks are made there; and what a killed process left of
// the user's own goes.
func TestDraftOfOthersA46(t *testing.T) {
	testenv.NeedsRoot(t, "makes files of other users")
	r := newReal(t, "")
	check(t, os.Chmod(r.mail, 0o777|os.ModeSticky))
	for name, uid := range map[string]int{"." + r.a.Name + ".lock": realUID + 1, ".draft-0000000000000007.lock": realUID + 1, ".draft-0000000000000008.lock": realUID, "mine": realUID} {
		path := filepath.Join(r.mail, name)
		check(t, newFile(path), os.Lchown(path, uid, uid))
	}
	locked := false
	body := funcReader(func(p []byte) (int, error) {
		_, err := os.Lstat(r.box + ".lock")
		locked = err == nil
		return copy(p, "From a\n\nx\n\n"), io.EOF
	})
	if res := r.Deliver(t.Context(), local.Delivery{User: r.a.Name, Body: body, Size: -1}); res.String() != "delivered" || !locked {
		t.Errorf("%v, %v, with a dot lock: %v", res.String(), res.Err, locked)
	}
	want := []string{"." + r.a.Name + ".lock", ".draft-0000000000000007.lock", r.a.Name, "mine"}
	var got []string
	names, err := os.ReadDir(r.mail)
	for _, n := range names {
		got = append(got, n.Name())
	}
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

type funcReader func([]byte) (int, error)

func (f funcReader) Read(p []byte) (int, error) { return f(p) }

func newFile(name string) error { return os.WriteFile(name, nil, 0o600) }
