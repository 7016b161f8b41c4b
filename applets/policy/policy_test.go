package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
	"postoffice/internal/watched"
)

// errSilent is what a look-up says while DNS doesn't.
var errSilent = errors.New("no answer")

// world is what a policy asks, for tests: us.example is ours, and so is 192.0.2.25.
func world(o Options) Options {
	o.Log = slog.New(slog.DiscardHandler)
	o.Ours = func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.25") || a.IsLoopback() }
	o.OurName = func(name string) bool { return name == "Alone.example" }
	o.Addrs = func(_ context.Context, name string) ([]netip.Addr, error) {
		switch name {
		case "us.example":
			return []netip.Addr{netip.MustParseAddr("192.0.2.25")}, nil
		case "loop.example":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case "slow.example":
			return nil, errSilent
		}
		return []netip.Addr{netip.MustParseAddr("198.51.100.1")}, nil
	}
	o.Domain = func(_ context.Context, domain string) (Place, error) {
		switch domain {
		case "us.example":
			return Here, nil
		case "virtual.example":
			return Virtual, nil
		case "none.example":
			return Nowhere, nil
		case "slow.example":
			return Elsewhere, errSilent
		}
		return Elsewhere, nil
	}
	o.Recipient = func(_ context.Context, q Question) (smtp.Reply, error) {
		if q.To.Domain == "virtual.example" {
			if q.Octets >= 0 {
				return smtp.Reply{Code: 452, Status: "4.2.2", Text: "a sender's mailbox may be full"}, nil
			}
			return testRecipient(context.Background(), Question{To: q.To, Trusted: true})
		}
		return smtp.Reply{}, nil
	}
	return o
}

func stranger() *smtpd.Client {
	return &smtpd.Client{Addr: netip.MustParseAddrPort("198.51.100.7:4000"), Name: "mx.far.example", Naming: smtpd.Named, Server: netip.MustParseAddrPort("192.0.2.25:25"), UID: -1}
}

// with returns a stranger that is changed.
func with(change func(*smtpd.Client)) *smtpd.Client {
	c := stranger()
	change(c)
	return c
}

