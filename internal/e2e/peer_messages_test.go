//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// post is the lan in which the collection of messages travels: a client, two
// postoffices, Postfix, Exim, smtp-sink, and a sink that keeps what was on
// the wire.
type post struct {
	client   *host
	one, two *site
	pf, ex   *host
	sink     *host
	raw      *testenv.Sink
	messages []testenv.Message
}

// A way is one direction in which every message goes, to users of its own
// there: letter and number of the message.
type way struct {
	name string
	// read returns what arrived of message i, freed of what the place itself
	// adds to it.
	read func(p *post, i int) ([]byte, error)
	// want is what must have arrived of a message that was accepted.
	want func(sent []byte) []byte
	// folded: lines over 998 octets were folded on the way (A6).
	folded bool
}

// TestMessages sends every message of the collection every way and compares
// what arrives.
func TestMessages(t *testing.T) {
	p := newPost(t)
	p.sendAll(t)
	p.settled(t)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			for i, m := range p.messages {
				got, err := w.read(p, i)
				if err != nil {
					t.Errorf("%s: %v", m.Name, err)
					continue
				}
				want := w.want(m.Octets())
				if w.folded {
					got = testenv.Unfold(got, want)
				}
				differ(t, m.Name, got, want)
			}
		})
	}
	t.Run("A2 A6 on the wire", p.checkWire)
}

var ways = []way{
	{name: "sendmail, us, mailbox", want: func(sent []byte) []byte { return accepted(withoutFromLine(sent)) },
		read: func(p *post, i int) ([]byte, error) { return p.submitted(i) }},
	{name: "swaks, us, mailbox", want: accepted,
		read: func(p *post, i int) ([]byte, error) { return readOurs(p.one, "m", i, 1) }},
	{name: "us, us, mailbox", want: accepted, folded: true,
		read: func(p *post, i int) ([]byte, error) { return readOurs(p.two, "m", i, 2) }},
	{name: "us, smtp-sink", want: accepted, folded: true,
		read: func(p *post, i int) ([]byte, error) { return p.dumped(i) }},
	{name: "us, Postfix, mailbox", want: func(sent []byte) []byte { return quoteFrom(bodyOf(accepted(sent))) }, folded: true,
		read: func(p *post, i int) ([]byte, error) { return readTheirs(p.pf.path("pf", "mail"), i) }},
	{name: "us, Exim, mailbox", want: func(sent []byte) []byte { return quoteFrom(bodyOf(accepted(sent))) }, folded: true,
		read: func(p *post, i int) ([]byte, error) { return readTheirs(p.ex.path("ex", "mail"), i) }},
	{name: "Postfix, us, mailbox", want: func(sent []byte) []byte { return bodyOf(accepted(withoutFromLine(sent))) },
		read: func(p *post, i int) ([]byte, error) {
			got, err := readOurs(p.one, "p", i, 2)
			return bodyOf(got), err
		}},
	{name: "Exim, us, mailbox", want: func(sent []byte) []byte { return bodyOf(accepted(crEndsLine(sent))) },
		read: func(p *post, i int) ([]byte, error) {
			got, err := readOurs(p.one, "e", i, 2)
			return bodyOf(got), err
		}},
}

