//go:build e2e

package programs

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

const programSubject = "täglicher Bericht"

// program is one that sends a message through /usr/sbin/sendmail.
type program struct {
	name string
	as   string // who runs it
	// run is a shell script: $1 is the recipient, $2 the subject, and its
	// standard input the body.
	run     string
	from    string              // in the From field; "" is as@one.test
	sender  string              // in the envelope; "" is as@one.test
	to      string              // in the To field; "" is the recipient
	body    func(string) string // what it makes of the body
	overTCP bool                // it speaks to port 25 of localhost
	warning string              // X-Authentication-Warning
}

// programs are those that send what they are given.
var programs = []program{
	{name: "bsd-mailx", as: "alice", run: `exec bsd-mailx -s "$2" "$1"`},
	{name: "s-nail", as: "bob", run: `exec s-nail -S ttycharset=utf-8 -s "$2" "$1"`},
	{name: "mutt", as: "alice", run: `exec mutt -e "set send_charset=utf-8" -s "$2" -- "$1"`},
	{name: "git", as: "bob", from: "hacker@one.test", run: `
		export GIT_CONFIG_GLOBAL=/dev/null
		printf 'From: A Hacker <hacker@one.test>\nSubject: %s\n\n' "$2" >patch
		cat >>patch
		exec git send-email --from="A Hacker <hacker@one.test>" --to="$1" --suppress-cc=all --8bit-encoding=UTF-8 ./patch >sent`},
	{name: "php", as: "alice", from: "web@one.test", run: `exec /usr/bin/php[0-9].[0-9] -r '
		exit(mail($argv[1], "=?UTF-8?B?" . base64_encode($argv[2]) . "?=", stream_get_contents(STDIN),
			["From" => "Web <web@one.test>", "Content-Type" => "text/plain; charset=UTF-8"]) ? 0 : 1);' -- "$1" "$2"`,
		body: func(s string) string { return s + "\n" }}, // so it does
	{name: "php-f", as: "bob", from: "web@one.test", sender: "bounces@one.test", warning: "bob@one.test set sender to bounces@one.test", run: `exec /usr/bin/php[0-9].[0-9] -r '
		exit(mail($argv[1], "=?UTF-8?B?" . base64_encode($argv[2]) . "?=", rtrim(stream_get_contents(STDIN)),
			"From: web@one.test\r\nContent-Type: text/plain; charset=UTF-8", "-fbounces@one.test") ? 0 : 1);' -- "$1" "$2"`},
	{name: "email-sender", as: "bob", run: `exec perl -MEmail::Sender::Simple=sendmail -MEmail::Simple -e '
		sendmail(Email::Simple->create(header => [To => $ARGV[0], From => "Bob <bob\@one.test>", Subject => $ARGV[1]],
			body => join "", <STDIN>));' -- "$1" "$2"`},
	{name: "mail-sendmail", as: "alice", overTCP: true, run: `exec perl -MMail::Sendmail -e '
		sendmail(To => $ARGV[0], From => "Alice <alice\@one.test>", Subject => $ARGV[1], Message => join("", <STDIN>),
			"Content-Type" => "text/plain; charset=UTF-8") or die $Mail::Sendmail::error;' -- "$1" "$2"`,
		body: func(s string) string { return s + "\n" }},
	{name: "smtplib", as: "bob", run: `exec /usr/bin/python3 -c '
import email.message, smtplib, socket, subprocess, sys

class Sendmail(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        ours, theirs = socket.socketpair()
        with theirs:
            self.child = subprocess.Popen(["/usr/sbin/sendmail", "-bs"], stdin=theirs, stdout=theirs)
        return ours

m = email.message.EmailMessage()
m["From"], m["To"], m["Subject"] = "bob@one.test", sys.argv[1], sys.argv[2]
m.set_content(sys.stdin.read())
with Sendmail("localhost") as s:
    s.send_message(m)
sys.exit(s.child.wait())' "$1" "$2"`,
		body: func(s string) string { return strings.ReplaceAll(s, "\nFrom ", "\n>From ") }}, // so its generator does
	{name: "mime-construct", as: "alice", run: `exec mime-construct --to "$1" --subject "$2" --encoding quoted-printable \
		--type 'text/plain; charset=utf-8' --file -`},
}