// TestChecks has each check refuse what it is for, when its option is on, with
// its reply, and nothing else.
func TestChecks(t *testing.T) {
	nameless := with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Unnamed })
	forged := with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Forged })
	unknown := with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Uncertain })
	trusted := with(func(c *smtpd.Client) { c.Naming, c.Hello, c.Trusted = smtpd.Unnamed, "us.example", true })
	hello := func(name string) *smtpd.Client { return with(func(c *smtpd.Client) { c.Hello = name }) }
	connect := func(c smtpd.Checker) smtpd.Verdict { return c.Connect(t.Context()) }
	helo := func(c smtpd.Checker) smtpd.Verdict { return c.Helo(t.Context()) }
	mail := func(from string) func(smtpd.Checker) smtpd.Verdict {
		return func(c smtpd.Checker) smtpd.Verdict {
			path, _, err := smtp.ParsePath("<" + from + ">")
			if err != nil {
				t.Fatal(err)
			}
			return c.Mail(t.Context(), &smtpd.Transaction{ReversePath: path})
		}
	}
	null := func(c smtpd.Checker) smtpd.Verdict { return c.Data(t.Context(), &smtpd.Transaction{}) }
	for _, tt := range []struct {
		name   string
		o      Options
		client *smtpd.Client
		ask    func(smtpd.Checker) smtpd.Verdict
		want   string // the code and the status; "" accepts
	}{
		{"paranoid", Options{Paranoid: true}, nameless, connect, "421 4.7.25"},
		{"paranoid, forged", Options{Paranoid: true}, forged, connect, "421 4.7.25"},
		{"paranoid, DNS says nothing", Options{Paranoid: true}, unknown, connect, ""},
		{"paranoid, named", Options{Paranoid: true}, stranger(), connect, ""},
		{"paranoid, trusted", Options{Paranoid: true}, trusted, connect, ""},
		{"not paranoid", Options{}, nameless, connect, ""},
		{"dnscheck, forged", Options{DNSCheck: true}, forged, connect, "421 4.7.25"},
		{"dnscheck, no name", Options{DNSCheck: true}, nameless, connect, ""},
		{"dnscheck, DNS says nothing", Options{DNSCheck: true}, unknown, connect, ""},
		{"dnscheck, named", Options{DNSCheck: true}, stranger(), connect, ""},
		{"dnscheck, trusted", Options{DNSCheck: true}, with(func(c *smtpd.Client) { c.Naming, c.Trusted = smtpd.Forged, true }), connect, ""},
		{"dnscheck, taken", Options{DNSCheck: true, Forbidden: Forbidden{Take: true}}, forged, connect, ""},
		{"no dnscheck", Options{}, forged, connect, ""},
		{"paranoid, taken", Options{Paranoid: true, Forbidden: Forbidden{Take: true}}, nameless, connect, ""},
		{"checkhelo", Options{CheckHelo: true}, hello("us.example"), helo, "550 5.7.1"},
		{"checkhelo, literal", Options{CheckHelo: true}, hello("[192.0.2.25]"), helo, "550 5.7.1"},
		{"checkhelo, a bare address", Options{CheckHelo: true}, hello("192.0.2.25"), helo, "550 5.7.1"},
		{"checkhelo, mapped", Options{CheckHelo: true}, hello("::ffff:192.0.2.25"), helo, "550 5.7.1"},
		{"checkhelo, more words", Options{CheckHelo: true}, hello("us.example. I am"), helo, "550 5.7.1"},
		{"checkhelo, a name that DNS doesn't have", Options{CheckHelo: true}, hello("Alone.example."), helo, "550 5.7.1"},
		{"checkhelo, a loopback address", Options{CheckHelo: true}, hello("[127.0.0.1]"), helo, "550 5.7.1"},
		{"checkhelo, a name that leads to a loopback address", Options{CheckHelo: true}, hello("loop.example"), helo, ""},
		{"checkhelo, soft", Options{CheckHelo: true, SoftDeny: true}, hello("us.example"), helo, "450 4.7.1"},
		{"checkhelo, another", Options{CheckHelo: true}, hello("mx.far.example"), helo, ""},
		{"checkhelo, DNS says nothing", Options{CheckHelo: true}, hello("slow.example"), helo, ""},
		{"checkhelo, trusted", Options{CheckHelo: true}, trusted, helo, ""},
		{"submission", Options{}, with(func(c *smtpd.Client) { c.Kind = smtpd.Submission }), mail("a@far.example"), "530 5.7.0"},
		{"submission, TLS first", Options{}, with(func(c *smtpd.Client) { c.Kind = smtpd.SubmissionTLS }), mail("a@far.example"), "530 5.7.0"},
		{"submission, soft", Options{SoftDeny: true}, with(func(c *smtpd.Client) { c.Kind = smtpd.Submission }), mail("a@far.example"), "450 4.7.0"},
		{"submission, trusted", Options{}, with(func(c *smtpd.Client) { c.Kind, c.Trusted = smtpd.Submission, true }), mail("a@far.example"), ""},
		{"submission, this machine", Options{}, with(func(c *smtpd.Client) { c.Kind, c.Local = smtpd.SubmissionTLS, true }), mail("a@far.example"), ""},
		{"submission, DNS doesn't say who is trusted", Options{Unsure: func() bool { return true }}, with(func(c *smtpd.Client) { c.Kind = smtpd.Submission }), mail("a@far.example"), "451 4.4.3"},
		{"no checkhelo", Options{}, hello("us.example"), helo, ""},
		{"nodaemon at MAIL", Options{NoDaemon: true}, stranger(), mail(""), ""},
		{"nodaemon at DATA", Options{NoDaemon: true}, stranger(), null, "550 5.7.1"},
		{"nodaemon, trusted", Options{NoDaemon: true}, trusted, null, "550 5.7.1"},
		{"nodaemon, a program", Options{NoDaemon: true}, &smtpd.Client{Kind: smtpd.Local, Local: true, Trusted: true}, null, ""},
		{"no nodaemon", Options{}, stranger(), null, ""},
		{"verify-from, ours", Options{VerifyFrom: true}, stranger(), mail("bob@us.example"), "550 5.7.1"},
		{"verify-from, R19", Options{VerifyFrom: true}, stranger(), mail("bob@virtual.example"), ""},
		{"verify-from, nobody in a virtual domain", Options{VerifyFrom: true}, stranger(), mail("nobody@virtual.example"), "550 5.1.8"},
		{"verify-from, a virtual domain that can't be read", Options{VerifyFrom: true}, stranger(), mail("later@virtual.example"), "451 4.1.8"},
		{"verify-from, bare", Options{VerifyFrom: true}, stranger(), mail("bob"), "550 5.1.7"},
		{"verify-from, bare, trusted", Options{VerifyFrom: true}, trusted, mail("bob"), ""},
		{"verify-from, ours, soft", Options{VerifyFrom: true, SoftDeny: true}, stranger(), mail("bob@us.example"), "450 4.7.1"},
		{"verify-from, none", Options{VerifyFrom: true}, stranger(), mail("bob@none.example"), "550 5.1.8"},
		{"verify-from, DNS says nothing", Options{VerifyFrom: true}, stranger(), mail("bob@slow.example"), "451 4.1.8"},
		{"verify-from, null sender", Options{VerifyFrom: true}, stranger(), mail(""), ""},
		{"verify-from, another", Options{VerifyFrom: true}, stranger(), mail("bob@far.example"), ""},
		{"verify-from, trusted", Options{VerifyFrom: true}, trusted, mail("bob@us.example"), ""},
		{"no verify-from", Options{}, stranger(), mail("bob@none.example"), ""},
	} {
		v := tt.ask(New(world(tt.o), nil).Session(tt.client))
		got := ""
		if !v.Accepted() {
			got = fmt.Sprint(v.Reply.Code, " ", v.Reply.Status)
		}
		if got != tt.want {
			t.Errorf("%s: %q (%s), want %q", tt.name, got, v.Reply.Text, tt.want)
		}
		tt.o.SoftDeny = true // whatever the check: 5yz becomes 4yz of the same kind, and what was accepted still is
		soft := tt.ask(New(world(tt.o), nil).Session(tt.client))
		switch {
		case v.Accepted() != soft.Accepted(), !soft.Accepted() && !soft.Reply.Temporary():
			t.Errorf("%s, with soft-deny: %v, without %v", tt.name, soft.Reply, v.Reply)
		case !soft.Accepted() && (soft.Reply.Status[0] != '4' || soft.Reply.Status[1:] != v.Reply.Status[1:] || soft.Reply.Text != v.Reply.Text):
			t.Errorf("%s, with soft-deny: %v, without %v", tt.name, soft.Reply, v.Reply)
		}
	}
}

