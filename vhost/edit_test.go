package vhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestEditUsers: each change leaves all other lines, unknown fields and comments as they
// are, and mode and owner too.
func TestEditUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), PasswdFile)
	const begin = "# users\nbob:h1\nCarol:h2:1:2:g:/h:/s:a=b scram=old c=d\r\nbroken\n#dave:x\ncarol:second\nlast:h3"
	secret := Secret{"NEW", "VER"}
	for _, tt := range []struct {
		name string
		do   func(path string) error
		old  string
		new  string // in the place of old
		err  error
	}{
		{"add", func(p string) error { return AddUser(p, "dave", secret) }, "last:h3", "last:h3\ndave:NEW::::::scram=VER\n", nil},
		{"add without a verifier", func(p string) error { return AddUser(p, "dave", Secret{Hash: "NEW"}) }, "last:h3", "last:h3\ndave:NEW\n", nil},
		{"add who is there", func(p string) error { return AddUser(p, "BOB", secret) }, "", "", ErrExists},
		{"set", func(p string) error { return SetPassword(p, "bob", secret) }, "bob:h1\n", "bob:NEW::::::scram=VER\n", nil},
		{"set with fields", func(p string) error { return SetPassword(p, "carol", secret) }, "Carol:h2:1:2:g:/h:/s:a=b scram=old c=d\r\n", "Carol:NEW:1:2:g:/h:/s:a=b c=d scram=VER\n", nil},
		{"set of the last", func(p string) error { return SetPassword(p, "last", Secret{Hash: "NEW"}) }, "last:h3", "last:NEW\n", nil},
		{"set of nobody", func(p string) error { return SetPassword(p, "dave", secret) }, "", "", ErrMissing},
		{"set of a broken line", func(p string) error { return SetPassword(p, "broken", secret) }, "", "", errors.New("no colon")},
		{"disable", func(p string) error { return CloseUser(p, "Carol", true) }, "Carol:h2:1:2:g:/h:/s:a=b scram=old c=d\r\n", "Carol:!h2:1:2:g:/h:/s:a=b !scram=old c=d\n", nil},
		{"disable twice, and a password", func(p string) error {
			return errors.Join(CloseUser(p, "bob", true), CloseUser(p, "bob", true), SetPassword(p, "bob", secret))
		}, "bob:h1\n", "bob:!NEW::::::!scram=VER\n", nil},
		{"enable", func(p string) error {
			return errors.Join(CloseUser(p, "bob", true), SetPassword(p, "bob", secret), CloseUser(p, "bob", false), CloseUser(p, "bob", false))
		}, "bob:h1\n", "bob:NEW::::::scram=VER\n", nil},
		{"quota", func(p string) error { return SetQuota(p, "bob", "2G") }, "bob:h1\n", "bob:h1::::::userdb_quota_rule=*:storage=2G\n", nil},
		{"quota beside other words", func(p string) error { return errors.Join(SetQuota(p, "carol", "2G"), SetQuota(p, "carol", "5B")) }, "s:a=b scram=old c=d\r\n", "s:a=b scram=old c=d userdb_quota_rule=*:storage=5B\n", nil},
		{"quota taken out", func(p string) error { return errors.Join(SetQuota(p, "bob", "0"), SetQuota(p, "bob", "")) }, "bob:h1\n", "bob:h1::::::\n", nil},
		{"quota beside a rule for something else", func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("bob:h1::::::userdb_quota_rule=*:messages=9 userdb_quota_rule=x userdb_quota_storage_size=1G\n"), 0o640), SetQuota(p, "bob", "3G"))
		}, begin, "bob:h1::::::userdb_quota_rule=*:messages=9 userdb_quota_storage_size=3G\n", nil},
		{"quota of nobody", func(p string) error { return SetQuota(p, "dave", "1G") }, "", "", ErrMissing},
		{"delete", func(p string) error { return DeleteUser(p, "bob") }, "bob:h1\n", "", nil},
		{"delete a broken line", func(p string) error { return DeleteUser(p, "broken") }, "broken\n", "", nil},
		{"delete nobody", func(p string) error { return DeleteUser(p, "#dave") }, "", "", ErrMissing},
	} {
		must(t, os.RemoveAll(path), os.WriteFile(path, []byte(begin), 0o640), os.Chmod(path, 0o640))
		err := tt.do(path)
		if !errors.Is(err, tt.err) && (err == nil || !strings.Contains(err.Error(), fmt.Sprint(tt.err))) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		text, err := os.ReadFile(path)
		must(t, err)
		if want := strings.Replace(begin, tt.old, tt.new, 1); string(text) != want {
			t.Errorf("%s:\n%q, want\n%q", tt.name, text, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v, want the mode kept", tt.name, info.Mode(), err)
		}
		if all, err := os.ReadDir(filepath.Dir(path)); err != nil || len(all) != 1 {
			t.Errorf("%s: %v, %v: something is left", tt.name, all, err)
		}
	}
	must(t, DeleteUser(path, "carol"))
	if text, err := os.ReadFile(path); err != nil || strings.Contains(strings.ToLower(string(text)), "carol") {
		t.Errorf("%q, %v: a second line of a user that was deleted counts", text, err)
	}
	must(t, os.WriteFile(path, []byte("a:b\n"), 0o640), DeleteUser(path, "a"))
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v: a file without users is taken for one that was cut", info, err)
	}
}

