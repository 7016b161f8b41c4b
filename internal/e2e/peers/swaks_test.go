//go:build e2e

package peers

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestSwaksDialogues holds what a client is told against what it must be.
func TestSwaksDialogues(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "two.test. IN A 10.77.0.9", "two.test. IN MX 10 two.test.",
		"stranger.test. IN A 10.77.0.3", "3.0.77.10.in-addr.arpa. IN PTR stranger.test.")
	s := l.Host("one.test").Install("size=100k", "trusted=10.77.0.4")
	stranger, friend := l.Host("stranger.test"), l.Host("friend.test")
	s.Serve()
	big := stranger.Path("big")
	lan.WriteFile(t, big, "Subject: big\r\n\r\n"+strings.Repeat(strings.Repeat("b", 70)+"\r\n", 3000)+".")

	small := stranger.Path("small")
	lan.WriteFile(t, small, "Subject: small\r\n\r\nbody\r\n.")

	for _, tt := range []struct {
		name string
		from *lan.Host
		args []string
		exit string   // swaks's exit status: 0, 23 MAIL, 24 RCPT, 26 the message refused
		want []string // regular expressions, in this order
	}{
		{"greeting, extensions, queue ID", stranger, []string{"--to", "alice@one.test"}, "0",
			[]string{`(?m)^<-  220 one\.test ESMTP`, `(?m)^<-  250-one\.test`, `PIPELINING`, `SIZE 100000`, `8BITMIME`, `ENHANCEDSTATUSCODES`,
				`<-  250 2\.1\.0`, `<-  250 2\.1\.5`, `<-  354 `, `<-  250 2\.0\.0 queued as [0-9A-Z]+`, `<-  221 2\.0\.0`}},
		{"HELO", stranger, []string{"--to", "alice@one.test", "--protocol", "SMTP"}, "0",
			[]string{`<-  250 one\.test`, `<-  250 2\.0\.0 queued as `}},
		{"PIPELINING", stranger, []string{"--to", "alice@one.test,bob@one.test", "--pipeline"}, "0",
			[]string{` -> MAIL FROM:.*\n -> RCPT TO:.*\n -> RCPT TO:.*\n -> DATA\n<-  250 .*\n<-  250 .*\n<-  250 .*\n<-  354 `}},
		{"one of two unknown, pipelined", stranger, []string{"--to", "ghost@one.test,bob@one.test", "--pipeline"}, "0",
			[]string{`<\*\* 550 5\.1\.1`, `<-  250 2\.1\.5`, `<-  250 2\.0\.0 queued as `}},
		{"unknown user", stranger, []string{"--to", "ghost@one.test"}, "24", []string{`<\*\* 550 5\.1\.1 `}},
		{"all unknown, pipelined", stranger, []string{"--to", "ghost@one.test,ghoul@one.test", "--pipeline"}, "24",
			[]string{`<\*\* 550 5\.1\.1 `, `<\*\* 550 5\.1\.1 `, `<\*\* [45]\d\d `}},
		{"relay denied to a stranger", stranger, []string{"--to", "alice@two.test"}, "24", []string{`<\*\* 550 5\.7\.1 `}},
		{"percent hack of a stranger", stranger, []string{"--to", "alice%two.test@one.test"}, "24", []string{`<\*\* 550 5\.`}},
		{"relaying for a friend", friend, []string{"--to", "alice@two.test"}, "0", []string{`<-  250 2\.0\.0 queued as `}},
		{"too big", stranger, []string{"--to", "alice@one.test", "--data", "@" + big}, "26", []string{`<\*\* 552 5\.3\.4 `}},
		{"postmaster without a domain", stranger, []string{"--to", "postmaster"}, "0", []string{`<-  250 2\.0\.0 queued as `}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.from.Try(append([]string{"swaks", "--server", s.IP, "--timeout", "20", "--ehlo", tt.from.Name, "--no-data-fixup",
				"--data", "@" + small, "--from", "sender@" + tt.from.Name}, tt.args...)...)
			if exit := exitOf(err); exit != tt.exit {
				t.Errorf("swaks's exit status is %s, want %s", exit, tt.exit)
			}
			rest := out
			for _, want := range tt.want {
				at := regexp.MustCompile(want).FindStringIndex(rest)
				if at == nil {
					t.Fatalf("no %q in the rest of\n%s", want, out)
				}
				rest = rest[at[1]:]
			}
		})
	}

	t.Run("SIZE and VRFY", func(t *testing.T) {
		conn, err := stranger.Dial(s.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		d, err := lan.NewDialogue(conn, "stranger.test")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Quit()
		for _, step := range [][2]string{
			{"VRFY alice", "252"}, {"NOOP", "250"}, {"HELP", "214"}, {"RCPT TO:<alice@one.test>", "503"}, {"EXPN x", "5"},
			{"MAIL FROM:<a@stranger.test> SIZE=200000", "552 5.3.4"}, {"MAIL FROM:<a@stranger.test> SIZE=100000 BODY=8BITMIME", "250"},
			{"RSET", "250"}, {"DATA", "503"},
		} {
			if err := d.Expect(step[0], step[1]); err != nil {
				t.Errorf("%s: %v, want %s", step[0], err, step[1])
			}
		}
	})
	lan.Until(t, 20*time.Second, "the trace names the stranger by its PTR name", func() bool {
		return lan.Contains(s.Mailbox("alice"), "Received: from stranger.test (stranger.test [10.77.0.3])\n\tby one.test (postoffice) with ESMTP id ")
	})
	if !lan.Contains(s.Mailbox("alice"), ") with SMTP id ") {
		t.Error("the HELO session's message is not marked as by SMTP")
	}
}

// exitOf is the exit status of a command that ran.
func exitOf(err error) string {
	if err == nil {
		return "0"
	}
	return strings.TrimPrefix(err.Error(), "exit status ")
}
