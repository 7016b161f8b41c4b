package filters

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv/testfilter"
	"postoffice/milter"
)

var doubtsBegin = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// TestDoubts: what one client's messages do to a filter is that client's alone; two clients'
// have all leave it alone, until it answers as far as where it failed, or says its last word.
func TestDoubts(t *testing.T) {
	const a, b, c = "192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"
	now := doubtsBegin
	fails := func(who string, at milter.Step) func(*doubts) {
		return func(d *doubts) { d.fail(who, at, false, now) }
	}
	late := func(d *doubts) { d.fail(a, milter.AtBody, true, now) }
	says := func(at milter.Step, last bool) func(*doubts) {
		return func(d *doubts) { d.answered(at, last) }
	}
	for _, tt := range []struct {
		name  string
		does  []func(*doubts)
		tries string // of a, b and c: who may now
	}{
		{"nothing", nil, a + b + c},
		{"one client's", []func(*doubts){fails(a, milter.AtBody), fails(a, milter.AtConnect), fails(a, milter.AtEnd), fails(a, milter.AtEnd), fails(a, milter.AtEnd)}, a + b + c},
		{"two clients'", []func(*doubts){fails(a, milter.AtBody), fails(b, milter.AtEnd)}, ""},
		{"an answer between", []func(*doubts){fails(a, milter.AtBody), says(milter.AtEnd, true), fails(b, milter.AtBody)}, a + b + c},
		{"an answer that is as far", []func(*doubts){fails(a, milter.AtBody), says(milter.AtBody, false), fails(b, milter.AtBody)}, a + b + c},
		{"an answer from in front", []func(*doubts){fails(a, milter.AtBody), says(milter.AtEndOfHeader, false), fails(b, milter.AtBody)}, ""},
		{"a last word from in front", []func(*doubts){fails(a, milter.AtBody), says(milter.AtMail, true), fails(b, milter.AtBody)}, a + b + c},
		{"an answer afterwards", []func(*doubts){fails(a, milter.AtBody), fails(b, milter.AtBody), says(milter.AtBody, false)}, a + b + c},
		{"unknown commands", []func(*doubts){fails(a, milter.AtUnknown), says(milter.AtHelo, false), fails(b, milter.AtUnknown)}, a + b + c},
		{"an unknown command is no answer to a message", []func(*doubts){fails(a, milter.AtMail), says(milter.AtUnknown, false), fails(b, milter.AtMail)}, ""},
		{"one client waits in vain", []func(*doubts){late, late}, a + b + c},
		{"so one client does again and again", []func(*doubts){late, late, late}, b + c},
		{"and is answered", []func(*doubts){late, late, says(milter.AtEnd, true), late}, a + b + c},
	} {
		var d doubts
		for _, do := range tt.does {
			do(&d)
		}
		got := ""
		for _, who := range []string{a, b, c} {
			if d.tries(who, now) {
				got += who
			}
		}
		if got != tt.tries {
			t.Errorf("%s: %q may try, want %q", tt.name, got, tt.tries)
		}
	}
}

// TestTries: of those who haven't tried yet one tries when the rest is over, and then one
// after times that grow; those who have can't take their turn, however often they ask.
func TestTries(t *testing.T) {
	var d doubts
	now := doubtsBegin
	for i := range doubters {
		d.fail(fmt.Sprint("bad ", i), milter.AtEnd, true, now)
	}
	var took []time.Duration // behind the failure, of turns of others
	for since := time.Duration(0); since < 10*time.Minute; since += 100 * time.Millisecond {
		now := doubtsBegin.Add(since)
		for i := range doubters {
			if d.tries(fmt.Sprint("bad ", i), now) {
				d.fail(fmt.Sprint("bad ", i), milter.AtEnd, false, now)
			}
		}
		if !d.tries(fmt.Sprint("other ", len(took)), now) {
			continue
		}
		if d.tries(fmt.Sprint("other ", len(took)), now) || d.tries("yet another", now) {
			t.Fatalf("%v behind the failure two try", since)
		}
		took = append(took, since)
	}
	var want []time.Duration
	for at, gap := firstRest, 2*firstRest; at < 10*time.Minute; gap *= 2 {
		want = append(want, at)
		at += min(gap, maxRest)
	}
	if fmt.Sprint(took) != fmt.Sprint(want) {
		t.Errorf("others try at %v, want %v", took, want)
	}
	if d.answered(milter.AtEnd, true); !d.tries("bad 0", now) || !d.tries("yet another", now) {
		t.Error("when it has answered it is still left alone")
	}
}

// TestDoubtsBounded: however many clients a filter fails, those that are known are bounded.
func TestDoubtsBounded(t *testing.T) {
	var d doubts
	for i := range 10 * maxDoubted {
		d.fail(fmt.Sprint(i), milter.AtEnd, false, doubtsBegin)
	}
	if len(d.of) != maxDoubted {
		t.Errorf("%d are known, want %d", len(d.of), maxDoubted)
	}
	if d.tries("new", doubtsBegin) {
		t.Error("it isn't left alone")
	}
}

