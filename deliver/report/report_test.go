package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

var now = time.Date(2026, 3, 7, 8, 9, 10, 0, time.UTC)

// about returns a report about these recipients.
func about(original string, all ...Recipient) *Report {
	return &Report{
		To: smtp.Path{Local: "carol", Domain: "us.example"}, Hostname: "us.example", QueueID: "3XK9",
		Arrived: now.Add(-time.Hour), Now: now, Tried: 72 * time.Hour, Unique: "UNIQUE",
		N: len(all), Recipient: func(i int) Recipient { return all[i] },
		Original: ReadOriginal(strings.NewReader(original)),
	}
}

// failed is a recipient elsewhere that a server refused.
func failed(local, text string) Recipient {
	p := smtp.Path{Local: local, Domain: "far.example"}
	o := outcome.Refusal("5.1.1", text, nil)
	o.Relay = "mx.far.example[192.0.2.1]:25"
	return Recipient{Address: p, Sent: p, Outcome: &o}
}

func written(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRefusalWithAdvice: beside what a server said stands what we know of it, in the place
// of what is said of its status alone.
func TestRefusalWithAdvice(t *testing.T) {
	rc := failed("bob", "no such sender")
	rc.Outcome.Err = outcome.Advice("Send as another.")
	got := written(t, about("Subject: x\n\n", rc))
	for _, want := range []string{"was refused by the server mx.far.example", "550 5.1.1 no such sender", "    Send as another.\n", "Diagnostic-Code: smtp; 550 5.1.1 no such sender\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "typing errors") {
		t.Errorf("the status' advice in\n%s", got)
	}
}

// TestReport is a whole report, word for word.
func TestReport(t *testing.T) {
	gone := Recipient{
		Address: smtp.Path{Local: "staff", Domain: "us.example"}, Item: "program, file or list of alias staff",
		Sent: smtp.Path{Local: "all", Domain: "us.example"}, ORCPT: "rfc822;a+2Bll@us.example",
		Outcome: &outcome.Outcome{Err: errors.New("no\x1b such\nprogram")}, Expired: true,
	}
	const want = `Received: by us.example (postoffice); Sat, 07 Mar 2026 08:09:10 +0000
From: MAILER-DAEMON@us.example (Mail Delivery System)
To: <carol@us.example>
Subject: Your message could not be delivered
Date: Sat, 07 Mar 2026 08:09:10 +0000
Message-ID: <UNIQUE@us.example>
In-Reply-To: <m1@x.example>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="report.UNIQUE"

--report.UNIQUE
Content-Type: text/plain; charset=us-ascii

This is the mail server at us.example.

Your message of Sat, 07 Mar 2026 07:09:10 +0000 could not be delivered to
the recipients below. It will not be tried again for them; recipients that
are not named here are not concerned. The header of your message is at the
end.

<bob@far.example>
    was refused by the server mx.far.example[192.0.2.1]:25, which said:
        550 5.1.1 no such user
    There is no such mailbox. Check the address for typing errors, or ask
    the recipient in another way for the right one.

<staff@us.example> (a program, file or list of alias staff, expanded from <all@us.example>)
    could not be delivered for 3 days, and is given up now. The last attempt
    ended with:
        no\x1b such
        program
    Often the trouble is at the recipient's side, or the domain is spelt
    wrongly. Check the address; if it is right, send the message again
    later.

--report.UNIQUE
Content-Type: message/delivery-status

Reporting-MTA: dns; us.example
X-Postoffice-Queue-ID: 3XK9
Arrival-Date: Sat, 07 Mar 2026 07:09:10 +0000

Final-Recipient: rfc822; bob@far.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.far.example
Diagnostic-Code: smtp; 550 5.1.1 no such user
Last-Attempt-Date: Sat, 07 Mar 2026 08:09:10 +0000

Original-Recipient: rfc822;a+ll@us.example
Final-Recipient: rfc822; staff@us.example
Action: failed
Status: 4.4.7
Diagnostic-Code: x-postoffice; no\x1b such
    program
Last-Attempt-Date: Sat, 07 Mar 2026 08:09:10 +0000

--report.UNIQUE
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 8bit

Subject: gr` + "\xfc" + `n
Message-ID:
 <m1@x.example>

--report.UNIQUE--
`
	got := written(t, about("Subject: gr\xfcn\nMessage-ID:\n <m1@x.example>\n\nbody\n", failed("bob", "no such user"), gone))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	testenv.ParseReport(t, got)
}

// TestA59ManyRecipients: 1,000 failing recipients make one report below
// 200 kB.
func TestA59ManyRecipients(t *testing.T) {
	for _, tt := range []struct{ name, user, text string }{
		{"short", "user", "no such user"},
		{"long", strings.Repeat("long", 15), strings.Repeat("no such user ", 30)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []Recipient
			for i := range 1000 {
				all = append(all, failed(fmt.Sprintf("%s%d", tt.user, i), tt.text))
			}
			raw := written(t, about(strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\n", 200)+"\nbody\n", all...))
			if len(raw) >= 200_000 {
				t.Errorf("the report has %d octets", len(raw))
			}
			p := testenv.ParseReport(t, raw)
			t.Logf("%d octets, %d recipients in the fields, %d in the text", len(raw), len(p.Fields)-1, strings.Count(p.Text, "@far.example>"))
			if n := len(p.Fields) - 1; n != 1000 && (tt.name == "short" || n < 500) {
				t.Errorf("%d recipients in the fields", n)
			}
			if len(p.Original) > maxReturned {
				t.Errorf("%d octets of header", len(p.Original))
			}
			if tt.name == "long" && !strings.Contains(p.Text, "more recipients, for which there is no room here.\n") {
				t.Errorf("the text ends with %q", p.Text[len(p.Text)-200:])
			}
		})
	}
}

// TestUTF8: addresses outside ASCII stand as they are for people, in ASCII for programs
// (RFC 6533 section 3), and what goes back of such a message says what it is.
func TestUTF8(t *testing.T) {
	r := about("Subject: gr\u00fcn\n\nbody\n", failed("b\u00f6b\\", "does not take it"))
	r.To.Local, r.UTF8 = "c\u00e4rol", true
	got := written(t, r)
	for _, want := range []string{
		"To: <c\u00e4rol@us.example>\n", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "<\"b\u00f6b\\\\\"@far.example>\n",
		"\nFinal-Recipient: utf-8; \"b\\x{F6}b\\x{5C}\\x{5C}\"@far.example\n", "Content-Type: message/global-headers\nContent-Transfer-Encoding: 8bit\n\nSubject: gr\u00fcn\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if r.UTF8 = false; strings.Contains(written(t, r), "message/global") {
		t.Error("a header of eight bits that came without SMTPUTF8 is said to be UTF-8")
	}
	r = about("", failed("b\u202eb\nX: y", "no"))
	for line := range strings.Lines(written(t, r)) {
		if strings.HasPrefix(line, "X: y") || strings.Contains(line, "\u202e") {
			t.Errorf("line %q", line)
		}
	}
}

// TestA61RemoteText: what a peer says is filtered and cut.
func TestA61RemoteText(t *testing.T) {
	var long strings.Builder
	for i := range 30 {
		fmt.Fprintf(&long, "line %d %s\n", i, strings.Repeat("y", 1500))
	}
	raw := written(t, about("", failed("a\nX: y", "a\x1b[2J\x00b\xff\rX-Injected: y\n"+long.String())))
	for _, c := range []byte(raw) {
		if c != '\n' && c != '\t' && (c < ' ' || c > '~') {
			t.Fatalf("octet %#x in the report:\n%q", c, raw)
		}
	}
	for line := range strings.SplitSeq(raw, "\n") {
		if strings.HasPrefix(line, "X-Injected") || strings.HasPrefix(line, "X: y") || len(line) > 600 {
			t.Errorf("line %.80q of %d octets", line, len(line))
		}
	}
	p := testenv.ParseReport(t, raw)
	if n := strings.Count(p.Text, "yyyy\n") + strings.Count(p.Text, "yyyy...\n"); n != 9 {
		t.Errorf("%d of the peer's long lines in the text, want 9:\n%s", n, p.Text)
	}
}

// TestOriginal has what goes back of a message.
func TestOriginal(t *testing.T) {
	long := strings.Repeat("x", maxReturned)
	for _, tt := range []struct {
		name, in, header, id string
		eight                bool
	}{
		{"the plain case", "A: 1\nMessage-ID: <a@b>\n\nbody\n", "A: 1\nMessage-ID: <a@b>\n", "<a@b>", false},
		{"no header", "\nMessage-ID: <a@b>\n", "", "", false},
		{"nothing", "", "", "", false},
		{"folded", "Message-ID:\n <a@b>\n", "Message-ID:\n <a@b>\n", "<a@b>", false},
		{"two words", "Message-ID: <a@b> c\n", "Message-ID: <a@b> c\n", "", false},
		{"two lines in one", "Message-ID: <a\n b>\n", "Message-ID: <a\n b>\n", "", false},
		{"8 bit in the body alone", "A: 1\n\n\xff", "A: 1\n", "", false},
		{"8 bit", "A: \xff\n", "A: \xff\n", "", true},
		{"a line that is too long", "A: 1\nB: " + long + "\nC: 1\n", "A: 1\n", "", false},
		{"a field that is too long", "A: 1\nB: 2\n " + long + "\nC: 1\n", "A: 1\nB: 2\n", "", false},
		{"a header that is too long", "A: " + long[:maxReturned-10] + "\nB: 2\n 34\nC: 1\n", "A: " + long[:maxReturned-10] + "\nB: 2\n", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := ReadOriginal(strings.NewReader(tt.in))
			if string(o.Header) != tt.header || o.messageID() != tt.id || o.EightBit != tt.eight {
				t.Errorf("%.80q: %.80q, %q, %v", tt.in, o.Header, o.messageID(), o.EightBit)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		outcome outcome.Outcome
		expired bool
		want    string
	}{
		{outcome.Refusal("5.1.1", "x", nil), false, "5.1.1"},
		{outcome.Deferral("4.2.2", "full", nil), true, "4.2.2"},
		{outcome.Outcome{Err: io.EOF}, true, "4.4.7"},
		{outcome.Outcome{Action: outcome.Bounced, Reply: smtp.Reply{Code: 550, Text: "x"}}, false, "5.0.0"},
	} {
		rc := Recipient{Outcome: &tt.outcome, Expired: tt.expired}
		if got := rc.status(); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt, got, tt.want)
		}
		if rc.advice() == "" {
			t.Errorf("%+v: no advice", tt)
		}
	}
}
