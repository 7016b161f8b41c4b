package mailbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/privsep/creds"
	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// real is a machine on which mailboxes are written as the master does it: by
// threads with the ids of a user who is not root. Run by a user, it is theirs.
type real struct {
	*mailbox.Mailboxes
	a         account.Account
	homes     mailbox.Homes
	mail      string // 2775 root:mail, as Debian has it
	box, home string
}

const realUID = 20001

func newReal(t *testing.T, spec string) *real {
	t.Helper()
	top, err := os.MkdirTemp("", "po-real-") // t.TempDir is closed to others
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	r := &real{mail: filepath.Join(top, "mail"), home: filepath.Join(top, "home")}
	r.homes.Unmounted = func(string) string { return "" } // whatever this machine mounts
	r.box = filepath.Join(r.mail, "alice")
	r.a = account.Account{Name: "alice", UID: os.Getuid(), GID: os.Getgid(), Home: r.home}
	check(t, os.Chmod(top, 0o755), os.Mkdir(r.mail, 0o755))
	if os.Getuid() == 0 {
		r.a.UID, r.a.GID = realUID, realUID
		check(t, os.Chown(r.mail, 0, 8))
	}
	check(t, os.Chmod(r.mail, 0o775|os.ModeSetgid), os.Mkdir(r.home, 0o700))
	r.own(t, r.home)
	r.with(spec)
	return r
}

// folders are those at home that the configuration names.
var folders = []string{"~/mail/spam", "~/Maildir/.Junk/"}

// with begins anew with option mailbox.
func (r *real) with(spec string) {
	r.Mailboxes = mailbox.New(mailbox.Options{
		FS: disk.OS(), Dir: r.mail, Accounts: account.Only(r.a), As: creds.As, Homes: r.homes,
		Mailbox: spec, Folders: folders, Hostname: "host/a:b", LockWait: 100 * time.Millisecond,
	})
}

