package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/resolver"
)

// site is all that a Router asks. Our address is 192.0.2.99.
type site struct {
	t       testing.TB
	o       Options
	users   *users
	files   *files
	aliases string
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{
		t: t, users: &users{names: []string{"alice", "bob", "carol", "root", "toor", "x.lock"}}, files: &files{},
		aliases: filepath.Join(t.TempDir(), "aliases"),
	}
	s.o = Options{
		Hostname: "us.example", LocalDomains: []string{"also.example"},
		Aliases: alias.Open(s.aliases), Accounts: s.users, Users: s.files,
	}
	s.dns("127.0.0.1:1")
	return s
}

// dns makes the site ask one server.
func (s *site) dns(server string) {
	s.o.Resolver = resolver.New(resolver.Options{
		Servers: []string{server}, HostsFile: filepath.Join(s.t.TempDir(), "no-hosts"), Timeout: 5 * time.Second,
		Interfaces: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.99")}, nil },
		NodeName:   func() (string, error) { return "gate.inner.example", nil },
	})
}

func (s *site) alias(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.aliases, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// users are the accounts of a site; broken makes every lookup fail.
type users struct {
	names   []string
	broken  error
	missing error // what is said of other names; nil: ErrNoUser
}

func (u *users) Lookup(_ context.Context, name string) (account.Account, error) {
	if u.broken != nil {
		return account.Account{}, u.broken
	}
	for _, n := range u.names {
		if smtp.EqualFold(n, name) && (n == "root" || n == "toor") {
			return account.Account{Name: n}, nil
		}
		if smtp.EqualFold(n, name) {
			return account.Account{Name: n, UID: 1000, GID: 1000}, nil
		}
	}
	return account.Account{}, cmp.Or(u.missing, account.ErrNoUser)
}

// files are the users' files.
type files struct {
	forwards map[string]string // user → .forward
	members  map[string]string // alias → the list that it names
	personal map[string]string // local name → its value in a personal alias file
	broken   map[string]error  // what List answers, by the item's name
}

func (f *files) Forwards(_ context.Context, user, _ string) (bool, error) {
	_, ok := f.forwards[user]
	return ok, nil
}

func (f *files) List(_ context.Context, g local.Listing) ([]local.Line, error) {
	if err := f.broken[g.Item.Name]; err != nil {
		return nil, err
	}
	text, file := f.members[g.Item.Name], "/lists/"+g.Item.Name
	switch g.Item.Source {
	case local.FromForward:
		text, file = f.forwards[g.Item.Name], "/home/"+g.Item.Name+"/.forward"
		if g.User != g.Item.Name {
			return nil, errors.New("a .forward read by another user")
		}
	case local.FromUsermap:
		text, file = f.personal[g.Item.Name], "/home/"+g.User+"/.alias"
	}
	items, err := alias.ParseList(strings.NewReader(text), 100000)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	lines := make([]local.Line, len(items))
	for i, it := range items {
		lines[i] = local.Line{Target: it.Target, File: file, Line: it.Line}
	}
	return lines, nil
}

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	if s == "" {
		return smtp.Path{}
	}
	p, err := smtp.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return p
}
