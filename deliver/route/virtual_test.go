package route

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
)

// virtuals are virtual domains, by name; a value of nil can't be known now.
type virtuals map[string]*virtualDomain

type virtualDomain struct {
	users   []string
	quotas  map[string]int64 // by user, as their lines say
	used    map[string]int64 // octets in mailboxes; -1: not known now
	aliases string
	fault   error // of users and aliases
}

func (v virtuals) IsVirtual(domain string) (bool, error) {
	d, ok := v[domain]
	if ok && d == nil {
		return false, errors.New("domains.cf:1: a broken line")
	}
	return ok, nil
}

func (v virtuals) User(_ context.Context, domain, name string) (account.Account, error) {
	if err := v[domain].fault; err != nil {
		return account.Account{}, err
	}
	for _, u := range v[domain].users {
		if smtp.EqualFold(u, name) {
			return account.Account{Name: u + "@" + domain, UID: 8, GID: 8, Quota: v[domain].quotas[u]}, nil
		}
	}
	return account.Account{}, account.ErrNoUser
}

func (v virtuals) Used(_ context.Context, domain, name string, _ int64) (int64, error) {
	n := v[domain].used[name]
	if n < 0 {
		return 0, errors.New("no answer")
	}
	return n, nil
}

func (v virtuals) Alias(_ context.Context, domain, name string) (alias.Entry, error) {
	if err := v[domain].fault; err != nil {
		return alias.Entry{}, err
	}
	entries, errs := alias.Parse(strings.NewReader(v[domain].aliases))
	for _, e := range entries {
		if smtp.EqualFold(e.Name, name) {
			e.File = "/etc/virtual/" + domain + "/aliases"
			return e, nil
		}
	}
	if len(errs) > 0 {
		return alias.Entry{}, errs[0]
	}
	return alias.Entry{}, alias.ErrNotFound
}

