//go:build e2e

package milters

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/testfilter"
)

// replies is a line of a reply, and nothing else.
var replies = regexp.MustCompile(`^[2-5][0-9][0-9][ -][ -~]*\r\n$`)

// spoken sends two messages in a session from one of the client's addresses, going on
// whatever is answered, and returns all that the server said.
func spoken(one *lan.Site, client *lan.Host, from string) string {
	t := client.T
	conn, err := lan.Inside(client, func() (net.Conn, error) {
		d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		return d.Dial("tcp4", one.IP+":25")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	r, all := bufio.NewReader(conn), ""
	read := func() string {
		for {
			line, err := r.ReadString('\n')
			if all += line; err != nil {
				return "421"
			}
			if len(line) < 4 || line[3] != '-' {
				return line
			}
		}
	}
	say := func(line string) string {
		io.WriteString(conn, line+"\r\n")
		return read()
	}
	read()
	say("EHLO client.test")
	for range 2 {
		say("MAIL FROM:<joe@client.test>")
		say("RCPT TO:<bob@one.test>")
		if strings.HasPrefix(say("DATA"), "354") {
			say(strings.ReplaceAll(letter, "\n", "\r\n") + ".")
		}
	}
	say("QUIT")
	return all
}

// sound fails the test where something else than replies was said.
func sound(t *testing.T, name, said string) {
	t.Helper()
	for line := range strings.SplitAfterSeq(said, "\n") {
		if line != "" && !replies.MatchString(line) {
			t.Errorf("%s: the client heard %q", name, line)
		}
	}
}

// TestR57NoStandardError: a filter that can't be reached and a server that has no standard
// output and error: mail is taken, and clients hear replies and nothing else (R57, S118).
func TestR57NoStandardError(t *testing.T) {
	one, client, _ := site(t)
	one.Configure("listen="+one.IP+":25", "filter="+one.Path("none")+" name=away", "filter="+one.IP+":9 name=refused")
	one.Start(one.Command(context.Background(), "sh", "-c", `exec "$0" -bD -C "$1" <&- >&- 2>&-`, lan.Applet("smtpd"), one.Config))
	one.Listening("25")
	said := spoken(one, client, client.IP)
	sound(t, "without an error output", said)
	if n := strings.Count(said, "queued as"); n != 2 {
		t.Errorf("%d messages were taken:\n%s", n, said)
	}
	for _, name := range []string{"away", "refused"} {
		failed := regexp.MustCompile("filter failed .* filter=" + name + " ")
		lan.Until(t, time.Minute, "the log tells of the filter "+name, func() bool {
			log, _ := os.ReadFile(one.Log)
			return failed.Match(log)
		})
	}
}

// A hostile filter does what its name says.
type hostile struct {
	name   string
	filter func(conn net.Conn)
	edits  bool // that can't be made: the message is taken without them
}

// says is a filter of the tests' that gives one command one answer.
func says(at byte, answer string) func(net.Conn) {
	return func(conn net.Conn) {
		f := &testfilter.Filter{Answers: map[byte]string{at: answer}}
		f.Serve(conn)
	}
}

// endless writes without end.
func endless(text string) func(net.Conn) {
	return func(conn net.Conn) {
		go io.Copy(io.Discard, conn)
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// hostiles are filters as an enemy would write them, and as people have reported them: a port
// where no filter listens, one that stops in a message, and edits that break one.
func hostiles() []hostile {
	r := testfilter.Reply
	many := strings.Repeat(r('+', "<someone@far.test>\x00"), 100_000)
	all := []hostile{
		{"another service", func(conn net.Conn) { io.WriteString(conn, "UNKNOWN COMMAND\n"); conn.Close() }, false},
		{"a web server", func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			io.Copy(io.Discard, conn)
		}, false},
		{"zeros", endless(strings.Repeat("\x00", 4096)), false},
		{"4 GB", func(conn net.Conn) { io.WriteString(conn, "\xff\xff\xff\xffO"); io.Copy(io.Discard, conn) }, false},
		{"terms without end", endless(r('O', strings.Repeat("\x00\x00\x00\x06", 1000))), false},
		{"progress without end", says('E', strings.Repeat(r('p', ""), 5000)), false},
		{"100,000 recipients", says('E', many+r('c', "")), false},
		{"reply with a format", says('M', r('y', "550 5.7.1 %s%n%d 100%\x00")), false},
		{"reply of two codes", says('R', r('y', "550-5.7.1 no\r\n250 2.0.0 yes\x00")), false},
		{"reply without its end", says('R', r('y', "550-5.7.1 no\r\n550-5.7.1 and no\x00")), false},
		{"reply that goes on", says('R', r('y', "550 5.7.1 no\r\nMAIL FROM:<x@y>\r\n354 go on\x00")), false},
		{"reply without words", says('R', r('y', "451 4.7.1 \x00")), false},
		{"reply of nothing", says('R', r('y', "\x00")), false},
		{"reply that says yes", says('R', r('y', "250 2.0.0 yes\x00")), false},
		{"reply of 1 MB", says('R', r('y', "550 5.7.1 "+strings.Repeat("a", 1<<20-20)+"\x00")), false},
		{"two answers", says('M', r('c', "")+r('r', "")), false},
		{"unknown answer", says('M', r('z', "?")), false},
		{"edit before the end", says('R', r('h', "X\x00y\x00")+r('c', "")), false},
		{"an index without end", says('E', r('i', "\xff\xff\xff\xffX\x00y\x00")+r('m', "\x7f\xff\xff\xffX\x00y\x00")+r('c', "")), false},
		{"a body without end", says('E', strings.Repeat(r('b', strings.Repeat("x", 60_000)), 3000)+r('c', "")), false},
		{"quarantine and a refusal", says('E', r('q', "bad\x00")+r('y', "554 5.7.1 no\x00")), false},
	}
	for _, value := range []string{"a\r\n\r\nbody", "a\nX-Other: b", "a\x00b", "a\rb", "\n \nb", strings.Repeat("a", 1<<19)} {
		all = append(all, hostile{fmt.Sprintf("field %.20q", value), says('E', r('h', "X-Evil\x00"+value+"\x00")+r('c', "")), true})
	}
	for _, name := range []string{"", "X-Evil: a\r\nX", "X Evil", "X\x01"} {
		all = append(all, hostile{fmt.Sprintf("name %q", name), says('E', r('i', "\x00\x00\x00\x01"+name+"\x00 v\x00")+r('c', "")), true})
	}
	for _, to := range []string{"<>", "<a@b> RCPT TO:<c@d>", "<a\r\nb@c>", "|/bin/sh", "/etc/passwd", ":include:/etc/passwd", "<|prog@one.test>", "\u200bjoe@one.test"} {
		all = append(all, hostile{fmt.Sprintf("recipient %q", to), says('E', r('+', to+"\x00")+r('2', to+"\x00NOTIFY=NEVER FOO\x00")+r('e', to+"\x00")+r('c', "")), true})
	}
	for _, params := range []string{"NOTIFY=NEVER,SUCCESS", "ORCPT=x", "A=b=c", "=", "A\x01=b", "A=\xff", "A=" + strings.Repeat("b", 60_000), "RET=ALL RET=HDRS", "SIZE=99999999999999999999"} {
		all = append(all, hostile{fmt.Sprintf("parameters %.20q", params), says('E', r('2', "<bob@one.test>\x00"+params+"\x00")+r('e', "<joe@client.test>\x00"+params+"\x00")+r('c', "")), true})
	}
	return all
}

// TestHostileFilters: whatever a filter does, the session hears replies in order and to its
// end, what bob gets has no field and no line that the filter has smuggled in, and the server
// goes on.
func TestHostileFilters(t *testing.T) {
	one, client, _ := site(t)
	client.Many("10.128.0.0/9", one.Host)
	lines := []string{"listen=" + one.IP + ":25", "trusted=10.128.0.0/9", "local-domains=one.test"}
	all := hostiles()
	for i, h := range all {
		socket := one.Path(fmt.Sprintf("h%d.sock", i))
		h.listen(t, socket)
		lines = append(lines, fmt.Sprintf("filter=%s name=h%d clients=10.128.0.%d connect=5s command=5s message=20s", socket, i, i+1))
	}
	one.Configure(lines[0], lines[1:]...)
	one.Serve()
	taken := 0
	for i, h := range all {
		said := spoken(one, client, fmt.Sprintf("10.128.0.%d", i+1))
		sound(t, h.name, said)
		if !strings.Contains(said, "\r\n221 ") && !strings.Contains(said, "\r\n421 ") {
			t.Errorf("%s: the session ends with %q", h.name, said[max(0, len(said)-200):])
		}
		n := strings.Count(said, "queued as")
		if taken += n; h.edits && n != 2 {
			t.Errorf("%s: %d messages are taken:\n%s", h.name, n, said)
		}
		if strings.Contains(said, " \r\n") {
			t.Errorf("%s: a reply has no words:\n%s", h.name, said)
		}
	}
	lan.Until(t, time.Minute, "bob has what was taken", func() bool { return len(one.Messages("bob")) >= taken })
	for _, text := range one.Messages("bob") {
		header, body, _ := strings.Cut(text, "\n\n")
		for line := range strings.SplitSeq(header, "\n") {
			if strings.HasPrefix(line, "X-Other") || strings.HasPrefix(line, "X:") || strings.ContainsAny(line, "\r\x00") {
				t.Errorf("bob has got the line %q", line)
			}
		}
		if !strings.HasPrefix(body, "Hello,") {
			t.Errorf("bob has got the body %.80q", body)
		}
	}
	if n := len(one.Messages("bob")); n != taken {
		t.Errorf("bob has %d messages, want %d", n, taken)
	}
	if log, _ := os.ReadFile(one.Log); strings.Contains(string(log), "crashed") || strings.Contains(string(log), "\x00") {
		t.Error("the log tells of a crash, or has a NUL")
	}
}

// listen has the filter at a socket until the test ends.
func (h hostile) listen(t *testing.T, socket string) {
	l, err := net.Listen("unix", socket)
	if err == nil {
		err = os.Chmod(socket, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				h.filter(conn)
			}()
		}
	}()
}