// TestSoftChecks: option soft-deny holds for each check that an option turns on and
// that refuses.
func TestSoftChecks(t *testing.T) {
	for _, c := range checks {
		if c.option != "" && c.option != "localmx" && !c.soft {
			t.Errorf("%s (option %s) refuses for good with soft-deny", c.name, c.option)
		}
	}
}

// TestLocalMX: a client whose verified name has this machine as an exchanger may relay
// (B40), nobody else; while DNS doesn't say it, a refusal is a temporary one (B38),
// and no client waits longer than it may for its greeting.
func TestLocalMX(t *testing.T) {
	named := func(naming smtpd.Naming) *smtpd.Client {
		return with(func(c *smtpd.Client) { c.Naming, c.AskBy = naming, time.Now().Add(5*time.Second) })
	}
	for _, tt := range []struct {
		name   string
		on     bool
		client func() *smtpd.Client
		mx     func(ctx context.Context) (bool, error)
		trust  bool
		relay  int // the answer to a recipient elsewhere; 0 takes it
	}{
		{"ours", true, func() *smtpd.Client { return named(smtpd.Named) }, func(context.Context) (bool, error) { return true, nil }, true, 0},
		{"off", false, func() *smtpd.Client { return named(smtpd.Named) }, func(context.Context) (bool, error) { return true, nil }, false, 550},
		{"not ours", true, func() *smtpd.Client { return named(smtpd.Named) }, func(context.Context) (bool, error) { return false, nil }, false, 550},
		{"forged", true, func() *smtpd.Client { return named(smtpd.Forged) }, func(context.Context) (bool, error) { return true, nil }, false, 550},
		{"no name", true, func() *smtpd.Client { return named(smtpd.Unnamed) }, func(context.Context) (bool, error) { return true, nil }, false, 550},
		{"name unknown now", true, func() *smtpd.Client { return named(smtpd.Uncertain) }, func(context.Context) (bool, error) { return true, nil }, false, 451},
		{"MX unknown now", true, func() *smtpd.Client { return named(smtpd.Named) }, func(context.Context) (bool, error) { return false, errSilent }, false, 451},
		{"silent DNS", true, func() *smtpd.Client { return named(smtpd.Named) }, func(ctx context.Context) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}, false, 451},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := tt.client()
			o := world(Options{LocalMX: tt.on})
			o.Exchanges = func(ctx context.Context, name string) (bool, error) {
				if name != client.Name {
					t.Errorf("%s: asked for %q", tt.name, name)
				}
				return tt.mx(ctx)
			}
			o.Recipient = func(_ context.Context, q Question) (smtp.Reply, error) {
				if q.Trusted {
					return smtp.Reply{}, nil
				}
				return smtp.Reply{Code: 550, Status: notRelayed}, nil
			}
			s := New(o, nil).Session(client)
			start := time.Now()
			v := s.Connect(t.Context())
			if took := time.Since(start); !v.Accepted() || (v.Trust != "") != tt.trust || took > 5*time.Second {
				t.Errorf("%s: %+v after %v", tt.name, v, took)
			}
			client.Trusted = v.Trust != ""
			if r := s.Rcpt(t.Context(), &smtpd.Transaction{}, smtp.Path{Local: "x", Domain: "far.example"}).Reply; r.Code != tt.relay {
				t.Errorf("%s: a recipient elsewhere: %v, want %d", tt.name, r, tt.relay)
			}
		})
	}
}

