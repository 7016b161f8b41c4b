package policy

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/login"
)

// greyServer is a server with a greylist, and what it logs.
type greyServer struct {
	*smtpd.Server
	keeper  *greykeeper.Keeper
	records *greylist.Memory
	log     lines
	end     func()
}

func newGreyServer(t *testing.T, mode greykeeper.Mode, change func(*greykeeper.Options)) *greyServer {
	g := &greyServer{records: new(greylist.Memory)}
	var log *slog.Logger
	log, g.end = logTo(t, &g.log)
	options := greykeeper.Options{Mode: mode, Rules: greylist.Rules{Delay: time.Hour}, Age: 14 * 24 * time.Hour}
	if change != nil {
		change(&options)
	}
	g.keeper = greykeeper.New(greykeeper.Stores{Records: g.records, Clients: new(greylist.Memory), Written: new(greylist.Memory), Hours: new(greylist.Memory)}, options, log)
	o := world(Options{VerifyFrom: true, NoDaemon: false, Audit: true})
	o.Log, o.Recipient, o.Greylist = log, testRecipient, g.keeper
	g.Server = smtpd.New(smtpd.Options{Hostname: "us.example", Checker: New(o, nil).Session, Queue: taking{}, Log: log, HardErrors: -1,
		ClientName: func(_ context.Context, a netip.Addr) (string, smtpd.Naming) {
			if a == netip.MustParseAddr("198.51.100.66") {
				return "", smtpd.Unnamed
			}
			return "mx.far.example", smtpd.Named
		},
		Trusted: func(a netip.Addr) (local, trusted bool) {
			return a.IsLoopback(), a.IsLoopback() || a == netip.MustParseAddr("198.51.100.25")
		},
		Logins: oneAccount{}, LoginsOnRelay: true, ClearLogins: func(netip.Addr) bool { return true },
	})
	return g
}

// oneAccount knows a with the password b.
type oneAccount struct{}

func (oneAccount) Mechanisms() []login.Mechanism               { return []login.Mechanism{{Name: login.Plain}} }
func (o oneAccount) Begin(login.Client, string) login.Exchange { return o }
func (oneAccount) Close()                                      {}

func (oneAccount) Step(_ context.Context, response []byte) ([]byte, login.Result) {
	if string(response) == "\x00a\x00b" {
		return nil, login.Result{Answer: login.Yes, User: "a"}
	}
	return nil, login.Result{Answer: login.No}
}

// say is speak for one message; it returns the codes as text.
func (g *greyServer) say(t *testing.T, address string, lines ...string) string {
	t.Helper()
	var b strings.Builder
	for _, code := range speak(t, g.Server, address, append([]string{"EHLO x"}, lines...)...)[2:] { // behind greeting and EHLO
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(code))
	}
	g.keeper.Flush(t.Context())
	return strings.TrimPrefix(b.String(), " ")
}

const (
	greyMail   = "MAIL FROM:<joe@far.example>"
	greyRcpt   = "RCPT TO:<bob@us.example>"
	greyLetter = "Subject: x\r\n\r\n."
)

