package route

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/deliver/routes"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/watched"
)

// TestBestMXUnknown: that the best exchanger's address is not known now neither
// stands before a good second one nor hides that an equal one is us, and what
// may be ours is never sent back for good.
func TestBestMXUnknown(t *testing.T) {
	zone := testenv.NewDNS(t,
		"second.example. 60 IN MX 10 broken.example.", "second.example. 60 IN MX 20 far.example.", "far.example. 60 IN A 198.51.100.1",
		"equal.example. 60 IN MX 10 broken.example.", "equal.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99",
		"alone.example. 60 IN MX 10 broken.example.",
		"backup.example. 60 IN MX 10 broken.example.", "backup.example. 60 IN MX 20 gate.example.",
		"mended.example. 60 IN MX 10 late.example.", "late.example. 60 IN A 192.0.2.99",
	)
	zone.Script("A broken.example", testenv.Servfail)
	zone.Script("AAAA broken.example", testenv.Servfail)
	for range 20 { // equals come in random order
		s := newSite(t)
		s.dns(zone.Addr())
		s.o.LocalByDNS = true
		zone.Script("A late.example", testenv.Servfail, testenv.Proper)
		for domain, want := range map[string]string{
			"second.example": "[far.example]", "equal.example": "local",
			"alone.example": "deferred", "backup.example": "deferred", "mended.example": "deferred",
		} {
			if got := hopWord(New(s.o).NextHop(t.Context(), domain)); got != want {
				t.Fatalf("%s: %s, want %s", domain, got, want)
			}
		}
	}
}

// TestForwardAll: with a relay-host, what is for domains that DNS doesn't know goes
// there (S53), with local-by-dns too, which has asked; only with forward-all=no is it
// returned, and what DNS doesn't say now returns nothing.
func TestForwardAll(t *testing.T) {
	zone := testenv.NewDNS(t, "ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 198.51.100.1", "smart.example. 60 IN A 198.51.100.2")
	zone.Script("MX broken.example", testenv.Servfail)
	for _, tt := range []struct {
		byDNS, onlyKnown bool
		domain, want     string
	}{
		{true, false, "inner.private", "[smart.example]"},
		{true, false, "ours.example", "local"},
		{true, false, "broken.example", "[smart.example]"},
		{false, false, "inner.private", "[smart.example]"},
		{true, true, "inner.private", "550 5.1.2 domain inner.private does not exist"},
		{false, true, "inner.private", "550 5.1.2 domain inner.private does not exist"},
		{true, true, "far.example", "[smart.example]"},
		{false, true, "far.example", "[smart.example]"},
		{true, true, "broken.example", "[smart.example]"},
		{false, true, "broken.example", "[smart.example]"},
		{true, true, "[198.51.100.9]", "[smart.example]"},
		{true, true, "ours.example", "local"},
	} {
		s := newSite(t)
		s.dns(zone.Addr())
		s.o.LocalByDNS, s.o.OnlyKnown, s.o.RelayHost = tt.byDNS, tt.onlyKnown, "smart.example"
		r := New(s.o)
		if got := hopWord(r.NextHop(t.Context(), r.HopName(smtp.Path{}, tt.domain))); got != tt.want {
			t.Errorf("local-by-dns %v, forward-all %v: %s: %s, want %s", tt.byDNS, !tt.onlyKnown, tt.domain, got, tt.want)
		}
	}
}