func (r *real) own(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		check(t, os.Lchown(p, r.a.UID, r.a.GID))
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// letter delivers text.
func (r *real) letter(text string, d local.Delivery) local.Result {
	d.User, d.Body = "alice", strings.NewReader(text)
	return r.Deliver(context.Background(), d)
}

func TestForwardedBeforeTheMailboxIsOpened(t *testing.T) {
	const text = "From a\n\nx\n\n"
	for _, tt := range []struct {
		name  string
		make  func(t *testing.T, r *real)
		d     local.Delivery
		want  string
		words string // in the error
	}{
		{"no .forward", func(*testing.T, *real) {}, local.Delivery{}, "delivered", ""},
		{"a .forward", forwardFile(".forward"), local.Delivery{}, "forwarded", ""},
		{"final all the same", forwardFile(".forward"), local.Delivery{Final: true}, "delivered", ""},
		{"a detail's", forwardFile(".forward+list"), local.Delivery{Extension: "list"}, "forwarded", ""},
		{"another detail's", forwardFile(".forward+list"), local.Delivery{Extension: "other"}, "delivered", ""},
		{"a detail that is no file's name", forwardFile("x"), local.Delivery{Extension: "/../x"}, "delivered", ""},
		{"a detail with the plain one", forwardFile(".forward"), local.Delivery{Extension: "a\x00b"}, "forwarded", ""},
		{"a dangling link counts too", func(t *testing.T, r *real) {
			check(t, os.Symlink("/nowhere", filepath.Join(r.home, ".forward")))
		}, local.Delivery{}, "forwarded", ""},
		{"no home", func(t *testing.T, r *real) { check(t, os.Remove(r.home)) }, local.Delivery{}, "delivered", ""},
		{"home not mounted (A49)", func(t *testing.T, r *real) {
			check(t, os.Remove(r.home))
			r.homes.Unmounted = func(string) string { return "/home has nothing mounted" }
			r.with("")
		}, local.Delivery{}, "deferred", "/home has nothing mounted"},
		{"home mounted while that is found out (A49)", func(t *testing.T, r *real) {
			check(t, os.WriteFile(filepath.Join(r.home, ".forward"), nil, 0o600), os.Rename(r.home, r.home+".away"))
			r.homes.Unmounted = func(string) string {
				mounted := make(chan error) // by a thread with rights for that
				go func() { mounted <- os.Rename(r.home+".away", r.home) }()
				if err := <-mounted; err != nil {
					t.Error(err)
				}
				return ""
			}
			r.with("")
		}, local.Delivery{}, "forwarded", ""},
		{"no home, and one is required (A49)", func(t *testing.T, r *real) {
			check(t, os.Remove(r.home))
			r.homes.Required = true
			r.with("")
		}, local.Delivery{}, "deferred", "is its file system mounted?"},
		{"home closed to its user", func(t *testing.T, r *real) { check(t, os.Chmod(r.home, 0)) }, local.Delivery{}, "deferred", "permission denied"},
		{"no mail directory, but a .forward", func(t *testing.T, r *real) {
			check(t, os.Remove(r.mail))
			forwardFile(".forward")(t, r)
		}, local.Delivery{}, "forwarded", ""},
		{"no mail directory", func(t *testing.T, r *real) { check(t, os.Remove(r.mail)) }, local.Delivery{}, "deferred", "mail directory"},
	} {
		r := newReal(t, "")
		tt.make(t, r)
		res := r.letter(text, tt.d)
		if res.String() != tt.want || !strings.Contains(fmt.Sprint(res.Err), tt.words) {
			t.Errorf("%s: %v, %v, want %v with %q", tt.name, res.String(), res.Err, tt.want, tt.words)
		}
		if _, err := os.Lstat(r.box); (err == nil) != (tt.want == "delivered") {
			t.Errorf("%s: mailbox: %v", tt.name, err)
		}
		yes, err := r.Forwards(t.Context(), "alice", tt.d.Extension)
		if !tt.d.Final && tt.name != "no mail directory" && (yes != (tt.want == "forwarded") || (err != nil) != (tt.want == "deferred")) {
			t.Errorf("%s: Forwards: %v, %v", tt.name, yes, err)
		}
	}
}

func forwardFile(name string) func(t *testing.T, r *real) {
	return func(t *testing.T, r *real) { check(t, os.WriteFile(filepath.Join(r.home, name), nil, 0o600)) }
}

// TestHomesThatNeedNotBeThereA49: a system's account, one whose home is /nonexistent and
// one whose home is on no file system that could be missing have no .forward; root's
// never counts.
func TestHomesThatNeedNotBeThereA49(t *testing.T) {
	for _, tt := range []struct {
		uid            int
		home           string
		want, required bool // known to have none, also where homes are required
	}{
		{999, "/no/such/home", true, true}, {1000, "/no/such/home", true, false}, {1000, "/nonexistent", true, true},
		{1000, "/not/mounted", false, false}, {999, "/not/mounted", true, true},
		{999, "/dev/null", true, true}, {1000, "/dev/null", true, false}, {999, "", true, true}, {1000, "", false, false},
		{0, "/root", true, true},
	} {
		a := account.Account{Name: "x", UID: tt.uid, GID: tt.uid, Home: tt.home}
		for _, homes := range []mailbox.Homes{{}, {Required: true}} {
			homes.Unmounted = func(dir string) string {
				if dir == "/not/mounted" {
					return "it is not mounted"
				}
				return ""
			}
			want := tt.want
			if homes.Required {
				want = tt.required
			}
			m := mailbox.New(mailbox.Options{FS: disk.OS(), Dir: "/", Accounts: account.Only(a), Homes: homes})
			if yes, err := m.Forwards(t.Context(), "x", ""); yes || (err == nil) != want {
				t.Errorf("uid %d, home %q, required %v: %v, %v, want known %v", tt.uid, tt.home, homes.Required, yes, err, want)
			}
		}
	}
	m := mailbox.New(mailbox.Options{FS: disk.OS(), Dir: "/", Accounts: account.Passwd("/etc/passwd"), As: creds.As})
	if _, err := m.Forwards(t.Context(), "nobody-here", ""); err == nil {
		t.Error("an account that isn't there has no answer")
	}
}