// TestEditTogether: of changes at one time none is lost.
func TestEditTogether(t *testing.T) {
	dir := newDir(t, "owner:v.example:1:\n", "# none\n")
	path := filepath.Join(dir, "v.example", PasswdFile)
	const n = 16
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			if err := AddUser(path, fmt.Sprint("u", i), Secret{Hash: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	s := New(dir, owners{})
	for i := range n {
		if _, err := s.User(t.Context(), "v.example", fmt.Sprint("u", i)); err != nil {
			t.Errorf("u%d: %v", i, err)
		}
	}
}

// TestEditDomains: a domain is added, disabled, enabled and deleted, and the lines of
// others stay as they are.
func TestEditDomains(t *testing.T) {
	const begin = "# ours\n#owner:new.example:1:\nowner:One.Example:1:a:b\nodd\nowner:two.example:1"
	path := filepath.Join(t.TempDir(), DomainsFile)
	for _, tt := range []struct {
		name, old, new string
		do             func() error
		err            error
	}{
		{"add", "two.example:1", "two.example:1\nalice:new.example:1:the new\n", func() error { return AddDomain(path, "alice", "new.example", "the new") }, nil},
		{"add what is there", "", "", func() error { return AddDomain(path, "alice", "one.example", "") }, ErrExists},
		{"a comment of two lines", "", "", func() error { return AddDomain(path, "alice", "new.example", "a\nb:c:1") }, errors.New("can't stand in")},
		{"disable", "owner:One.Example:1:a:b", "owner:One.Example:0:a:b", func() error { return SetActive(path, "one.example", false) }, nil},
		{"disable the last", "owner:two.example:1", "owner:two.example:0:\n", func() error { return SetActive(path, "two.example", false) }, nil},
		{"enable", "", "", func() error {
			return errors.Join(SetActive(path, "one.example", false), SetActive(path, "one.example", true))
		}, nil},
		{"disable what isn't there", "", "", func() error { return SetActive(path, "new.example", false) }, ErrMissing},
		{"delete", "owner:One.Example:1:a:b\n", "", func() error { return DeleteDomain(path, "one.example") }, nil},
		{"delete what isn't there", "", "", func() error { return DeleteDomain(path, "new.example") }, ErrMissing},
	} {
		must(t, os.WriteFile(path, []byte(begin), 0o644))
		if err := tt.do(); !errors.Is(err, tt.err) && (err == nil || !strings.Contains(err.Error(), fmt.Sprint(tt.err))) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		text, err := os.ReadFile(path)
		must(t, err)
		if want := strings.Replace(begin, tt.old, tt.new, 1); string(text) != want {
			t.Errorf("%s:\n%q, want\n%q", tt.name, text, want)
		}
	}
}

// TestEditLater: each change of a file has a later second than the one before, since
// Dovecot looks at seconds.
func TestEditLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(path, []byte("bob:x\n"), 0o600))
	before := int64(0)
	for i := range 5 {
		must(t, SetPassword(path, "bob", Secret{Hash: strings.Repeat("x", i+1)}))
		info, err := os.Stat(path)
		must(t, err)
		if now := info.ModTime().Unix(); now <= before {
			t.Fatalf("change %d has the second %d, the one before %d", i, now, before)
		} else {
			before = now
		}
	}
}