// TestRoutes: a sender's line, then a domain's, then that of all, come before relay-host;
// local domains stay here unless one names them.
func TestRoutes(t *testing.T) {
	zone := testenv.NewDNS(t, "ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 198.51.100.1",
		"smart.example. 60 IN A 198.51.100.2", "mine.example. 60 IN A 198.51.100.3", "hub.example. 60 IN A 198.51.100.4", "rest.example. 60 IN A 198.51.100.5")
	const file = `from:me@x.example submissions://me@mine.example
far.example hub.example
also.example hub.example
ours.example hub.example
in.example local
us.example hub.example
gone.example error no more mail there
`
	for _, tt := range []struct {
		from, domain string
		byDNS, rest  bool // there is a line *
		want         string
	}{
		{"me@x.example", "far.example", true, true, "[mine.example]"},
		{"me@x.example", "any.example", false, false, "[mine.example]"},
		{"you@x.example", "far.example", true, true, "[hub.example]"},
		{"you@x.example", "any.example", true, true, "[rest.example]"},
		{"you@x.example", "any.example", true, false, "[smart.example]"},
		{"you@x.example", "any.example", false, false, "[smart.example]"},
		{"", "gone.example", false, false, "550 5.7.1 no more mail there"},
		{"me@x.example", "gone.example", false, false, "[mine.example]"}, // a sender's comes first
		{"you@x.example", "ours.example", true, true, "[hub.example]"},
	} {
		s := newSite(t)
		s.dns(zone.Addr())
		name := filepath.Join(t.TempDir(), "routes")
		text := file
		if tt.rest {
			text += "* rest.example\n"
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s.o.LocalByDNS, s.o.RelayHost, s.o.Routes = tt.byDNS, "smart.example", routes.New(name, slog.New(slog.DiscardHandler))
		r := New(s.o)
		if got := hopWord(r.NextHop(t.Context(), r.HopName(path(t, tt.from), tt.domain))); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
		for domain, want := range map[string]bool{"us.example": true, "localhost": true, "also.example": false, "in.example": true, "far.example": false, "ours.example": false} {
			if got, err := r.IsLocal(t.Context(), domain); err != nil || got != want {
				t.Errorf("%s is local: %v, %v", domain, got, err)
			}
		}
	}
	s := newSite(t)
	s.dns(zone.Addr())
	s.o.LocalByDNS = true
	name := filepath.Join(t.TempDir(), "routes")
	if err := os.WriteFile(name, []byte("from:me@x.example mine.example\n* rest.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.o.Routes = routes.New(name, slog.New(slog.DiscardHandler))
	r := New(s.o)
	for _, from := range []string{"me@x.example", "you@x.example"} { // what is local by DNS is not named
		if got := hopWord(r.NextHop(t.Context(), r.HopName(path(t, from), "ours.example"))); got != "local" {
			t.Errorf("from %s: %s", from, got)
		}
	}
}

// TestRoutesUnread: while a file of routes was never read nobody knows where mail goes, and
// it waits; when it can be read the next attempt goes where it says.
func TestRoutesUnread(t *testing.T) {
	name := filepath.Join(t.TempDir(), "routes")
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.o.RelayHost, s.o.Routes = "smart.example", routes.New(name, slog.New(slog.DiscardHandler))
		r := New(s.o)
		hop := func() NextHop {
			return r.NextHop(t.Context(), r.HopName(path(t, "me@x.example"), "far.example"))
		}
		if h := hop(); h.Failure == nil || h.Failure.Reply.Permanent() || !strings.Contains(h.Failure.Err.Error(), "option routes") {
			t.Errorf("without the file: %+v", h)
		}
		if err := os.WriteFile(name, []byte("far.example [192.0.2.1]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(watched.LookWait)
		if h := hop(); h.Failure != nil {
			t.Errorf("with the file: %+v", h.Failure)
		}
	})
}

// TestMXPool: with mxpool mail for a domain with this machine as one of the worse
// exchangers is taken from anybody, whoever the recipient is, and goes to a better
// one, never back here. It changes nothing for the best one, and a silent DNS is asked
// again later (B38).
func TestMXPool(t *testing.T) {
	zone := testenv.NewDNS(t,
		"pool.example. 60 IN MX 10 far.example.", "pool.example. 60 IN MX 20 gate.example.", "pool.example. 60 IN MX 30 third.example.",
		"gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 198.51.100.1", "third.example. 60 IN A 198.51.100.3",
		"ours.example. 60 IN MX 10 gate.example.", "ours.example. 60 IN MX 20 far.example.",
		"equal.example. 60 IN MX 10 gate.example.", "equal.example. 60 IN MX 10 far.example.",
		"loop.example. 60 IN MX 10 far.example.", "loop.example. 60 IN MX 20 self.example.", "self.example. 60 IN A 127.0.0.1",
		"half.example. 60 IN MX 10 far.example.", "half.example. 60 IN MX 20 broken.example.",
	)
	zone.Script("MX silent.example", testenv.Servfail)
	zone.Script("A broken.example", testenv.Servfail)
	zone.Script("AAAA broken.example", testenv.Servfail)
	for _, tt := range []struct {
		to          string
		pool, byDNS bool
		want        int    // the answer to a stranger; 0 takes it
		hop         string // where it goes, if it is taken and not local
	}{
		{"no-one@pool.example", false, true, 550, ""},
		{"no-one@pool.example", true, true, 0, "[far.example]"},
		{"no-one@pool.example", true, false, 0, "[far.example]"},
		{"alice@ours.example", true, true, 0, "local"},
		{"no-one@ours.example", true, true, 550, ""},
		{"alice@ours.example", true, false, 550, ""}, // this machine is the best and doesn't serve it
		{"no-one@equal.example", true, true, 550, ""},
		{"v@far.example", true, true, 550, ""},
		{"v@loop.example", true, true, 550, ""}, // anybody can publish a loopback address (A58)
		{"v@gone.example", true, true, 550, ""},
		{"v@[198.51.100.1]", true, true, 550, ""},
		{"v@silent.example", true, true, 451, ""},
		{"v@half.example", true, true, 451, ""},
		{"v@half.example", false, true, 550, ""},
	} {
		s := newSite(t)
		s.dns(zone.Addr())
		s.o.MXPool, s.o.LocalByDNS = tt.pool, tt.byDNS
		r := New(s.o)
		to := path(t, tt.to)
		if got, _ := r.Recipient(t.Context(), Question{To: to, Trusted: false}); got.Code != tt.want {
			t.Errorf("mxpool %v, local-by-dns %v: %s: %v, want %d", tt.pool, tt.byDNS, tt.to, got, tt.want)
		}
		if tt.hop == "" {
			continue
		}
		if got := hopWord(r.NextHop(t.Context(), r.HopName(smtp.Path{}, to.Domain))); got != tt.hop {
			t.Errorf("mxpool %v, local-by-dns %v: %s goes to %s, want %s", tt.pool, tt.byDNS, tt.to, got, tt.hop)
		}
	}
}

// TestExchanges: any exchanger counts, and loopback addresses never do (B40).
func TestExchanges(t *testing.T) {
	zone := testenv.NewDNS(t,
		"client.example. 60 IN MX 10 far.example.", "client.example. 60 IN MX 20 gate.example.", "gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 198.51.100.1",
		"loop.example. 60 IN MX 10 self.example.", "self.example. 60 IN A 127.0.0.1", "null.example. 60 IN MX 0 .",
	)
	zone.Script("MX silent.example", testenv.Servfail)
	s := newSite(t)
	s.dns(zone.Addr())
	for name, want := range map[string]bool{"client.example": true, "gate.example": true, "far.example": false, "loop.example": false, "null.example": false, "gone.example": false} {
		if got, err := New(s.o).Exchanges(t.Context(), name); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if got, err := New(s.o).Exchanges(t.Context(), "silent.example"); got || err == nil {
		t.Errorf("silent: %v, %v, want an error", got, err)
	}
}

func hopWord(h NextHop) string {
	switch {
	case h.Local:
		return "local"
	case h.Failure != nil && h.Failure.Action == outcome.Deferred:
		return "deferred"
	case h.Failure != nil:
		return fmt.Sprint(h.Failure.Reply)
	}
	var hosts []string
	for _, t := range h.Targets {
		hosts = append(hosts, t.Host)
	}
	return fmt.Sprint(hosts)
}
