package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
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
	r := newRig(t)
	r.dns(zone.Addr())
	r.o.LocalByDNS = true
	router := NewRouter(r.o)
	for _, tt := range []struct {
		domain string
		want   bool
		fails  bool
	}{
		{"", true, false}, {"localhost", true, false}, {"LocalHost", true, false},
		{"us.example", true, false}, {"US.Example", true, false}, {"also.example", true, false},
		{"us.example.evil", false, false}, {"notus.example", false, false},
		{"[192.0.2.99]", true, false}, {"[127.0.0.1]", true, false}, {"[IPv6:::1]", true, false}, {"[ipv6:::ffff:192.0.2.99]", true, false},
		{"[192.0.2.1]", false, false}, {"[x]", false, false}, {"[192.0.2.99", false, false},
		{"mx-ours.example", true, false}, {"second.example", false, false}, {"shared.example", true, false},
		{"address.example", true, false},
		{"loopback.example", false, false}, {"loopmx.example", false, false}, // A58
		{"null.example", false, false}, {"gone.example", false, false}, {"lost.example", false, false},
		{"broken.example", false, true}, // B38
	} {
		got, err := router.IsLocal(context.Background(), tt.domain)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q: %v, %v, want %v", tt.domain, got, err, tt.want)
		}
	}
	r.o.LocalByDNS = false
	if got, err := NewRouter(r.o).IsLocal(context.Background(), "mx-ours.example"); got || err != nil {
		t.Errorf("without local-by-dns: %v, %v", got, err)
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
		prep    func(*rig)
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
		{to: `"|id"@us.example`, want: 553, status: "5.1.3", prep: func(r *rig) { r.o.Usermap = []string{"*:alice"} }},
		{to: "no-one@ours.example", trusted: true}, // decided at delivery: invariant 11
		{to: "v@broken.example", trusted: true},
		{to: "alice@us.example", want: 451, status: "4.3.0", prep: func(r *rig) { r.users.breakWith(errors.New("EIO")) }},
		{to: "postmaster", prep: func(r *rig) { r.users.breakWith(errors.New("EIO")) }},
		{to: "broken@us.example", want: 451, status: "4.3.0"},
		{to: "no-one@us.example", want: 451, status: "4.3.0", prep: func(r *rig) { r.alias("no colon\n") }}, // A36
	} {
		r := newRig(t)
		r.alias("team: alice\nprog: \"|x\"\nbroken: \"\n")
		r.dns(zone.Addr())
		r.o.LocalByDNS = true
		if tt.prep != nil {
			tt.prep(r)
		}
		var log strings.Builder
		r.o.Log = slog.New(slog.NewTextHandler(&log, nil))
		got := NewRouter(r.o).Recipient(context.Background(), path(t, tt.to), tt.trusted)
		if told := strings.Contains(log.String(), "recipient not known now"); told != (tt.status == "4.3.0") {
			t.Errorf("%s: the log has %q", tt.to, &log)
		}
		if got.Code != tt.want || got.Status != tt.status {
			t.Errorf("%s (trusted %v): %v, want %d %s", tt.to, tt.trusted, got, tt.want, tt.status)
		}
	}
}

// What is submitted here never asks DNS (invariant 11).
func TestTrustedAsksNothing(t *testing.T) {
	zone := testenv.NewDNS(t)
	r := newRig(t)
	r.dns(zone.Addr())
	r.o.LocalByDNS = true
	router := NewRouter(r.o)
	for _, to := range []string{"a@far.example", "alice@us.example", "x@[192.0.2.7]"} {
		if got := router.Recipient(context.Background(), path(t, to), true); !got.IsZero() {
			t.Errorf("%s: %v", to, got)
		}
	}
	if asked := zone.Asked(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

// The private server of an ordinary user says why it has nobody else.
func TestOnlyReason(t *testing.T) {
	r := newRig(t)
	r.o.Accounts = local.Only(local.Account{Name: "alice"})
	got := NewRouter(r.o).Recipient(context.Background(), smtp.Path{Local: "bob"}, true)
	if got.Code != 550 || got.Text == "no such user here" || got.Text == "" {
		t.Errorf("%v, want the reason of the accounts", got)
	}
}

// Mail for a domain that is local by DNS is decided at delivery.
func TestLocalByDNSAtDelivery(t *testing.T) {
	zone := testenv.NewDNS(t, "ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 192.0.2.1")
	r := newRig(t)
	r.alias("team: alice, bob@ours.example, v@far.example\n")
	r.dns(zone.Addr())
	r.o.LocalByDNS = true
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mail("carol", "alice@ours.example", "team@ours.example", "no-one@ours.example", "alice")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
	r.wantBox("carol", 1)
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("%d messages at far.example", n)
	}
	for _, q := range []string{"MX ours.example", "MX far.example"} { // R15
		if n := zone.Count(q); n != 1 {
			t.Errorf("%s was asked %d times", q, n)
		}
	}
}

func TestHostKey(t *testing.T) {
	for _, tt := range []struct{ hosts, want string }{
		{"b.example a.example", "a.example,b.example:25"},
		{"A.example B.example", "a.example,b.example:25"},
	} {
		var a, b string
		fmt.Sscan(tt.hosts, &a, &b)
		if got := hostKey(targets(a, b)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.hosts, got, tt.want)
		}
	}
}