func newPost(t *testing.T) *post {
	p := &post{messages: testenv.Messages(), raw: &testenv.Sink{Hostname: "raw.test"}}
	l := newLAN(t)
	var records []string
	for i, name := range []string{"one", "two", "pf", "ex", "sink", "raw", "client"} {
		records = append(records, fmt.Sprintf("%s.test. IN A 10.77.0.%d", name, i+2), fmt.Sprintf("%s.test. IN MX 10 %s.test.", name, name))
	}
	l.dns(records...)
	var users []user
	for j, letter := range []string{"m", "s", "p", "e"} {
		for i := range p.messages {
			id := 3000 + 200*j + i
			users = append(users, user{nth(letter, i), id, id})
		}
	}
	p.one = l.host("one.test", users...).install("trusted=10.77.0.8", "clients=200")
	p.two = l.host("two.test", users...).install()
	p.pf, p.ex = l.host("pf.test", users...), l.host("ex.test", append(users, eximUsers...)...)
	p.sink = l.host("sink.test")
	raw := l.host("raw.test")
	p.client = l.host("client.test")

	p.one.serve()
	p.two.serve()
	p.pf.postfix("message_size_limit=0", "mailbox_size_limit=0", "mynetworks=10.77.0.0/24", "in_flow_delay=0",
		"smtp_line_length_limit=0") // else it breaks lines over 998 before we see them
	p.ex.exim()
	p.sink.start(p.sink.command(context.Background(),
		postfixTool(t, "smtp-sink", "-u", "root", "-d", p.sink.path("dump", "m."), p.sink.IP+":25", "100")...))
	p.sink.listening("25")
	wire := raw.listen("25")
	go p.raw.Serve(wire)
	t.Cleanup(p.raw.Close)
	return p
}

func nth(letter string, i int) string { return fmt.Sprintf("%s%03d", letter, i) }

// sendAll brings every message on its ways.
func (p *post) sendAll(t *testing.T) {
	pf, ex := p.connect(t, p.pf), p.connect(t, p.ex)
	for i, m := range p.messages {
		octets := m.Octets()
		if out, err := p.one.tryApplet(string(octets), "sendmail", "-i", "-f", "sender@client.test", nth("s", i)+"@one.test"); err != nil {
			t.Errorf("%s: sendmail: %v\n%s", m.Name, err, out)
		}
		name, wire := p.client.path("data"), testenv.WireForm(octets)
		pf.deliver(t, m.Name, nth("p", i)+"@one.test", wire)
		ex.deliver(t, m.Name, nth("e", i)+"@one.test", wire)
		if len(octets) > 0 { // swaks adds it, but to a "." alone
			wire = bytes.TrimSuffix(wire, []byte("\r\n"))
		}
		writeFile(t, name, string(wire))
		var to []string
		for _, dest := range []string{"one", "two", "sink", "raw", "pf", "ex"} {
			to = append(to, nth("m", i)+"@"+dest+".test")
		}
		p.client.swaks(p.one.IP+":25", "--from", "sender@client.test", "--to", strings.Join(to, ","),
			"--no-data-fixup", "--data", "@"+name, "--hide-all")
	}
	pf.quit()
	ex.quit()
}

// connect opens a session from the client to a host.
func (p *post) connect(t *testing.T, to *host) *dialogue {
	t.Helper()
	conn, err := p.client.dial(to.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// deliver sends octets as they are; they end in the line ".".
func (d *dialogue) deliver(t *testing.T, name, to string, wire []byte) {
	t.Helper()
	for _, step := range []struct{ line, code string }{
		{"MAIL FROM:<sender@client.test>", "250"}, {"RCPT TO:<" + to + ">", "250"}, {"DATA", "354"},
	} {
		if err := d.expect(step.line, step.code); err != nil {
			t.Fatalf("%s: %s: %v", name, step.line, err)
		}
	}
	d.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := d.conn.Write(wire); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := d.expect("", "250"); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// settled waits until no message is on its way any more.
func (p *post) settled(t *testing.T) {
	empty := func(patterns ...string) func() bool {
		return func() bool {
			for _, pattern := range patterns {
				if names, _ := filepath.Glob(pattern); len(names) > 0 {
					return false
				}
			}
			return true
		}
	}
	until(t, time.Minute, "Postfix's queue is empty", empty(p.pf.path("pf/spool/incoming/*"), p.pf.path("pf/spool/active/*"), p.pf.path("pf/spool/deferred/*/*")))
	until(t, 90*time.Second, "Exim's queue is empty", empty(p.ex.path("ex/spool/input/*-D")))
	p.one.drained(time.Minute)
	p.two.drained(time.Minute)
	until(t, time.Minute, "Postfix has delivered everything", empty(p.pf.path("pf/spool/incoming/*"), p.pf.path("pf/spool/active/*"), p.pf.path("pf/spool/deferred/*/*")))
	until(t, 90*time.Second, "Exim has delivered everything", empty(p.ex.path("ex/spool/input/*-D")))
	p.one.drained(time.Minute)
}

// readOurs is what stands in a mailbox of ours, freed of the trace fields of
// as many servers of ours as it has seen.
func readOurs(s *site, letter string, i, hops int) ([]byte, error) {
	raw, err := os.ReadFile(s.mailbox(nth(letter, i)))
	if err != nil {
		return nil, err
	}
	return untraced(raw, hops)
}

// readTheirs is the body of the one message of a peer's mbox file.
func readTheirs(dir string, i int) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, nth("m", i)))
	if err != nil {
		return nil, err
	}
	_, s, _ := bytes.Cut(raw, []byte{'\n'}) // the From_ line
	s, ended := bytes.CutSuffix(s, []byte{'\n'})
	if !ended {
		return nil, fmt.Errorf("no empty line at the end: %q", raw[max(0, len(raw)-40):])
	}
	return bodyOf(s), nil
}

