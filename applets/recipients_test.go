package applets

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/server"
	"postoffice/applets/smtpd"
	"postoffice/internal/testenv"
)

// TestR67EveryRecipient: a message is queued for every recipient, also for one
// that is refused for good or is no address, which a report is made of; or
// nothing is sent, and the exit code says so.
func TestR67EveryRecipient(t *testing.T) {
	policy := refusing{"nobody": {Code: 550, Status: "5.1.1", Text: "who"}, "later": {Code: 450, Status: "4.3.0", Text: "later"},
		"full": {Code: 452, Status: "4.5.3", Text: "too many"}, "a@b@c": {Code: 550, Status: "5.1.1", Text: "that is no address"}}
	for _, tt := range []struct {
		name, header string
		args         []string
		code         int
		to           string // who is in the envelope; "" where nothing is sent
		words        string
	}{
		{"all good", "", []string{"bob", "amy"}, 0, "bob amy", ""},
		{"S3 unknown beside good", "", []string{"bob", "nobody"}, 0, "bob nobody", "nobody: 550 5.1.1 who"},
		{"S3 unknown beside good, -t", "To: nobody, bob\n", []string{"-t"}, 0, "bob nobody", "nobody: 550 5.1.1 who"},
		{"unknown alone", "", []string{"nobody"}, 67, "", "nobody: 550 5.1.1 who|no recipient is good; nothing was sent"},
		{"later beside good", "", []string{"bob", "later"}, 75, "", "later: 450 4.3.0 later|not every recipient could be accepted now; nothing was sent"},
		{"too many", "", []string{"bob", "full", "amy"}, 75, "", "full: 452|nothing was sent"},
		{"later alone", "", []string{"later"}, 75, "", "no recipient could be accepted now; nothing was sent"},
		{"no address beside good", "", []string{"bob", "a@b@c"}, 0, `bob "a@b@c"`, `"a@b@c": 550 5.1.1 that is no address`},
		{"no address beside good, -t", "To: bob,\n a@b@c\n", []string{"-t"}, 0, `bob "a@b@c"`, `"a@b@c": 550`},
		{"number", "", []string{"bob", "root@192.168.1.7"}, 0, `bob "root@192.168.1.7"`, ""},
		{"hyphen", "Cc: bob, a@host-.example\n", []string{"-t"}, 0, `bob "a@host-.example"`, ""},
		{"8-bit name", "", []string{"bob", "j\u00f6@x.example"}, 0, "bob j\u00f6@x.example", ""},
		{"words", "To: Bob Smith, bob\n", []string{"-t"}, 0, `"Bob Smith@" bob`, ""},
		{"no program", "", []string{"bob", "|prog a@b@c"}, 0, `bob "?|prog a@b@c"`, ""},
		{"program", "", []string{"bob", "|prog"}, 0, `bob "?|prog@"`, ""},
		{"file alone", "To: /etc/passwd\n", []string{"-t"}, 67, "", `"/etc/passwd" is no address`},
		{"a blank of another alphabet", "To: bob, \u00a0\n", []string{"-t"}, 0, `bob "?@"`, ""},
		{"words beside", "To: joe bob@us.example\n", []string{"-t"}, 0, `bob "joe bob@us.example"`, ""},
		{"no address, twice, beside good", "", []string{"bob", "a@b@c", "a@b@c"}, 0, `bob "a@b@c"`, ""},
		{"names that are phrases", "To: J. Smith <bob>, =?utf-8?q?J=C3=B6?= <amy>,\n \"x, y\" <joe> (c)\nCc: undisclosed:;\n", []string{"-t"}, 0, "bob amy joe", ""},
		{"no address alone", "", []string{"a@b@c"}, 67, "", `"a@b@c" is no address|no recipient is an address`},
		{"a dot behind", "", []string{"x@far.example."}, 0, "x@far.example", ""},
		{"IDN", "", []string{"x@b\u00fccher.example"}, 0, "x@xn--bcher-kva.example", ""},
		{"nobody at all", "Subject: x\n", []string{"-t", "bob"}, 67, "", "the message has no recipients|hint: -t takes them from To, Cc and Bcc alone"},
		{"nobody named", "", nil, 67, "", "the message has no recipients|hint: name them on the command line, or use -t"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := listen(t, func(o *smtpd.Options) { o.Checker = policy.session })
			code, stderr := in.sendmail(tt.header+"\nhello\n", tt.args...)
			var to []string
			if len(in.got) > 0 {
				for _, r := range in.got[0].Recipients {
					p := r.Path
					if p.Domain == "us.example" {
						p.Domain = "" // which the server added
					}
					to = append(to, p.String())
				}
			}
			if got := strings.Join(to, " "); code != tt.code || got != tt.to || !inOrder(stderr, tt.words) {
				t.Errorf("%q: exit code %d, queued for %s, said %q, want %d, %s, %q", tt.args, code, got, stderr, tt.code, tt.to, tt.words)
			}
		})
	}
}

