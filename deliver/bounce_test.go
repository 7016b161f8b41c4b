package deliver

import (
	"fmt"
	"strings"
	"testing"

	"postoffice/deliver/local"
	"postoffice/internal/testenv"
	"postoffice/spool/envelope"
)

// R7, S19, B65, B98: what a bounce says and to whom.
func TestR7Bounce(t *testing.T) {
	r := newRig(t)
	says("RCPT", "550-5.1.1 No such user here,\n550 5.1.1 see <http://peer.example/why>")(r)
	id := r.mailText(plain+"secret body\n", r.now(), "carol@us.example", "A.User@[192.0.2.1]")
	r.pass()
	r.want()
	r.wantBox("root", 0)
	p := testenv.ParseReport(t, r.wantBox("carol", 1)[0])
	for name, want := range map[string]string{
		"From":           "MAILER-DAEMON@us.example (Mail Delivery System)",
		"To":             "<carol@us.example>",
		"Auto-Submitted": "auto-replied",
		"Mime-Version":   "1.0",
		"In-Reply-To":    "<m1@x.example>",
		"Return-Path":    "<>",
		"Subject":        "Your message could not be delivered",
	} {
		if got := p.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, err := p.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	if p.Get("Message-Id") == "" || !strings.HasPrefix(p.Get("Received"), "by us.example") {
		t.Errorf("Message-ID %q, Received %q", p.Get("Message-Id"), p.Get("Received"))
	}
	if len(p.Fields) != 2 {
		t.Fatalf("%d groups of fields, want 2: %v", len(p.Fields), p.Fields)
	}
	for name, want := range map[string]string{
		"Final-Recipient": "rfc822; A.User@[192.0.2.1]",
		"Action":          "failed",
		"Status":          "5.1.1",
		"Remote-Mta":      "dns; [192.0.2.1]",
		"Diagnostic-Code": "smtp; 550 5.1.1 No such user here, see <http://peer.example/why>",
	} {
		if got := p.Fields[1].Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := p.Fields[0].Get("Reporting-Mta"); got != "dns; us.example" {
		t.Errorf("Reporting-MTA %q", got)
	}
	if got := p.Fields[0].Get("X-Postoffice-Queue-Id"); got != string(id) {
		t.Errorf("queue ID %q, want %s", got, id)
	}
	for _, want := range []string{"<A.User@[192.0.2.1]>\n", "was refused by the server [192.0.2.1]:25, which said:", "550 5.1.1 No such user here,\n", "see <http://peer.example/why>\n", "Check the address for typing errors"} {
		if !strings.Contains(p.Text, want) {
			t.Errorf("no %q in the text:\n%s", want, p.Text)
		}
	}
	if !strings.Contains(p.Original, "Subject: hello\n") || strings.Contains(p.Raw, "secret body") {
		t.Errorf("the returned header is %q", p.Original)
	}
}

// A61: what a peer says is filtered and cut.
func TestA61RemoteText(t *testing.T) {
	r := newRig(t)
	var long strings.Builder
	for i := range 30 {
		fmt.Fprintf(&long, "550-5.1.1 line %d %s\r\n", i, strings.Repeat("y", 1500))
	}
	at("RCPT", testenv.Action{Raw: "550-5.1.1 a\x1b[2J\x00b\xff\rX-Injected: y\r\n" + long.String() + "550 5.1.1 end\r\n"})(r)
	r.mail("carol@us.example", "a@[192.0.2.1]")
	r.pass()
	raw := r.wantBox("carol", 1)[0]
	p := testenv.ParseReport(t, raw)
	for _, c := range []byte(raw) {
		if c != '\n' && c != '\t' && (c < ' ' || c > '~') {
			t.Fatalf("octet %#x in the bounce:\n%q", c, raw)
		}
	}
	for line := range strings.SplitSeq(raw, "\n") {
		if strings.HasPrefix(line, "X-Injected") || len(line) > 600 {
			t.Errorf("line %.80q of %d octets", line, len(line))
		}
	}
	if n := strings.Count(p.Text, "yyyy\n") + strings.Count(p.Text, "yyyy...\n"); n != 9 {
		t.Errorf("%d of the peer's long lines in the text, want 9:\n%s", n, p.Text)
	}
	if got := len(p.Fields); got != 2 {
		t.Errorf("%d groups of fields", got)
	}
	if strings.ContainsAny(r.log.String(), "\x1b\x00") {
		t.Error("control octets in the log")
	}
}

// A59, R2 and B75: nothing with a null reverse-path is answered; the
// postmaster is told once; a report there that fails is kept.
func TestA59DoubleBounce(t *testing.T) {
	r := newRig(t)
	says("RCPT", "550 5.1.1 no such user")(r)
	r.mail("", "a@[192.0.2.1]")
	r.mail("nobody-here@us.example", "b@[192.0.2.1]")
	r.pass()
	r.want()
	box := r.wantBox("root", 2)
	for _, raw := range box {
		p := testenv.ParseReport(t, raw)
		if p.Get("Return-Path") != "<>" || p.Get("To") != "<postmaster@us.example>" || p.Get("Subject") != "A report could not be delivered" {
			t.Errorf("double bounce:\n%s", raw)
		}
	}
	// The postmaster's mailbox refuses.
	r.mailer.answer = func(user string) (local.Result, bool) { return refuse("no"), user == "root" }
	r.mail("", "a@[192.0.2.1]")
	r.pass()
	r.want("held:  -> postmaster@us.example expanded", "held:  -> root pending")
	r.wantLog("level=ERROR", "message held")
	r.pass()
	if n := len(r.list()); n != 2 {
		t.Errorf("after another pass: %v", r.list())
	}
	// Defers: it is tried again, not held.
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "root" }
	r.mail("", "a@[192.0.2.1]")
	r.pass()
	r.mailer.answer = nil
	r.pass()
	r.wantBox("root", 3)
	r.want("held:  -> postmaster@us.example expanded", "held:  -> root pending")
}

// S3, B58: a local failure is reported too, in the same form.
func TestB58LocalBounce(t *testing.T) {
	r := newRig(t)
	r.alias("staff: alice, gone, bob\n")
	r.mailer.answer = func(user string) (local.Result, bool) { return refuse("mailbox is closed"), user == "bob" }
	r.mail("carol", "staff", "no-one@also.example")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	p := testenv.ParseReport(t, r.wantBox("carol", 1)[0])
	for _, want := range []string{"<gone@us.example> (expanded from <staff@us.example>)\n", "<bob@us.example> (expanded from <staff@us.example>)\n", "<no-one@also.example>\n", "mailbox is closed\n", "no such user here\n"} {
		if !strings.Contains(p.Text, want) {
			t.Errorf("no %q in:\n%s", want, p.Text)
		}
	}
	if len(p.Fields) != 4 {
		t.Errorf("%d groups of fields, want 4", len(p.Fields))
	}
	for _, f := range p.Fields[1:] {
		if f.Get("Remote-Mta") != "" || !strings.HasPrefix(f.Get("Diagnostic-Code"), "x-postoffice; ") {
			t.Errorf("fields of a local failure: %v", f)
		}
	}
}

// A header beyond ASCII is returned and declared.
func TestEightBitHeader(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mailText("Subject: gr\xc3\xbc\xc3\x9fe\n\nbody\n", r.now(), "x@[192.0.2.1]", "no-one")
	r.pass()
	got := sink.Messages()
	if len(got) != 1 || !strings.Contains(got[0].Text(), "Subject: gr\xc3\xbc") || !strings.Contains(got[0].Text(), "Content-Transfer-Encoding: 8bit") || !strings.Contains(got[0].Mail, "BODY=8BITMIME") {
		t.Errorf("sink got %v", got)
	}
}

// A bounce that can't be written leaves its recipients to the next attempt.
func TestBounceNotWritten(t *testing.T) {
	r := newRig(t)
	id := r.mail("carol@us.example", "no-one")
	r.full.Store(true)
	r.pass()
	r.wantLog("level=WARN", "bounce not queued")
	if s := r.snapshot(id); s.Recipients[0].State != envelope.Pending {
		t.Errorf("no-one is %v without a bounce", s.Recipients[0].State)
	}
	r.full.Store(false)
	r.pass()
	r.want()
	r.wantBox("carol", 1)
}