// TestGreylist: a stranger gets 2xx to MAIL and RCPT and 451 at DATA, and its session goes
// on; after its wait it is taken (S16, R5).
func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGreyServer(t, greykeeper.On, nil)
		defer g.end()
		const from = "198.51.100.7"
		for _, step := range []struct {
			name  string
			wait  time.Duration
			from  string
			lines []string
			want  string
		}{
			{"first, and the session goes on", 0, from, []string{greyMail, greyRcpt, "DATA", "NOOP", "RSET", greyMail, greyRcpt, "DATA", "QUIT"}, "250 250 451 250 250 250 250 451 221"},
			{"chunks are read before the answer", 0, from, []string{greyMail, greyRcpt, "BDAT 7 LAST\r\nhello", "NOOP"}, "250 250 451 250"},
			{"no chunk is taken", 0, from, []string{greyMail, greyRcpt, "BDAT 7\r\nhello", "BDAT 0 LAST", "NOOP"}, "250 250 451 503 250"},
			{"only asking", 0, "198.51.100.8", []string{"MAIL FROM:<>", greyRcpt, "RCPT TO:<nobody@us.example>", "RSET"}, "250 250 550 250"},
			{"another address", 0, "198.51.100.8", []string{greyMail, greyRcpt, "DATA"}, "250 250 451"},
			{"who claims a virtual domain's address", 0, "198.51.100.10", []string{"MAIL FROM:<amy@virtual.example>", greyRcpt, "DATA"}, "250 250 451"},
			{"who has logged in", 0, "198.51.100.10", []string{"AUTH PLAIN AGEAYg==", "MAIL FROM:<amy@virtual.example>", greyRcpt, "DATA", greyLetter}, "235 250 250 354 250"},
			{"trusted", 0, "198.51.100.25", []string{greyMail, greyRcpt, "DATA", greyLetter}, "250 250 354 250"},
			{"loopback", 0, "127.0.0.1", []string{greyMail, greyRcpt, "DATA", greyLetter}, "250 250 354 250"},
			{"without a name", 0, "198.51.100.66", []string{greyMail, greyRcpt, "DATA"}, "250 250 451"},
			{"a refused sender makes no record", 0, "198.51.100.9", []string{"MAIL FROM:<joe@none.example>"}, "550"},
			{"after an hour", time.Hour, from, []string{greyMail, greyRcpt, "DATA", greyLetter, greyMail, greyRcpt, "BDAT 7 LAST\r\nhello"}, "250 250 354 250 250 250 250"},
			{"without a name, after an hour", 0, "198.51.100.66", []string{greyMail, greyRcpt, "DATA"}, "250 250 451"},
			{"without a name, after two", time.Hour, "198.51.100.66", []string{greyMail, greyRcpt, "DATA", greyLetter}, "250 250 354 250"},
			{"null sender, after two", 0, "198.51.100.8", []string{"MAIL FROM:<>", greyRcpt, "DATA"}, "250 250 451"},
			{"an unknown recipient makes it wait anew", 0, from, []string{greyMail, "RCPT TO:<nobody@us.example>", greyRcpt, "DATA", greyLetter}, "250 550 250 354 250"},
			{"which it does", 0, from, []string{greyMail, greyRcpt, "DATA"}, "250 250 451"},
			{"and is over in an hour", time.Hour, from, []string{greyMail, greyRcpt, "DATA", greyLetter}, "250 250 354 250"},
			{"relaying refused is no unknown recipient", 0, from, []string{greyMail, "RCPT TO:<x@far.example>", greyRcpt, "DATA", greyLetter, greyMail, greyRcpt, "DATA", greyLetter}, "250 550 250 354 250 250 250 354 250"},
		} {
			time.Sleep(step.wait)
			if got := g.say(t, step.from, step.lines...); got != step.want {
				t.Errorf("%s: %s, want %s", step.name, got, step.want)
			}
		}
		if _, there, _ := g.records.Get(t.Context(), "joe@[198.51.100.9]"); there {
			t.Error("a refused sender has a record")
		}
	})
}

// TestGreylistLongNames: a sender's name of 64 KiB makes no record, and the longest that is
// taken makes one with a key of less than a kibioctet.
func TestGreylistLongNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGreyServer(t, greykeeper.On, nil)
		defer g.end()
		for n, codes := range map[int]string{64 << 10: "500 503", 300: "501 503", 240: "250 250 451"} {
			lines := []string{"MAIL FROM:<" + strings.Repeat("x", n) + "@far.example>", greyRcpt}
			if codes[0] == '2' {
				lines = append(lines, "DATA")
			}
			if got := g.say(t, "198.51.100.7", lines...); got != codes {
				t.Errorf("a name of %d octets: %s, want %s", n, got, codes)
			}
		}
		keys := 0
		if err := g.records.Scan(t.Context(), "", func(key, _ string) bool {
			keys++
			if len(key) > 1<<10 {
				t.Errorf("a key of %d octets", len(key))
			}
			return true
		}); err != nil || keys != 1 {
			t.Errorf("%d records, %v", keys, err)
		}
	})
}

