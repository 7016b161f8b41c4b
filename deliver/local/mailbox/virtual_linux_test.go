package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// virtualBoxes are the mailboxes of the domain v.example in dir, and the account that
// has them. Nobody else can have any.
func virtualBoxes(t *testing.T, dir string, maildir bool) (*Mailboxes, account.Account) {
	t.Helper()
	owner := account.Account{Name: "mail", UID: os.Getuid(), GID: os.Getgid()}
	if owner.UID == 0 {
		owner.UID, owner.GID = 8, 8
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "v.example"), 0o700), os.Chown(filepath.Join(dir, "v.example"), owner.UID, owner.GID)); err != nil {
		t.Fatal(err)
	}
	m := New(Options{FS: disk.OS(), Dir: "/nonexistent", Accounts: account.Only(self), LockWait: time.Second,
		Virtual: Virtual{Dir: dir, User: owner, Maildir: maildir}, As: owned(owner)})
	return m, owner
}

// owned gives what f makes in the directories of a domain to their account, which
// creds.As would have as its own.
func owned(owner account.Account) func(account.Account, int, func() error) error {
	return func(a account.Account, gid int, f func() error) error {
		if a.UID != owner.UID || a.GID != owner.GID || gid != -1 {
			return fmt.Errorf("ids of %d:%d, group %d", a.UID, a.GID, gid)
		}
		return asOwner(owner, f)
	}
}

func put(m *Mailboxes, d local.Delivery) local.Result {
	d.Body, d.Size = strings.NewReader("From x\nSubject: x\n\ntext\n\n"), -1
	return m.Deliver(context.Background(), d)
}

// TestVirtualMailbox: mail of a user of a virtual domain goes into a file or a Maildir
// in the domain's directory, as the one account that has them all; no account of the
// user's name is looked for, and no .forward.
func TestVirtualMailbox(t *testing.T) {
	for _, maildir := range []bool{false, true} {
		dir := t.TempDir()
		m, owner := virtualBoxes(t, dir, maildir)
		for range 2 {
			if r := put(m, local.Delivery{User: "Bob@v.example"}); r.String() != "delivered" || r.Reply.Text != "delivered to mailbox Bob@v.example" {
				t.Fatalf("Maildir %v: %v, %+v", maildir, r, r.Outcome)
			}
		}
		box := filepath.Join(dir, "v.example", "Bob")
		n := 0
		if maildir {
			all, err := os.ReadDir(filepath.Join(box, "new"))
			must(t, err)
			n, box = len(all), filepath.Join(box, "new", all[0].Name())
		} else {
			text, err := os.ReadFile(box)
			must(t, err)
			n = strings.Count(string(text), "Subject: x\n")
		}
		info, err := os.Stat(box)
		must(t, err)
		if i := disk.InfoOf(info); n != 2 || i.UID != owner.UID || i.Mode.Perm() != 0o600 {
			t.Errorf("Maildir %v: %d messages, uid %d, mode %o", maildir, n, i.UID, i.Mode.Perm())
		}
	}
}

// TestVirtualFolder: mail for the folder of option vhost-folder goes into a file beside the
// mailbox, or into a folder of the Maildir, whose octets count for it.
func TestVirtualFolder(t *testing.T) {
	for maildir, name := range map[bool]string{false: "Bob:Junk", true: "Bob/.Junk/new"} {
		dir := t.TempDir()
		m, _ := virtualBoxes(t, dir, maildir)
		m.o.Virtual.Folder = "Junk"
		for i, want := range []string{"delivered", "deferred"} {
			r := put(m, local.Delivery{User: "Bob@v.example", Folder: "Junk", Quota: 20})
			if r.String() != want || i == 1 && r.Reply.Status != "4.2.2" {
				t.Errorf("Maildir %v: %v, %v, want it %s", maildir, r, r.Err, want)
			}
		}
		if maildir {
			if r := put(m, local.Delivery{User: "Bob@v.example", Quota: 20}); r.String() != "deferred" {
				t.Errorf("into the Maildir: %v, %v, want no room", r, r.Err)
			}
		}
		at := filepath.Join(dir, "v.example", name)
		if maildir {
			all, err := os.ReadDir(at)
			must(t, err)
			if len(all) != 1 {
				t.Errorf("%s has %v", at, all)
			}
		} else if text, err := os.ReadFile(at); err != nil || strings.Count(string(text), "Subject: x\n") != 1 {
			t.Errorf("%s has %q, %v", at, text, err)
		}
		if r := put(m, local.Delivery{User: "Bob@v.example", Folder: "Other"}); r.String() != "deferred" {
			t.Errorf("Maildir %v, another folder: %v", maildir, r)
		}
	}
}

