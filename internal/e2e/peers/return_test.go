//go:build e2e

package peers

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// returns is a lan with postoffice as one.test and a place for two.test.
func returns(t *testing.T, settings ...string) (one *lan.Site, two *lan.Host) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "two.test. IN A 10.77.0.3", "two.test. IN MX 10 two.test.")
	one = l.Host("one.test").Install(append([]string{"trusted=10.77.0.3"}, settings...)...)
	one.Serve()
	return one, l.Host("two.test")
}

// queued is one line of mailq --json.
type queued struct {
	ID, Sender, State string
	Size              int64
	Recipients        []struct {
		Address, State, Reply string
		Attempts              int
		Next                  time.Time
	}
}

// queue is what mailq --json lists.
func queue(s *lan.Site) []queued {
	s.T.Helper()
	var all []queued
	for line := range strings.Lines(s.Applet("mailq", "--json")) {
		var q queued
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			s.T.Fatalf("mailq --json: %v in %q", err, line)
		}
		all = append(all, q)
	}
	return all
}

// TestMXComesBack has mail for a host that refuses connections: it is
// deferred, shown by mailq with the reason, and delivered by runq when the
// host is back.
func TestMXComesBack(t *testing.T) {
	one, two := returns(t)
	one.Submit("alice", "Subject: patience\n\nhello\n", "bob@two.test")
	var q queued
	lan.Until(t, 60*time.Second, "the message is deferred", func() bool {
		all := queue(one)
		if len(all) != 1 || len(all[0].Recipients) != 1 {
			return false
		}
		q = all[0]
		return q.State == "deferred"
	})
	r := q.Recipients[0]
	if q.Sender != "alice@one.test" || r.Address != "bob@two.test" || r.Attempts != 1 || r.State != "pending" ||
		!strings.Contains(r.Reply, "refused") || !r.Next.After(time.Now()) {
		t.Errorf("mailq --json: %+v", q)
	}
	text := one.Applet("mailq")
	for _, want := range []string{"Mail Queue (1 request)", q.ID, "<alice@one.test>", "bob@two.test", "refused"} {
		if !strings.Contains(text, want) {
			t.Errorf("mailq lacks %q:\n%s", want, text)
		}
	}
	if story := one.Applet("mailq", q.ID); !strings.Contains(story, "bob@two.test") || !strings.Contains(story, "refused") {
		t.Errorf("mailq ID:\n%s", story)
	}
	if out, err := one.TryApplet("", "mailq", "0NOSUCHID"); exitOf(err) != "69" {
		t.Errorf("mailq of an unknown ID: %v, want exit status 69\n%s", err, out)
	}

	there := two.Install()
	there.Serve()
	one.Applet("runq")
	lan.Until(t, 30*time.Second, "the message is delivered", func() bool { return lan.Contains(there.Mailbox("bob"), "Subject: patience") })
	one.Drained(10 * time.Second)
	if !lan.Says(one.Log, "qid="+q.ID) || lan.Contains(one.Mailbox("alice"), q.ID) {
		t.Error("the log lacks the queue ID, or a report was made of a deferral")
	}
}

// parseReport reads the last message of a mailbox with Python's email package
// and prints what it found, part by part.
const parseReport = `
import mailbox, sys, json, email.policy
box = mailbox.mbox(sys.argv[1], create=False)
m = email.message_from_bytes(box[max(box.keys())].as_bytes(), policy=email.policy.default)
assert not m.defects, m.defects
parts = m.get_payload() if m.is_multipart() else []
status = parts[1].get_payload() if len(parts) > 1 else []
print(json.dumps({
    'type': m.get_content_type(), 'report': m.get_param('report-type'), 'to': m['To'], 'from': m['From'],
    'returnpath': m['Return-Path'], 'auto': m['Auto-Submitted'], 'subject': m['Subject'], 'id': m['Message-ID'], 'date': m['Date'],
    'parts': [p.get_content_type() for p in parts],
    'text': parts[0].get_content() if parts else '',
    'status': [dict((k.lower(), v) for k, v in s.items()) for s in status],
    'original': parts[2].as_string() if len(parts) > 2 else '',
}))
`

// report is a delivery status notification as Python reads it.
type report struct {
	Type, Report, To, From, ReturnPath, Auto, Subject, ID, Date string
	Parts                                                       []string
	Text, Original                                              string
	Status                                                      []map[string]string
}