// TestGreylistReply: the reply says how long, in words and in seconds, and by what an
// administrator finds the client; the audit record has the seconds.
func TestGreylistReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGreyServer(t, greykeeper.On, nil)
		g.say(t, "198.51.100.7", greyMail, greyRcpt, "DATA")
		time.Sleep(26*time.Minute + 30*time.Second)
		g.say(t, "198.51.100.7", greyMail, greyRcpt, "BDAT 2 LAST\r\n")
		err := g.records.Update(t.Context(), "eve@[198.51.100.7]", func(string, bool) (string, bool) { return greylist.Forbid(time.Now()).String(), true })
		if err != nil {
			t.Fatal(err)
		}
		g.say(t, "198.51.100.7", "MAIL FROM:<eve@far.example>", greyRcpt, "DATA")
		g.end()
		text := g.log.String()
		for _, want := range []string{
			`reply="451 4.7.1 you have not come before, or too early: send this again in 1 hour (3600 seconds); postmaster finds you by joe@[198.51.100.7]"`,
			`reply="451 4.7.1 you have not come before, or too early: send this again in 34 minutes (2010 seconds); postmaster finds you by joe@[198.51.100.7]"`,
			`reply="451 4.7.1 no mail from you is taken now: say so to postmaster by another way, who finds you by eve@[198.51.100.7]"`,
			":DATA:451:delay 3600\n", ":BDAT:451:delay 2010\n", ":DATA:451:delay\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the log has no %q:\n%s", want, text)
			}
		}
		if n := strings.Count(text, "message refused"); n != 3 {
			t.Errorf("%d lines tell of 3 refused messages:\n%s", n, text)
		}
	})
}

// TestGreylistShadow: nobody is delayed, and the log says who would have been.
func TestGreylistShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGreyServer(t, greykeeper.Shadow, nil)
		if got := g.say(t, "198.51.100.7", greyMail, greyRcpt, "DATA", greyLetter); got != "250 250 354 250" {
			t.Errorf("shadow: %s", got)
		}
		g.end()
		if text := g.log.String(); !strings.Contains(text, "message not delayed") || !strings.Contains(text, "wait=3600 key=joe@[198.51.100.7]") {
			t.Errorf("the log says\n%s", text)
		}
	})
}

// TestGreylistOptions: who was written to passes; so does who has brought good mail; a
// message whose recipients are all exempt passes, and one with others too waits.
func TestGreylistOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGreyServer(t, greykeeper.On, func(o *greykeeper.Options) {
			o.Written, o.After = true, 2
			o.ExemptRecipients = []string{"postmaster@us.example"}
		})
		defer g.end()
		for _, step := range []struct {
			name, from, want string
			wait             time.Duration
			lines            []string
		}{
			{"exempt recipient", "198.51.100.7", "250 250 354 250", 0, []string{greyMail, "RCPT TO:<Postmaster@us.example>", "DATA", greyLetter}},
			{"exempt and another", "198.51.100.7", "250 250 250 451", 0, []string{greyMail, "RCPT TO:<Postmaster@us.example>", greyRcpt, "DATA"}},
			{"one of ours writes", "127.0.0.1", "250 250 354 250", 0, []string{"MAIL FROM:<bob@us.example>", "RCPT TO:<Friend@else.example>", "DATA", greyLetter}},
			{"the friend answers", "198.51.100.8", "250 250 354 250", 0, []string{"MAIL FROM:<friend@else.example>", greyRcpt, "DATA", greyLetter}},
			{"one good message", "198.51.100.7", "250 250 354 250", time.Hour, []string{greyMail, greyRcpt, "DATA", greyLetter}},
			{"is not enough", "198.51.100.7", "250 250 451", 0, []string{"MAIL FROM:<amy@far.example>", greyRcpt, "DATA"}},
			{"another", "198.51.100.7", "250 250 354 250", time.Hour / 2, []string{greyMail, greyRcpt, "DATA", greyLetter}},
			{"in the same hour is none", "198.51.100.7", "250 250 451", 0, []string{"MAIL FROM:<eve@far.example>", greyRcpt, "DATA"}},
			{"another later", "198.51.100.7", "250 250 354 250", time.Hour / 2, []string{greyMail, greyRcpt, "DATA", greyLetter}},
			{"is", "198.51.100.7", "250 250 354 250", 0, []string{"MAIL FROM:<new@far.example>", greyRcpt, "DATA", greyLetter}},
		} {
			time.Sleep(step.wait)
			if got := g.say(t, step.from, step.lines...); got != step.want {
				t.Errorf("%s: %s, want %s", step.name, got, step.want)
			}
		}
	})
}