// TestMarkedIsNotTrusted: whoever is denied and taken all the same gains nothing by
// localmx.
func TestMarkedIsNotTrusted(t *testing.T) {
	deny := filepath.Join(t.TempDir(), "deny")
	if err := os.WriteFile(deny, []byte("ALL: ALL\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, take := range []bool{false, true} {
		o := world(Options{HostsDeny: deny, Forbidden: Forbidden{Take: take}, LocalMX: true, DNSCheck: true})
		o.Exchanges = func(context.Context, string) (bool, error) { return true, nil }
		if v := New(o, nil).Session(stranger()).Connect(t.Context()); v.Trust != "" || v.Accepted() != take || take && v.Mark.Reason == "" {
			t.Errorf("taken %v: %+v", take, v)
		}
	}
}

// TestNoRelay: with option relay off, who speaks through sendmail -bs sends to this
// machine alone, and hears it at RCPT whatever DNS says.
func TestNoRelay(t *testing.T) {
	for _, tt := range []struct {
		noRelay bool
		reply   smtp.Reply // of the router to a stranger
		want    int
	}{
		{false, smtp.Reply{Code: 550, Status: notRelayed}, 0},
		{false, smtp.Reply{Code: 451, Status: "4.4.3"}, 0},
		{true, smtp.Reply{Code: 550, Status: notRelayed}, 550},
		{true, smtp.Reply{Code: 451, Status: "4.4.3"}, 451},
		{true, smtp.Reply{}, 0},
	} {
		o := world(Options{})
		o.Unsure = func() bool { return true }
		o.Recipient = func(_ context.Context, q Question) (smtp.Reply, error) {
			if q.Trusted {
				return smtp.Reply{}, nil
			}
			return tt.reply, nil
		}
		c := &smtpd.Client{Kind: smtpd.Local, Local: true, Trusted: true, NoRelay: tt.noRelay}
		if r := New(o, nil).Session(c).Rcpt(t.Context(), &smtpd.Transaction{}, smtp.Path{Local: "x", Domain: "far.example"}).Reply; r.Code != tt.want {
			t.Errorf("given up: %v, the router says %v: %v, want %d", tt.noRelay, tt.reply, r, tt.want)
		}
	}
}

// TestBanner: the file's lines are shown as they are now, bounded, in printable ASCII,
// and one that can't be read shows what it said before.
func TestBanner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "issue.smtp")
	synctest.Test(t, func(t *testing.T) {
		p := New(world(Options{Banner: file}), nil)
		ask := func() []string {
			time.Sleep(watched.LookWait) // no time passes outside
			return p.Banner()
		}
		if got := ask(); len(got) > 0 {
			t.Errorf("without a file: %q", got)
		}
		for _, tt := range []struct {
			text string
			want []string
		}{
			{"no spam\n", []string{"no spam"}},
			{"no\tspam \r\n\nfür uns\x00\x1b[1m\r250 ok\n\n\n", []string{"no spam", "", "f??r uns??[1m?250 ok"}},
			{strings.Repeat("x", 1000), []string{strings.Repeat("x", maxBannerLine)}},
			{strings.Repeat("a\n", 1000), slices.Repeat([]string{"a"}, maxBanner)},
			{strings.Repeat("b", maxBannerFile+1), slices.Repeat([]string{"a"}, maxBanner)}, // too long: as before
			{"", nil},
		} {
			if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := ask(); !slices.Equal(got, tt.want) {
				t.Errorf("%.40q: %q, want %q", tt.text, got, tt.want)
			}
			p = New(world(Options{Banner: file}), p) // a reload
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if got := ask(); len(got) > 0 {
			t.Errorf("the file is gone: %q", got)
		}
		p = New(world(Options{}), p)
		if got := ask(); len(got) > 0 {
			t.Errorf("no file: %q", got)
		}
	})
}

