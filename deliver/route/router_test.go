package route

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"postoffice/internal/account"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/resolver"
)

func TestIsLocal(t *testing.T) {
	zone := testenv.NewDNS(t,
		"mx-ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99",
		"second.example. 60 IN MX 10 far.example.", "second.example. 60 IN MX 20 gate.example.", "far.example. 60 IN A 198.51.100.1",
		"shared.example. 60 IN MX 10 far.example.", "shared.example. 60 IN MX 10 gate.example.",
		"address.example. 60 IN A 192.0.2.99",
		"loopback.example. 60 IN A 127.0.0.1", "loopmx.example. 60 IN MX 5 loopback.example.",
		"null.example. 60 IN MX 0 .",
		"lost.example. 60 IN MX 10 missing.example.",
	)
	zone.Script("MX broken.example", testenv.Code(dns.RcodeServerFailure))
	r := newSite(t)
	r.dns(zone.Addr())
	r.o.LocalByDNS = true
	router := New(r.o)
	for _, tt := range []struct {
		domain string
		want   bool
		fails  bool
	}{
		{"", true, false}, {"localhost", true, false}, {"LocalHost", true, false},
		{"us.example", true, false}, {"US.Example", true, false}, {"also.example", true, false},
		{"gate", true, false}, {"Gate.inner.example", true, false}, {"localhost.localdomain", true, false},
		{"localhost.inner.example", true, false}, {"inner.example", false, false}, {"localhost.example", false, false},
		{"us.example.evil", false, false}, {"notus.example", false, false},
		{"[192.0.2.99]", true, false}, {"[127.0.0.1]", true, false}, {"[IPv6:::1]", true, false}, {"[ipv6:::ffff:192.0.2.99]", true, false},
		{"[192.0.2.1]", false, false}, {"[x]", false, false}, {"[192.0.2.99", false, false},
		{"mx-ours.example", true, false}, {"second.example", false, false}, {"shared.example", true, false},
		{"address.example", true, false},
		{"loopback.example", false, false}, {"loopmx.example", false, false}, // A58
		{"null.example", false, false}, {"gone.example", false, false}, {"lost.example", false, false},
		{"broken.example", false, true}, // B38
	} {
		got, err := router.IsLocal(t.Context(), tt.domain)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q: %v, %v, want %v", tt.domain, got, err, tt.want)
		}
	}
	for _, listed := range []string{"[2001:db8::1]", "[IPv6:2001:db8::1]", "[ipv6:2001:DB8:0::1]"} { // a site behind a translator of addresses
		r.o.LocalDomains = []string{listed}
		if got, err := New(r.o).IsLocal(t.Context(), "[IPv6:2001:db8::1]"); !got || err != nil {
			t.Errorf("local-domains=%s: %v, %v, want it to be local", listed, got, err)
		}
	}
	r.o.LocalByDNS = false
	if got, err := New(r.o).IsLocal(t.Context(), "mx-ours.example"); got || err != nil {
		t.Errorf("without local-by-dns: %v, %v", got, err)
	}
}

// What can't be known for want of descriptors is asked again later, not refused.
func TestOursUnknown(t *testing.T) {
	zone := testenv.NewDNS(t, "ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99")
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.Symlink(hosts, hosts); err != nil { // nobody can read it
		t.Fatal(err)
	}
	r := newSite(t)
	r.o.LocalByDNS = true
	for name, o := range map[string]resolver.Options{
		"alice@[192.0.2.99]":  {Interfaces: func() ([]netip.Addr, error) { return nil, syscall.EMFILE }},
		"alice@ours.example":  {Interfaces: func() ([]netip.Addr, error) { return nil, syscall.EMFILE }},
		"alice@short.example": {HostsFile: hosts},
	} {
		o.Servers, o.NodeName = []string{zone.Addr()}, func() (string, error) { return "node", nil }
		if o.HostsFile == "" {
			o.HostsFile = hosts + "-none"
		}
		r.o.Resolver = resolver.New(o)
		router := New(r.o)
		if got, _ := router.Recipient(t.Context(), Question{To: path(t, name), Trusted: false}); got.Code != 451 {
			t.Errorf("%s at RCPT: %v, want 451", name, got)
		}
		for s := range router.DryRun(t.Context(), path(t, name), smtp.Path{}) {
			if s.How != HowFailure || s.Permanent {
				t.Errorf("%s in the queue: %+v, want a failure for now", name, s)
			}
		}
	}
}