// TestR67Report: with a real server, those who are good get the message and the
// sender gets a report that names the others.
func TestR67Report(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		t.Run(fmt.Sprintf("daemon %v", daemon), func(t *testing.T) {
			p := newPrivate(t, &testenv.Sink{})
			if daemon {
				p.serve()
			}
			code, said := p.run("sendmail", "--wait=30s", "friend@far.example", "no-such-user", "a@b@c")
			if code != 67 || !inOrder(said, `no-such-user: 550 5.1.1|"a@b@c": 550 5.1.1 that is no address|unknown recipients: 2`) {
				t.Errorf("exit code %d, it said\n%s", code, said)
			}
			if code, said := p.run("runq"); code != 0 { // the report is a message of its own
				t.Errorf("runq: exit code %d, it said\n%s", code, said)
			}
			report := p.mailbox(t)
			for _, want := range []string{"no-such-user@us.example", `"a@b@c"@us.example`} {
				if !strings.Contains(report, want) {
					t.Errorf("the report lacks %q:\n%s", want, report)
				}
			}
		})
	}
}

// TestR67Header: sendmail -t with a recipient that nobody is, and with one that
// can't be decided on now, beside a good one: the good one gets the message, the
// sender hears of the first, and the other waits until its alias is mended.
func TestR67Header(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		t.Run(fmt.Sprintf("daemon %v", daemon), func(t *testing.T) {
			sink := &testenv.Sink{}
			p := newPrivate(t, sink)
			p.aliases(t, "later: :blackhole:\n")
			if daemon {
				p.serve()
			}
			const header = "To: friend@far.example, Nobody <no-such-user>,\n\tlater\nSubject: to three\n\nhello\n"
			if code, said := p.send(header, "sendmail", "-t"); code != 0 || !strings.Contains(said, "no-such-user: 550 5.1.1") || strings.Contains(said, "later") {
				t.Errorf("exit code %d, it said\n%s", code, said)
			}
			if report := p.mailbox(t); !strings.Contains(report, "\nFinal-Recipient: rfc822; no-such-user@us.example\n") || strings.Count(report, "\nFinal-Recipient: ") != 1 {
				t.Errorf("the report must name no-such-user alone:\n%s", report)
			}
			p.reaches(t, sink, "friend@far.example")
			p.aliases(t, "later: mended@far.example\n")
			if code, said := p.run("runq"); code != 0 {
				t.Errorf("runq: exit code %d, it said\n%s", code, said)
			}
			p.reaches(t, sink, "friend@far.example mended@far.example")
		})
	}
}

// aliases writes the alias file.
func (p private) aliases(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(p.dir, "aliases")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
}

// reaches waits until the recipients of all messages are those, in order.
func (p private) reaches(t *testing.T, sink *testenv.Sink, want string) {
	t.Helper()
	var got string
	if !testenv.Eventually(func() bool {
		var to []string
		for _, m := range sink.Messages() {
			to = append(to, m.To()...)
		}
		got = strings.Join(to, " ")
		return got == want
	}) {
		t.Fatalf("delivered to %s, want %s", got, want)
	}
}

// mailbox waits for mail in the user's mailbox, and returns it.
func (p private) mailbox(t *testing.T) string {
	t.Helper()
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534
	}
	path := filepath.Join(p.dir, login(t, uid))
	var text []byte
	var err error
	if !testenv.Eventually(func() bool { text, err = os.ReadFile(path); return len(text) > 0 }) {
		t.Fatalf("no mail: %v", err)
	}
	return string(text)
}

// login is the name of a user.
func login(t *testing.T, uid int) string {
	t.Helper()
	name, err := server.Login(uid)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
