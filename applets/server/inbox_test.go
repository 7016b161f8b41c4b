package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/applets/config"
	"postoffice/applets/policy"
	"postoffice/applets/smtpd"
	"postoffice/deliver"
	"postoffice/deliver/route"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/resolver"
	"postoffice/spool"
	"postoffice/spool/envelope"
	"postoffice/spool/shares"
)

// TestInboxTells: who must know is told of a message that is durable.
func TestInboxTells(t *testing.T) {
	q, err := spool.Open(spool.Options{Dir: filepath.Join(t.TempDir(), "q"), UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var told []spool.ID
	b := inbox{queue: q, shares: shares.New(&shares.Who{}), log: slog.New(slog.DiscardHandler), arrived: func(id spool.ID, tx *smtpd.Transaction) {
		if told = append(told, id); len(tx.Recipients) != 1 {
			t.Errorf("told of %+v", tx)
		}
	}}
	id, err := b.NewID()
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Begin(t.Context(), &smtpd.Transaction{
		ID: id, Client: &smtpd.Client{}, Arrived: time.Now(), Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x\n")); err != nil || len(told) != 0 {
		t.Fatalf("%v, told of %v", err, told)
	}
	if err := in.Commit(t.Context()); err != nil || len(told) != 0 || in.ID() != id {
		t.Errorf("%v, told of %v before the log has it", err, told)
	}
	if in.Release(); len(told) != 1 || string(told[0]) != id {
		t.Errorf("told of %v, want %s", told, id)
	}
}

// TestInboxRecordsOwner: the envelope of what came by TCP from this machine says for which
// user it counts, also after a restart, and for nobody's view.
func TestInboxRecordsOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "q")
	q, err := spool.Open(spool.Options{Dir: dir, UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	who := &shares.Who{Here: func(netip.Addr) bool { return true }}
	b := inbox{queue: q, shares: shares.New(who), log: slog.New(slog.DiscardHandler), arrived: func(spool.ID, *smtpd.Transaction) {}}
	id, err := b.NewID()
	if err != nil {
		t.Fatal(err)
	}
	uid := 1000
	client := &smtpd.Client{Addr: netip.MustParseAddrPort("127.0.0.1:4000"), UID: -1, Local: true, Owner: &uid}
	in, err := b.Begin(t.Context(), &smtpd.Transaction{ID: id, Client: client, Arrived: time.Now(), Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "queue", id))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := envelope.ClientOf(f)
	if err != nil || got != "unknown[127.0.0.1]:4000 uid 1000" || who.Holder(got) != who.Places.Holder(uid) {
		t.Errorf("%q, %v counts for %+v", got, err, who.Holder(got))
	}
	if (route.Viewer{UID: uid}).Submitted(got) {
		t.Error("whoever made a socket sees the mail of whoever uses it")
	}
}

// TestInboxHolds: what root is said to have left in maildrop/ waits for somebody
// to look at it, and the runner hears nothing of it; root's own session is root's.
func TestInboxHolds(t *testing.T) {
	q, err := spool.Open(spool.Options{Dir: filepath.Join(t.TempDir(), "q"), UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, tt := range []struct {
		client smtpd.Client
		held   bool
	}{
		{smtpd.Client{Absent: true, UID: 0}, true},
		{smtpd.Client{Absent: true, UID: 1001}, false},
		{smtpd.Client{UID: 0}, false},
		{smtpd.Client{UID: -1}, false},
	} {
		var arrived int
		var log bytes.Buffer
		b := inbox{queue: q, shares: shares.New(&shares.Who{}), log: slog.New(slog.NewTextHandler(&log, nil)), arrived: func(spool.ID, *smtpd.Transaction) { arrived++ }}
		id, err := b.NewID()
		if err != nil {
			t.Fatal(err)
		}
		in, err := b.Begin(t.Context(), &smtpd.Transaction{
			ID: id, Client: &tt.client, Arrived: time.Now(), Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		in.Release()
		s, err := q.Read(spool.ID(id))
		if err != nil || (s.Location == spool.Held) != tt.held || (arrived == 0) != tt.held || strings.Contains(log.String(), `msg="message held"`) != tt.held {
			t.Errorf("%+v: %+v, %v; %d arrived\n%s", tt.client, s, err, arrived, &log)
		}
		if tt.held && s.Reason != disowned {
			t.Errorf("held for %q", s.Reason)
		}
	}
}

// shipped is the policy as it is without options.
func shipped(runner *deliver.Runner, unsure func() bool) *policy.Policy {
	s := &system{runner: runner}
	return policy.New(policy.Options{Log: slog.New(slog.DiscardHandler), Recipient: s.recipient, Unsure: unsure}, nil)
}

// TestLocalNeverLater: what can't be known of a recipient now is no reason to
// refuse mail of this machine, whose programs don't come again (R67).
func TestLocalNeverLater(t *testing.T) {
	text := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(text, []byte("spam: :blackhole:\nteam: joe\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	joe := account.Only(account.Account{Name: "joe", UID: 1000, GID: 1000, Home: "/"})
	runner := deliver.NewRunner(deliver.Options{Options: route.Options{Hostname: "us.example", Aliases: alias.Open(text), Accounts: joe}})
	p := shipped(runner, nil)
	program, loopback, stranger := &smtpd.Client{Kind: smtpd.Local, Local: true, Trusted: true}, &smtpd.Client{Local: true, Trusted: true}, &smtpd.Client{}
	for _, tt := range []struct {
		client *smtpd.Client
		to     string
		code   int
	}{
		{program, "spam", 0},
		{loopback, "spam", 0},
		{stranger, "spam", 451},
		{&smtpd.Client{Trusted: true}, "spam", 451}, // another machine, which tries again
		{program, "team", 0},
		{program, "nobody-here", 550},
		{loopback, "nobody-here", 550},
	} {
		if r := p.Session(tt.client).Rcpt(t.Context(), &smtpd.Transaction{}, smtp.Path{Local: tt.to, Domain: "us.example"}).Reply; r.Code != tt.code {
			t.Errorf("%s for %+v: %v, want %d", tt.to, tt.client, r, tt.code)
		}
	}
}

// TestInboxParts: a message for more recipients than one file should have becomes
// several, together, with each recipient once and in order.
func TestInboxParts(t *testing.T) {
	q, err := spool.Open(spool.Options{Dir: filepath.Join(t.TempDir(), "q"), UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var rcpts []smtp.Recipient
	for i := range 2*maxPortion + 1 {
		rcpts = append(rcpts, smtp.Recipient{Path: smtp.Path{Local: fmt.Sprint("u", i), Domain: "x.example"}})
	}
	rcpts[7].Params = []smtp.Param{{Name: "ORCPT", Value: strings.Repeat("x", maxPortionOctets)}} // ends the first part
	var told []spool.ID
	b := inbox{queue: q, shares: shares.New(&shares.Who{}), log: slog.New(slog.DiscardHandler), arrived: func(id spool.ID, _ *smtpd.Transaction) { told = append(told, id) }}
	var sizes []int
	for some := range portions(rcpts) {
		sizes = append(sizes, len(some))
	}
	if want := []int{8, maxPortion, maxPortion - 7}; !slices.Equal(sizes, want) {
		t.Errorf("parts of %d, want %d", sizes, want)
	}
	rcpts[7].Params = nil
	id, err := b.NewID()
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Begin(t.Context(), &smtpd.Transaction{ID: id, Client: &smtpd.Client{}, Arrived: time.Now(), Recipients: rcpts})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "Subject: x\n\nx\n"); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(t.Context()); err != nil || len(told) != 0 {
		t.Fatalf("%v, told of %v", err, told)
	}
	in.Release()
	if len(told) != 3 || string(told[0]) != id {
		t.Fatalf("told of %v", told)
	}
	i := 0
	for _, id := range told {
		s, err := q.Read(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Recipients {
			if r.Path != rcpts[i].Path {
				t.Fatalf("recipient %d is %v, want %v", i, r.Path, rcpts[i].Path)
			}
			i++
		}
	}
	if i != len(rcpts) {
		t.Errorf("%d recipients, want %d", i, len(rcpts))
	}
}

// TestTrustedUnknown: as long as DNS doesn't say who a trusted client is nobody is
// refused for good who may be one; what it says later counts.
func TestTrustedUnknown(t *testing.T) {
	printer := netip.MustParseAddr("192.0.2.7")
	err := fmt.Errorf("asked: %w", resolver.ErrTemporary)
	lookup := func(_ context.Context, name string) ([]netip.Addr, error) {
		if name == "gone.example" {
			return nil, resolver.ErrNotFound
		}
		return []netip.Addr{printer}[:map[bool]int{true: 1}[err == nil]], err
	}
	var log strings.Builder
	c := newClients(t.Context(), []string{"printer.example", "gone.example", "198.51.100.0/24"}, netip.Addr.IsLoopback, lookup, slog.New(slog.NewTextHandler(&log, nil)))
	runner := deliver.NewRunner(deliver.Options{Options: route.Options{Hostname: "us.example", Resolver: resolver.New(resolver.Options{Servers: []string{"127.0.0.1:1"}})}})
	p := shipped(runner, c.unsure)
	far := smtp.Path{Local: "bob", Domain: "[203.0.113.1]"}
	check := func(code int) {
		t.Helper()
		client := &smtpd.Client{}
		client.Local, client.Trusted = c.of(printer)
		if r := p.Session(client).Rcpt(t.Context(), &smtpd.Transaction{}, far).Reply; r.Code != code {
			t.Errorf("%v, want %d\n%s", r, code, &log)
		}
	}
	check(451)
	c.again(t.Context())
	check(451)
	err = nil
	c.again(t.Context())
	check(0)
	if printer = netip.MustParseAddr("192.0.2.8"); c.unsure() || !strings.Contains(log.String(), "trusted client known") {
		t.Errorf("unsure %v; log:\n%s", c.unsure(), &log)
	}
	check(550)
}

// TestTrustedNames: names of option trusted, in letters of any size, are their
// addresses of either family, and addresses and networks are read in each form.
func TestTrustedNames(t *testing.T) {
	zone := testenv.NewDNS(t, "printer.example. 60 IN A 192.0.2.8", "printer.example. 60 IN AAAA 2001:db8::8")
	conf, err := config.Load(config.Options{File: "/dev/null", Sets: []string{"trusted=PRINTER.Example.,[198.51.100.1],203.0.113.77/24", "trusted=[IPv6:2001:db8:1::1]"}})
	if err != nil {
		t.Fatal(err)
	}
	names := resolver.New(resolver.Options{Servers: []string{zone.Addr()}, HostsFile: "/dev/null"})
	c := newClients(t.Context(), conf.Trusted, netip.Addr.IsLoopback, names.HostAddrs, slog.New(slog.DiscardHandler))
	for addr, want := range map[string]bool{
		"192.0.2.8": true, "::ffff:192.0.2.8": true, "2001:db8::8": true, "198.51.100.1": true, "203.0.113.1": true, "2001:db8:1::1": true,
		"192.0.2.9": false, "198.51.100.2": false, "2001:db8::9": false,
	} {
		if _, got := c.of(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: trusted %v, want %v", addr, got, want)
		}
	}
}