// TestGreylistReported: what people have reported of other greylists. Who comes again and
// again too early passes when the time is over that it was told first, under another HELO,
// in other letters and with other parameters, too; a sender that is another one with each
// message passes by its domain; and switched off nobody waits, in sessions that go on too.
func TestGreylistReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exempt := func(o *greykeeper.Options) { o.ExemptSenders = []string{"@lists.example"} }
		g := newGreyServer(t, greykeeper.On, exempt)
		defer g.end()
		const from = "198.51.100.7"
		for i := range 59 {
			if got := g.say(t, from, greyMail, greyRcpt, "DATA"); got != "250 250 451" {
				t.Fatalf("after %d minutes: %s, want 250 250 451", i, got)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Minute)
		for _, again := range [][]string{
			{"HELO y.far.example", "MAIL FROM:<joe@far.example>", greyRcpt, "DATA", greyLetter},
			{"EHLO [198.51.100.7]", "MAIL FROM:<JOE@Far.Example> BODY=8BITMIME SIZE=30", "RCPT TO:<BOB@us.example>", "DATA", greyLetter},
		} {
			if got := g.say(t, from, again...); got != "250 250 250 354 250" {
				t.Errorf("after an hour, %q: %s", again, got)
			}
		}
		for i := range 5 {
			if got := g.say(t, from, "MAIL FROM:<bounce-"+strconv.Itoa(i)+"@lists.example>", greyRcpt, "DATA", greyLetter); got != "250 250 354 250" {
				t.Errorf("sender %d of a list: %s", i, got)
			}
		}
		off := func() { g.keeper.Use(greykeeper.Options{Rules: greylist.Rules{Delay: time.Hour}}) }
		if got := g.say(t, from, "MAIL FROM:<new@far.example>", greyRcpt, "DATA"); got != "250 250 451" {
			t.Errorf("a new sender: %s", got)
		}
		off()
		if got := g.say(t, from, "MAIL FROM:<new@far.example>", greyRcpt, "DATA", greyLetter, "MAIL FROM:<newer@far.example>", greyRcpt, "DATA", greyLetter); got != "250 250 354 250 250 250 354 250" {
			t.Errorf("switched off: %s", got)
		}
	})
}

// TestGreylistJunk: a filter's verdict makes a key wait anew.
func TestGreylistJunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGreyServer(t, greykeeper.On, nil)
		defer g.end()
		o := world(Options{Greylist: g.keeper})
		c := New(o, nil).Session(stranger()).(*session)
		from := stranger()
		if g.say(t, from.Addr.Addr().String(), greyMail, greyRcpt, "DATA"); g.records.Len() != 1 {
			t.Fatal("there is no record")
		}
		time.Sleep(time.Hour)
		path := c.grey.contact.Sender
		path.Local, path.Domain = "joe", "far.example"
		c.Mail(t.Context(), &smtpd.Transaction{ReversePath: path})
		if c.grey.answer.Verdict != greylist.Pass {
			t.Fatalf("after an hour: %+v", c.grey.answer)
		}
		c.Junk()
		g.keeper.Flush(t.Context())
		c.Mail(t.Context(), &smtpd.Transaction{ReversePath: path})
		if a := c.grey.answer; a.Verdict != greylist.Wait || a.Wait != time.Hour {
			t.Errorf("after junk: %+v, want a wait of an hour", a)
		}
	})
}

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1 second", 59 * time.Second: "59 seconds", time.Minute: "1 minute", 61 * time.Second: "2 minutes",
		time.Hour: "1 hour", 3599 * time.Second: "1 hour", 90 * time.Minute: "1 hour 30 minutes", 4 * time.Hour: "4 hours",
		49 * time.Hour: "2 days 1 hour", 24 * time.Hour: "1 day",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