// TestWhoIs: a site's addresses are one client, and so are a user's connections.
func TestWhoIs(t *testing.T) {
	uid := 1000
	for _, tt := range []struct {
		c    smtpd.Client
		want string
	}{
		{smtpd.Client{Addr: netip.MustParseAddrPort("192.0.2.7:1")}, "192.0.2.7/32"},
		{smtpd.Client{Addr: netip.MustParseAddrPort("[64:ff9b::192.0.2.7]:1")}, "192.0.2.7/32"},
		{smtpd.Client{Addr: netip.MustParseAddrPort("[2001:db8:1:2::7]:1")}, "2001:db8:1::/48"},
		{smtpd.Client{Addr: netip.MustParseAddrPort("[2001:db8:1:ffff::7]:1")}, "2001:db8:1::/48"},
		{smtpd.Client{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Local: true}, "loopback"},
		{smtpd.Client{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Local: true, Owner: &uid}, "uid 1000"},
	} {
		if got := whoIs(&tt.c); got != tt.want {
			t.Errorf("%v is %s, want %s", tt.c.Addr, got, tt.want)
		}
	}
}

// TestPoison: whatever step a client's mail breaks the filter at, and from however many of
// its addresses, the filter is asked about others' mail, by SMTP and in the queue. What the
// client sends itself goes on as fail= says.
func TestPoison(t *testing.T) {
	for _, at := range "CHMRTLNBE" {
		bad := false // what is shown now
		f := &testfilter.Filter{Answer: func(p testfilter.Packet) (string, bool) {
			switch {
			case p.Command == 'C':
				bad = strings.Contains(p.Data, "2001:db8:1:")
			case p.Command == 'M' && !bad:
				bad = strings.Contains(p.Data, "poison")
			}
			switch {
			case p.Command == byte(at) && bad:
				return testfilter.Reply('z', ""), true
			case p.Command == 'E':
				return testfilter.Reply('r', ""), true
			}
			return "", false
		}}
		set, mail := shared(t, f, "")
		judged := func(who, from string) error {
			client := Here("s")
			tx, m := aMessage(from)
			tx.Client = &client
			j, err := set.Judge(t.Context(), who, tx, m)
			if err == nil && !j.Reply.Permanent() {
				t.Errorf("%c: in the queue it is %+v", at, j)
			}
			return err
		}
		for i := range 5 {
			if r := sent(t, mail, fmt.Sprintf("[2001:db8:1:%x::1]:1", i)); !r.IsZero() {
				t.Errorf("%c: a message that breaks the filter hears %v", at, r)
			}
			if r := sent(t, mail, "192.0.2.7:1"); r.Code != 550 {
				t.Errorf("%c: behind %d messages that break the filter another one hears %v", at, i+1, r)
			}
		}
		sent(t, mail, "[2001:db8:1::1]:1")
		if at == 'M' || at == 'B' {
			if err := judged("uid 1000", "poison"); err == nil {
				t.Errorf("%c: what breaks the filter is judged in the queue", at)
			}
			set.all[0].doubts = doubts{}
			judged("uid 1000", "poison")
		}
		if err := judged("uid 1001", "a"); err != nil {
			t.Errorf("%c: in the queue: %v", at, err)
		}
	}
}

// TestDeadInside: a filter that takes connections and fails every message is left alone by
// all when it has failed two clients', and asked again when it works for the one that tries.
func TestDeadInside(t *testing.T) {
	broken := true
	f := &testfilter.Filter{Answer: func(p testfilter.Packet) (string, bool) {
		if p.Command == 'B' && broken {
			return testfilter.Reply('z', ""), true
		}
		return "", false
	}}
	set, mail := shared(t, f, "")
	asked := func(addr string) bool {
		before := strings.Count(f.Commands(""), "B")
		sent(t, mail, addr)
		return strings.Count(f.Commands(""), "B") > before
	}
	for i, want := range []bool{true, true, false, false} {
		if addr := fmt.Sprintf("192.0.2.%d:1", i); asked(addr) != want {
			t.Errorf("client %d: asked is %v, want %v", i, !want, want)
		}
	}
	if is := set.States()[0]; is.Until.IsZero() || !strings.Contains(is.Why, "body") {
		t.Errorf("it is shown as %v", is)
	}
	broken = false
	set.all[0].doubts.fresh.until = time.Time{}
	for i := range 3 {
		if !asked(fmt.Sprintf("192.0.2.%d:1", 10+i)) {
			t.Errorf("when it works again message %d isn't shown to it", i)
		}
	}
	if is := set.States()[0]; is.Why != "" {
		t.Errorf("when it works again it is shown as %v", is)
	}
}

// aMessage is a message from a sender.
func aMessage(from string) (*smtpd.Transaction, smtpd.Message) {
	const text = "Subject: x\n\nhello\n"
	return &smtpd.Transaction{
		ID: "Q1", ReversePath: smtp.Path{Local: from, Domain: "b.example"},
		Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "r", Domain: "us.example"}}},
	}, smtpd.NewMessage(strings.NewReader(text), int64(len(text)), 0, nil)
}

// sent has a message of a client's go its way, and returns the first reply that refuses it.
func sent(t *testing.T, mail func(addr string) (*Session, smtp.Reply), addr string) smtp.Reply {
	t.Helper()
	s, r := mail(addr)
	tx, m := aMessage("a")
	for _, step := range []func() smtpd.Verdict{
		func() smtpd.Verdict { return smtpd.Refusal(r) },
		func() smtpd.Verdict { return s.Rcpt(t.Context(), tx, tx.Recipients[0].Path) },
		func() smtpd.Verdict { return s.Data(t.Context(), tx) },
		func() smtpd.Verdict { return s.Message(t.Context(), tx, m) },
	} {
		if v := step(); !v.Accepted() {
			return v.Reply
		}
	}
	return smtp.Reply{}
}