// TestShown: DEBUG shows the transaction as it was given, and expands nothing (B93).
func TestShown(t *testing.T) {
	c := stranger()
	c.Trusted = true
	tx := &smtpd.Transaction{ReversePath: smtp.Path{Local: "amy", Domain: "far.example"}, Mark: smtpd.Mark{Reason: "x"}}
	for range maxShown + 5 {
		tx.Recipients = append(tx.Recipients, smtp.Recipient{Path: smtp.Path{Local: "bob", Domain: "us.example"}})
	}
	ours := func(domain string) bool { return domain == "us.example" }
	got := Shown(c, tx, ours)
	want := []string{"from: <amy@far.example> user: amy domain: far.example local: NIL"}
	want = append(want, slices.Repeat([]string{"to: <bob@us.example> DENY local"}, maxShown)...)
	want = append(want, "to: 5 others", "Relay-ok: T")
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Shown(&smtpd.Client{Local: true, NoRelay: true}, nil, ours); !slices.Equal(got, []string{"Peer flag: T", "Relay-ok: NIL"}) {
		t.Errorf("without a transaction: %q", got)
	}
}

// BenchmarkSession: all checks of one session, from the connection to the end of a
// message, with each option on, 10,000 lines of hosts.deny, and DNS that answers at
// once.
func BenchmarkSession(b *testing.B) {
	deny := filepath.Join(b.TempDir(), "deny")
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "smtpd: 10.%d.%d.0/24\nsmtpd: .spam%d.example\n", i/256, i%256, i)
	}
	if err := os.WriteFile(deny, []byte(text.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	o := world(Options{HostsDeny: deny, HostsAllow: deny + "-none", Paranoid: true, DNSCheck: true, LocalMX: true, CheckHelo: true, VerifyFrom: true, NoDaemon: true})
	o.Exchanges = func(context.Context, string) (bool, error) { return false, nil }
	p := New(o, nil)
	tx := &smtpd.Transaction{ReversePath: smtp.Path{Local: "amy", Domain: "far.example"}}
	ctx := b.Context()
	for b.Loop() {
		c := stranger()
		c.Hello, c.AskBy = "mx.far.example", time.Now().Add(5*time.Second)
		s := p.Session(c)
		accepted := s.Connect(ctx).Accepted() && s.Helo(ctx).Accepted() && s.Mail(ctx, tx).Accepted() &&
			s.Rcpt(ctx, tx, smtp.Path{Local: "bob", Domain: "us.example"}).Accepted() && s.Data(ctx, tx).Accepted() && s.Message(ctx, tx, smtpd.Message{}).Accepted()
		if !accepted {
			b.Fatal("refused")
		}
		s.Close()
	}
}

// TestScan: what av finds bad is refused, or marked, as option spam says; what it can't tell
// is asked to come again (R28). Who has logged in is left out with safe, and this machine's
// programs always, whose mail is looked at in the queue.
func TestScan(t *testing.T) {
	bad := func(context.Context, *smtpd.Client, string, io.Reader) (bool, string, error) {
		return true, "Eicar", nil
	}
	away := func(context.Context, *smtpd.Client, string, io.Reader) (bool, string, error) {
		return false, "", errors.New("it is away")
	}
	network := smtpd.Client{Kind: smtpd.Relay}
	user := smtpd.Client{Kind: smtpd.Submission, Account: "joe"}
	for _, tt := range []struct {
		name   string
		o      Options
		client smtpd.Client
		code   int
		text   string
		mark   smtpd.Mark
	}{
		{"clean", Options{Scan: func(_ context.Context, _ *smtpd.Client, _ string, r io.Reader) (bool, string, error) {
			b, err := io.ReadAll(r)
			return string(b) != "text", "another message", err
		}}, network, 0, "", smtpd.Mark{}},
		{"bad", Options{Scan: bad}, network, 550, "virus", smtpd.Mark{}},
		{"bad, in the administrator's words", Options{Scan: bad, Spam: Forbidden{Why: "keep it"}}, network, 550, "keep it", smtpd.Mark{}},
		{"bad, and refused for now", Options{Scan: bad, SoftDeny: true}, network, 450, "virus", smtpd.Mark{}},
		{"bad, and taken", Options{Scan: bad, Spam: Forbidden{Take: true}}, network, 0, "", smtpd.Mark{Reason: "Eicar"}},
		{"bad, and put away", Options{Scan: bad, Spam: Forbidden{Take: true, Folder: "junk"}}, network, 0, "", smtpd.Mark{Reason: "Eicar", Folder: "junk"}},
		{"away", Options{Scan: away}, network, 451, "send it again", smtpd.Mark{}},
		{"logged in", Options{Scan: bad}, user, 550, "virus", smtpd.Mark{}},
		{"logged in, with safe", Options{Scan: bad, Safe: true}, user, 0, "", smtpd.Mark{}},
		{"a stranger, with safe", Options{Scan: bad, Safe: true}, network, 550, "virus", smtpd.Mark{}},
		{"a program", Options{Scan: bad}, smtpd.Client{Kind: smtpd.Local, Local: true}, 0, "", smtpd.Mark{}},
	} {
		tt.o.Log = slog.New(slog.DiscardHandler)
		c := New(tt.o, nil).Session(&tt.client)
		v := c.Message(t.Context(), &smtpd.Transaction{Client: &tt.client}, smtpd.Message{ReaderAt: strings.NewReader("text"), Size: 4})
		if v.Reply.Code != tt.code || !strings.Contains(v.Reply.Text, tt.text) || v.Mark != tt.mark {
			t.Errorf("%s: %+v", tt.name, v)
		}
		c.Close()
	}
}