func TestRecipient(t *testing.T) {
	zone := testenv.NewDNS(t, "ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 198.51.100.1")
	zone.Script("MX broken.example", testenv.Code(dns.RcodeServerFailure))
	for _, tt := range []struct {
		to      string
		trusted bool
		want    int // 0: accepted
		status  string
		prep    func(*site)
	}{
		{to: "alice@us.example"}, {to: "ALICE@us.example"}, {to: "alice"}, {to: "team@also.example"}, {to: "prog@us.example"},
		{to: "postmaster"}, {to: "Postmaster@US.example"}, {to: "root@us.example"},
		{to: "alice@ours.example"},
		{to: "no-one@us.example", want: 550, status: "5.1.1"},
		{to: "no-one@ours.example", want: 550, status: "5.1.1"},
		{to: "no-one@us.example", trusted: true, want: 550, status: "5.1.1"},
		{to: "v@far.example", want: 550, status: "5.7.1"},
		{to: "v@gone.example", want: 550, status: "5.7.1"},
		{to: "v@[198.51.100.1]", want: 550, status: "5.7.1"},
		{to: "v@broken.example", want: 451, status: "4.4.3"}, // never "no such domain"
		{to: "v@far.example", trusted: true},
		{to: `"|id"@far.example`, trusted: true, want: 553, status: "5.1.3"}, // A18
		{to: `"|id"@us.example`, want: 553, status: "5.1.3", prep: func(r *site) { r.o.Usermap = []string{"*:alice"} }},
		{to: "no-one@ours.example", trusted: true}, // decided at delivery: invariant 11
		{to: "v@broken.example", trusted: true},
		{to: "toor@us.example", want: 550, status: "5.1.1"}, // uid 0: nothing would ever be delivered
		{to: "x.lock@us.example", want: 550, status: "5.1.1"},
		{to: "toor+x@us.example", want: 550, status: "5.1.1", prep: func(r *site) { r.o.Delimiter = "+" }},
		{to: "toor@us.example", trusted: true}, // waits for an alias, as cron's mail must
		{to: "toor@us.example", prep: func(r *site) { r.alias("toor: alice\n") }},
		{to: "x.lock@us.example", prep: func(r *site) { r.o.Mailbox = "lmtp:/x" }},
		{to: "alice@us.example", want: 451, status: "4.3.0", prep: func(r *site) { r.users.broken = errors.New("EIO") }},
		{to: "postmaster", prep: func(r *site) { r.users.broken = errors.New("EIO") }},
		{to: "broken@us.example", want: 451, status: "4.3.0"},
		{to: "no-one@us.example", want: 451, status: "4.3.0", prep: func(r *site) { r.alias("no colon\n") }}, // A36
	} {
		r := newSite(t)
		r.alias("team: alice\nprog: \"|x\"\nbroken: \"\n")
		r.dns(zone.Addr())
		r.o.LocalByDNS = true
		if tt.prep != nil {
			tt.prep(r)
		}
		got, err := New(r.o).Recipient(t.Context(), Question{To: path(t, tt.to), Trusted: tt.trusted})
		if (err != nil) != (tt.status == "4.3.0") {
			t.Errorf("%s: for the log: %v", tt.to, err)
		}
		if got.Code != tt.want || got.Status != tt.status {
			t.Errorf("%s (trusted %v): %v, want %d %s", tt.to, tt.trusted, got, tt.want, tt.status)
		}
	}
}

// What is submitted here never asks DNS (invariant 11).
func TestTrustedAsksNothing(t *testing.T) {
	zone := testenv.NewDNS(t)
	r := newSite(t)
	r.dns(zone.Addr())
	r.o.LocalByDNS = true
	router := New(r.o)
	for _, to := range []string{"a@far.example", "alice@us.example", "x@[192.0.2.7]"} {
		if got, _ := router.Recipient(t.Context(), Question{To: path(t, to), Trusted: true}); !got.IsZero() {
			t.Errorf("%s: %v", to, got)
		}
	}
	if asked := zone.Asked(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

// Neither strangers nor reports are told what the user database is here.
func TestNoUserWords(t *testing.T) {
	r := newSite(t)
	r.users.missing = fmt.Errorf("%w: getent passwd does not know %q, nor does /etc/passwd", account.ErrNoUser, "eve")
	for _, trusted := range []bool{false, true} {
		if got, _ := New(r.o).Recipient(t.Context(), Question{To: smtp.Path{Local: "eve"}, Trusted: trusted}); got.Code != 550 || got.Text != noUser+", check the address" {
			t.Errorf("trusted %v: %v, want %q", trusted, got, noUser)
		}
	}
	if s := New(r.o).Resolve(t.Context(), &Node{Path: smtp.Path{Local: "eve"}}); s.Outcome.Reply.Text != noUser || s.Outcome.Cause().Error() != s.Outcome.Reply.String() && strings.Contains(s.Outcome.Cause().Error(), "getent") {
		t.Errorf("in the queue: %+v, want %q", s.Outcome, noUser)
	}
	r.o.Accounts = account.Only(account.Account{Name: "alice"})
	if got, _ := New(r.o).Recipient(t.Context(), Question{To: smtp.Path{Local: "bob"}, Trusted: false}); got.Text != noUser+", check the address" {
		t.Errorf("a stranger at a private server: %v, want %q", got, noUser)
	}
}

// The private server of an ordinary user says why it has nobody else.
func TestOnlyReason(t *testing.T) {
	r := newSite(t)
	r.o.Accounts = account.Only(account.Account{Name: "alice"})
	got, _ := New(r.o).Recipient(t.Context(), Question{To: smtp.Path{Local: "bob"}, Trusted: true})
	if got.Code != 550 || got.Text == "no such user here" || got.Text == "" {
		t.Errorf("%v, want the reason of the accounts", got)
	}
}