// added are the fields that mail of this machine's users gets where it has
// none of its own, at the end of its header.
var added = regexp.MustCompile(`^(From: sender@client\.test\n)?(Date: .*\n)?(Message-ID: <\S+@one\.test>\n)?`)

// submitted is what sendmail's message became, without the fields that were
// missing and are added to mail of this machine's users.
func (p *post) submitted(i int) ([]byte, error) {
	got, err := readOurs(p.one, "s", i, 1)
	if err != nil {
		return nil, err
	}
	n := headerLen(accepted(withoutFromLine(p.messages[i].Octets())))
	if n > len(got) {
		return got, nil
	}
	more := added.Find(got[n:])
	return append(got[:n:n], got[n+len(more):]...), nil
}

// sinkTop is what smtp-sink puts on top of a dumped message.
var sinkTop = regexp.MustCompile(`^(?s:X-Client-Addr: .*?\nX-Rcpt-Args: .*?\n)Received: .*\n(?:[ \t].*\n)*`)

// dumped is the message that smtp-sink wrote to a file.
func (p *post) dumped(i int) ([]byte, error) {
	names, err := filepath.Glob(p.sink.path("dump", "m.*"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		top, _ := bufio.NewReader(f).Peek(1024)
		f.Close()
		if !bytes.Contains(top, []byte("\nX-Rcpt-Args: <"+nth("m", i)+"@sink.test>")) {
			continue
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, _ := bytes.CutSuffix(raw[len(sinkTop.Find(raw)):], []byte{'\n'})
		return untrace(s, 1)
	}
	return nil, fmt.Errorf("not among %d dumps", len(names))
}

// checkWire looks at the octets that we send: CR and LF only as line ends, no
// line over 998 octets, and the whole message.
func (p *post) checkWire(t *testing.T) {
	seen := map[string]testenv.SinkMessage{}
	for _, m := range p.raw.Messages() {
		user, _, _ := strings.Cut(m.To()[0], "@")
		seen[user] = m
	}
	for i, m := range p.messages {
		got, ok := seen[nth("m", i)]
		if !ok {
			t.Errorf("%s: did not arrive", m.Name)
			continue
		}
		for line := range bytes.SplitSeq(bytes.TrimSuffix(got.Wire, []byte("\r\n")), []byte("\r\n")) {
			if bytes.ContainsAny(line, "\r\n") {
				t.Errorf("%s: a CR or LF alone (A2) in %.100q", m.Name, line)
			}
			if len(bytes.TrimPrefix(line, []byte{'.'})) > 998 {
				t.Errorf("%s: a line of %d octets (A6)", m.Name, len(line))
			}
		}
		text, err := untrace([]byte(got.Text()), 1)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		want := accepted(m.Octets())
		differ(t, m.Name, testenv.Unfold(text, want), want)
	}
}