// TestVirtualPlaces: what is no mailbox of a virtual domain, or may be somebody else's,
// waits, and says what to do; nothing is made outside of the domain's directory.
func TestVirtualPlaces(t *testing.T) {
	dir := t.TempDir()
	m, _ := virtualBoxes(t, dir, false)
	at := filepath.Join(dir, "v.example")
	for _, tt := range []struct {
		name string
		d    local.Delivery
		do   func() error
		want string
	}{
		{"no directory", local.Delivery{User: "bob@no.example"}, nil, "make it: mkdir " + dir + "/no.example, then chown mail:"},
		{"the list's directory", local.Delivery{User: "bob@."}, nil, "begins with"},
		{"above", local.Delivery{User: "bob@.."}, nil, "begins with"},
		{"a path for a domain", local.Delivery{User: "bob@a/b"}, nil, "octet"},
		{"a path for a name", local.Delivery{User: "a/b@v.example"}, nil, "octet"},
		{"above the domain", local.Delivery{User: "..@v.example"}, nil, "begins with"},
		{"a lock's name", local.Delivery{User: "bob.lock@v.example"}, nil, "kept for locks"},
		{"a folder", local.Delivery{User: "bob@v.example", Folder: "Junk"}, nil, "option vhost-folder"},
		{"others may write there", local.Delivery{User: "bob@v.example"}, func() error { return os.Chmod(at, 0o777) }, "chmod go-w it"},
		{"a link in its place", local.Delivery{User: "bob@v.example"}, func() error {
			return errors.Join(os.Chmod(at, 0o700), os.Symlink("/dev/null", filepath.Join(at, "bob")))
		}, "bob"},
		{"a FIFO in its place", local.Delivery{User: "fifo@v.example"}, func() error { return syscall.Mkfifo(filepath.Join(at, "fifo"), 0o600) }, "fifo"},
		{"another name of a file", local.Delivery{User: "twice@v.example"}, func() error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "v.example", "x"), nil, 0o600), os.Link(filepath.Join(at, "x"), filepath.Join(at, "twice")))
		}, "twice"},
		{"root's", local.Delivery{User: "eve@v.example"}, func() error { m.o.Virtual.User.UID = 0; return nil }, "names root"},
		{"no account", local.Delivery{User: "eve@v.example"}, func() error {
			m.o.Virtual.User, m.o.Virtual.Missing = account.Account{}, "there is no account mail"
			return nil
		}, "there is no account mail"},
		{"no directory at all", local.Delivery{User: "eve@v.example"}, func() error { m.o.Virtual.Dir = ""; return nil }, "vhost-spool is empty"},
	} {
		if tt.do != nil {
			must(t, tt.do())
		}
		if r := put(m, tt.d); r.String() != "deferred" || !strings.Contains(fmt.Sprint(r.Err), tt.want) {
			t.Errorf("%s: %v, %v, want %q", tt.name, r, r.Err, tt.want)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("%v, %v: something was made beside the domain's directory", all, err)
	}
}

// asOwner runs f with the file system ids of an account, on a thread that ends then.
func asOwner(a account.Account, f func() error) (err error) {
	if os.Getuid() == a.UID {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		syscall.RawSyscall(syscall.SYS_SETFSGID, uintptr(a.GID), 0, 0)
		syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(a.UID), 0, 0)
		done <- f()
	}()
	return <-done
}