// walked is a dry run in words: what each recipient is, and where it ends.
func walked(r *Router, to smtp.Path, from string) string {
	var all []string
	for s := range r.DryRun(context.Background(), to, smtp.Path{Local: from, Domain: "far.example"}) {
		text := fmt.Sprintf("%s %s %s", s.Recipient, s.How, s.Name+s.User)
		if s.Extension != "" {
			text += " +" + s.Extension
		}
		if s.How == HowFailure {
			text += fmt.Sprintf("%d %s", s.Code, s.Status)
		}
		if s.Way != "" {
			text += " by " + s.Way
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// TestVirtualR52S113: a name of a virtual domain is an alias of its own, a user of its
// own, or the wildcard's, which loses to users; bare names are of the same domain, and
// postmaster and abuse are somebody (S107).
func TestVirtualR52S113(t *testing.T) {
	s := newSite(t)
	s.alias("vlist: info@v.example, alice\n")
	s.o.Delimiter, s.o.Mailer, s.o.Usermap = "+", "/bin/deliver", []string{"*:alice"}
	s.o.LocalDomains = append(s.o.LocalDomains, "v.example")
	s.o.Virtual = virtuals{
		"v.example": {users: []string{"foo", "Bob", "root"}, aliases: `
info: bob, alice@us.example, FOO
self: self, bob
foo: \foo, bob
list: bob, nobody-there
owner-list: foo
prog: "|cat"
file: /tmp/x
incl: :include:/etc/shadow
loop: pool
pool: loop
`},
		"wild.example": {users: []string{"foo"}, aliases: "*: foo\n"},
		"back.example": {users: []string{"foo"}, aliases: "*: *@far.example\npostmaster: foo\n"},
		"ping.example": {aliases: "*: x@pong.example\n"}, "pong.example": {aliases: "*: x@ping.example\n"},
		"gone.example": {fault: errors.New("/etc/virtual/gone.example: permission denied")},
		"odd.example":  nil,
		"us.example":   {users: []string{"alice"}}, // our own name is never virtual
	}
	s.o.RelayHost = "[192.0.2.1]"
	for _, tt := range []struct{ to, want string }{
		{"bob@v.example", "bob@v.example mailbox Bob@v.example"},
		{"BOB+x@V.EXAMPLE", "BOB+x@V.EXAMPLE mailbox Bob@v.example +x"},
		{"root@v.example", "root@v.example mailbox root@v.example"},
		{"alice@v.example", "alice@v.example failure 550 5.1.1"},
		{"info@v.example", "info@v.example alias info@v.example; bob@v.example mailbox Bob@v.example; alice@us.example mailbox alice by mailer; FOO@v.example alias foo@v.example; \\foo mailbox foo@v.example; bob@v.example mailbox Bob@v.example"},
		{"self@v.example", "self@v.example alias self@v.example; self@v.example failure 550 5.1.1; bob@v.example mailbox Bob@v.example"},
		{"list@v.example", "list@v.example alias list@v.example; bob@v.example mailbox Bob@v.example; nobody-there@v.example failure 550 5.1.1"},
		{"prog@v.example", "prog@v.example failure 450 4.3.0"},
		{"file@v.example", "file@v.example failure 450 4.3.0"},
		{"incl@v.example", "incl@v.example failure 450 4.3.0"},
		{"loop@v.example", "loop@v.example failure 450 4.4.6"},
		{"postmaster@v.example", "postmaster@v.example alias postmaster@v.example; postmaster alias postmaster; root mailbox root"},
		{"Abuse@v.example", "Abuse@v.example alias abuse@v.example; postmaster alias postmaster; root mailbox root"},
		{"vlist", "vlist alias vlist; info@v.example alias info@v.example; bob@v.example mailbox Bob@v.example; alice@us.example mailbox alice by mailer; FOO@v.example alias foo@v.example; \\foo mailbox foo@v.example; bob@v.example mailbox Bob@v.example; alice mailbox alice by mailer"},
		{"foo@wild.example", "foo@wild.example mailbox foo@wild.example"},
		{"anybody+x@wild.example", "anybody+x@wild.example alias *@wild.example; foo@wild.example mailbox foo@wild.example"},
		{"abuse@wild.example", "abuse@wild.example alias *@wild.example; foo@wild.example mailbox foo@wild.example"},
		{"foo@back.example", "foo@back.example mailbox foo@back.example"},
		{"a+b@back.example", "a+b@back.example alias *@back.example; a+b@far.example remote "},
		{"postmaster@back.example", "postmaster@back.example alias postmaster@back.example; foo@back.example mailbox foo@back.example"},
		{"a@ping.example", "a@ping.example failure 450 4.4.6"},
		{"bob@gone.example", "bob@gone.example failure 450 4.3.0"},
		{"bob@odd.example", "bob@odd.example failure 450 4.3.0"},
		{"alice@us.example", "alice@us.example mailbox alice by mailer"},
		{"bob@none.example", "bob@none.example remote "},
	} {
		if got := walked(New(s.o), path(t, tt.to), "x"); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.to, got, tt.want)
		}
	}
}

// TestVirtualOwner: what goes wrong with an alias of a virtual domain that has an owner
// is the owner's to hear.
func TestVirtualOwner(t *testing.T) {
	s := newSite(t)
	s.o.Virtual = virtuals{"v.example": {users: []string{"bob"}, aliases: "list: bob\nowner-list: bob\nother: bob\n"}}
	for to, want := range map[string]string{"list@v.example": "owner-list@v.example", "other@v.example": "x@far.example", "owner-list@v.example": "x@far.example"} {
		senders := []string{}
		for s := range New(s.o).DryRun(t.Context(), path(t, to), path(t, "x@far.example")) {
			senders = append(senders, s.Sender)
		}
		if !slices.Equal(senders, []string{"x@far.example", want}) {
			t.Errorf("%s: senders %q, want x@far.example and %s", to, senders, want)
		}
	}
}

// TestVirtualRCPT: strangers hear 550 5.1.1 of who isn't there and 451 of what isn't
// known now, whose fault the log tells; nobody hears 553 any more (R54).
func TestVirtualRCPT(t *testing.T) {
	s := newSite(t)
	s.o.LocalByDNS = false
	s.o.Virtual = virtuals{
		"v.example": {users: []string{"bob"}, aliases: "info: bob\n"}, "wild.example": {aliases: "*: *@far.example\n"},
		"gone.example": {fault: errors.New("permission denied")}, "odd.example": nil,
	}
	for _, tt := range []struct {
		to, stranger, trusted string
		fault                 string
	}{
		{"bob@v.example", "0 ", "0 ", ""},
		{"info@V.example", "0 ", "0 ", ""},
		{"postmaster@v.example", "0 ", "0 ", ""},
		{"eve@v.example", "550 5.1.1", "550 5.1.1", ""},
		{"root@v.example", "550 5.1.1", "550 5.1.1", ""},
		{"alice@v.example", "550 5.1.1", "550 5.1.1", ""},
		{"eve@wild.example", "0 ", "0 ", ""},
		{"bob@gone.example", "451 4.3.0", "451 4.3.0", "permission denied"},
		{"postmaster@gone.example", "451 4.3.0", "451 4.3.0", "permission denied"},
		{"bob@odd.example", "451 4.3.0", "0 ", "domains.cf:1: a broken line"},
		{"bob@none.example", "550 5.7.1", "0 ", ""},
	} {
		for _, trusted := range []bool{false, true} {
			want := tt.stranger
			if trusted {
				want = tt.trusted
			}
			reply, err := New(s.o).Recipient(t.Context(), Question{To: path(t, tt.to), Trusted: trusted})
			if got := fmt.Sprintf("%d %s", reply.Code, reply.Status); got != want {
				t.Errorf("%s, trusted %v: %s, want %s", tt.to, trusted, got, want)
			}
			if reply.Code == 451 && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("%s: the log hears %v, want %q", tt.to, err, tt.fault)
			}
		}
	}
}

// TestVirtualTakenOut: mail for a domain that is taken out of the list goes where any
// other domain's does.
func TestVirtualTakenOut(t *testing.T) {
	s := newSite(t)
	all := virtuals{"v.example": {users: []string{"bob"}}}
	s.o.Virtual, s.o.RelayHost = all, "[192.0.2.1]"
	r := New(s.o)
	for _, want := range []string{"bob@v.example mailbox bob@v.example", "bob@v.example remote "} {
		if got := walked(r, path(t, "bob@v.example"), "x"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		delete(all, "v.example")
	}
}