// readReport reads the report that is the last message of a mailbox, and
// checks what every report has (RFC 3464, RFC 3834).
func readReport(t *testing.T, name string) report {
	t.Helper()
	out, err := exec.Command("python3", "-c", parseReport, name).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r.Type != "multipart/report" || r.Report != "delivery-status" || len(r.Parts) != 3 || r.Parts[0] != "text/plain" ||
		r.Parts[1] != "message/delivery-status" || r.Parts[2] != "text/rfc822-headers" && r.Parts[2] != "message/rfc822" {
		t.Errorf("report is %s, report-type %s, of %v", r.Type, r.Report, r.Parts)
	}
	if r.ReturnPath != "<>" || r.Auto == "" || r.Auto == "no" || r.ID == "" || r.Date == "" || r.Subject == "" {
		t.Errorf("report with Return-Path %q, Auto-Submitted %q, Message-ID %q, Date %q, Subject %q", r.ReturnPath, r.Auto, r.ID, r.Date, r.Subject)
	}
	if len(r.Status) < 2 || !strings.Contains(r.Status[0]["reporting-mta"], "one.test") {
		t.Errorf("delivery-status: %v", r.Status)
	}
	return r
}

// TestRefusalComesBack has a recipient that the next host refuses for good: the
// sender gets a report that programs and people can read (R7, S3, B58).
func TestRefusalComesBack(t *testing.T) {
	one, two := returns(t)
	lan.WriteFile(t, one.Path("aliases"), "friends: ghost\n")
	two.Install().Serve()
	for _, tt := range []struct{ name, to, final, status, says string }{
		{"refused by the next host", "ghost@two.test", "ghost@two.test", "5.1.1", "550"},
		{"no such domain", "bob@nowhere.test", "bob@nowhere.test", "5.1.2", "nowhere.test"},
		{"no such user behind an alias here", "friends@one.test", "ghost@one.test", "5.1.1", "no such user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one := one.On(t)
			subject := "Subject: comes back " + tt.to
			one.Submit("alice", subject+"\nX-Mine: yes\n\nsecret body\n", tt.to)
			lan.Until(t, 30*time.Second, "alice has the report", func() bool { return lan.Contains(one.Mailbox("alice"), subject+"\n") })
			one.Drained(10 * time.Second)
			r := readReport(t, one.Mailbox("alice"))
			if !strings.Contains(r.To, "alice@one.test") || !strings.Contains(r.Text, tt.final) || !strings.Contains(r.Text, tt.says) {
				t.Errorf("report to %s says:\n%s", r.To, r.Text)
			}
			s := r.Status[len(r.Status)-1]
			if s["action"] != "failed" || s["status"] != tt.status || s["final-recipient"] != "rfc822; "+tt.final {
				t.Errorf("recipient's status: %v", s)
			}
			if !strings.Contains(r.Original, "X-Mine: yes") {
				t.Errorf("the original's header is not there:\n%s", r.Original)
			}
		})
	}
}

// TestTooOldComesBack has a host that stays away longer than qreturn: an
// attempt later than that ends in a report (R2).
func TestTooOldComesBack(t *testing.T) {
	one, _ := returns(t, "qreturn=2s")
	one.Submit("alice", "Subject: too old\n\nhello\n", "bob@two.test")
	lan.Until(t, 60*time.Second, "alice has the report", func() bool {
		one.Applet("runq")
		return lan.Contains(one.Mailbox("alice"), "Subject: too old")
	})
	one.Drained(10 * time.Second)
	r := readReport(t, one.Mailbox("alice"))
	s := r.Status[len(r.Status)-1]
	if s["action"] != "failed" || !strings.HasPrefix(s["status"], "4.4.") && !strings.HasPrefix(s["status"], "5.4.") {
		t.Errorf("recipient's status: %v", s)
	}
	if !strings.Contains(r.Text, "refused") {
		t.Errorf("the report does not say what the last attempt met:\n%s", r.Text)
	}
	if !lan.Says(one.Log, "status=expired") {
		t.Error("the log does not say that the message expired")
	}
}

// TestDoubleBounce has a report from elsewhere whose recipient is refused: no
// report goes to nobody, the postmaster is told, once.
func TestDoubleBounce(t *testing.T) {
	one, two := returns(t)
	two.Install("local-domains=two.test").Serve()
	two.Swaks(one.IP+":25", "--from", "<>", "--to", "ghost@two.test", "--header", "Subject: a report")
	lan.Until(t, 30*time.Second, "the postmaster, who is root, has the report", func() bool { return lan.Contains(one.Mailbox("root"), "Subject: a report") })
	one.Drained(10 * time.Second)
	r := readReport(t, one.Mailbox("root"))
	if s := r.Status[len(r.Status)-1]; s["status"] != "5.1.1" || !strings.Contains(r.To, "postmaster@one.test") {
		t.Errorf("report to %s: %v", r.To, s)
	}
	if n := strings.Count(one.Applet("mailq"), "\n"); n > 1 {
		t.Errorf("something is left in the queue:\n%s", one.Applet("mailq"))
	}
}