// programSite is a host with a server, where our binary is /usr/sbin/sendmail.
// Each program sends to an account of its own.
func programSite(t *testing.T, recipients []string, files map[string]string) *lan.Site {
	t.Helper()
	extra := []lan.User{lan.Account("daemon", 1), lan.Account("adm", 4), lan.Account("shadow", 42), lan.Account("logcheck", 990)}
	for i, name := range recipients {
		extra = append(extra, lan.Account(name, 3000+i))
	}
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	h := l.Host("one.test", extra...)
	s := h.Install("listen=127.0.0.1:25", "local-domains=one.test,one.internal")
	ownRoot(s, files)
	s.Serve()
	lan.Until(t, 20*time.Second, "the server is ready", func() bool { return lan.Contains(s.Log, "server ready") })
	return s
}

// TestPrograms has real programs from Debian's packages, unchanged, send
// through the binary at the place of /usr/sbin/sendmail: each exits with 0, and
// each message is there once, as it was sent and from who sent it.
func TestPrograms(t *testing.T) {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	s := programSite(t, names, nil)
	t.Run("send", func(t *testing.T) {
		for _, p := range programs {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				sends(s.On(t), p)
			})
		}
	})
	s.Drained(10 * time.Second)
	eachOnce(s, names)
	configures(s)
}

// configures runs what GNU configure scripts do to learn of sendmail (R63).
func configures(s *lan.Site) {
	s.T.Helper()
	script, err := os.ReadFile("testdata/configure")
	if err != nil {
		s.T.Fatal(err)
	}
	lan.WriteFile(s.T, s.Path("configure"), string(script))
	cmd := s.As(s.T.Context(), "carol", "env", "PATH=/usr/bin:/bin", "sh", "-c", "cd "+s.Path("home", "carol")+" && exec sh "+s.Path("configure"))
	out, err := cmd.CombinedOutput()
	got := regexp.MustCompile(`\d+(\.\d+)+\n`).ReplaceAllString(string(out), "N\n")
	want := "checking for sendmail... /usr/sbin/sendmail\n"
	for _, flags := range []string{"-d0", "-d0.1", "-d0.4 -bv root", "-d0.1 -bt", "-d0 -bp"} {
		want += "checking the version by sendmail " + flags + "... N\n"
	}
	want += "checking whether sendmail -d9.1 is silent... 0 conftest.out:0\nconftest.err:0\n"
	if err != nil || got != want {
		s.T.Errorf("configure: %v, printed:\n%s\nwant:\n%s", err, got, want)
	}
}

// sends runs a program and looks at the message that arrives.
func sends(s *lan.Site, p program) {
	s.T.Helper()
	rcpt := p.name + "@one.test"
	login(s, p.as, lan.ProgramText, p.run, rcpt, programSubject)
	lan.Until(s.T, 20*time.Second, p.name+" has the message", func() bool { return len(s.Messages(p.name)) > 0 })
	m := lan.ParseMessage(s.T, s.Messages(p.name)[0])
	want := func(what, got, want string) {
		if got != want {
			s.T.Errorf("%s: %s is %q, want %q\n%s", p.name, what, got, want, m.Raw)
		}
	}
	want("the sender", m.Header.Get("Return-Path"), "<"+or(p.sender, p.as+"@one.test")+">")
	want("From", m.Address("From"), or(p.from, p.as+"@one.test"))
	want("To", m.Address("To"), or(p.to, rcpt))
	want("Subject", m.Field("Subject"), programSubject)
	want("X-Authentication-Warning", m.Header.Get("X-Authentication-Warning"), p.warning)
	body := lan.ProgramText
	if p.body != nil {
		body = p.body(body)
	}
	lan.Differ(s.T, p.name, []byte(m.Text), []byte(body))
	if line := "\nReceived: from " + p.as + " (uid "; !p.overTCP && !strings.Contains(m.Raw, line) {
		s.T.Errorf("%s: no line %q in:\n%s", p.name, line, m.Raw)
	}
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
