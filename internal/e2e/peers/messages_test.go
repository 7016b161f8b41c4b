//go:build e2e

package peers

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

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// post is the lan in which the collection of messages travels: a client, two
// postoffices, Postfix, Exim, smtp-sink, and a sink that keeps what was on
// the wire.
type post struct {
	client   *lan.Host
	one, two *lan.Site
	pf, ex   *lan.Host
	sink     *lan.Host
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
				lan.Differ(t, m.Name, got, want)
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
	{name: "BDAT, us, mailbox", want: accepted,
		read: func(p *post, i int) ([]byte, error) { return readOurs(p.one, "b", i, 1) }},
	{name: "us, us, mailbox", want: accepted, folded: true,
		read: func(p *post, i int) ([]byte, error) { return readOurs(p.two, "m", i, 2) }},
	{name: "us, smtp-sink", want: accepted, folded: true,
		read: func(p *post, i int) ([]byte, error) { return p.dumped(i) }},
	{name: "us, Postfix, mailbox", want: func(sent []byte) []byte { return quoteFrom(bodyOf(accepted(sent))) }, folded: true,
		read: func(p *post, i int) ([]byte, error) { return readTheirs(p.pf.Path("pf", "mail"), i) }},
	{name: "us, Exim, mailbox", want: func(sent []byte) []byte { return quoteFrom(bodyOf(accepted(sent))) }, folded: true,
		read: func(p *post, i int) ([]byte, error) { return readTheirs(p.ex.Path("ex", "mail"), i) }},
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
	l := lan.New(t)
	var records []string
	for i, name := range []string{"one", "two", "pf", "ex", "sink", "raw", "client"} {
		records = append(records, fmt.Sprintf("%s.test. IN A 10.77.0.%d", name, i+2), fmt.Sprintf("%s.test. IN MX 10 %s.test.", name, name))
	}
	l.DNS(records...)
	var users []lan.User
	for j, letter := range []string{"m", "s", "p", "e", "b"} {
		for i := range p.messages {
			id := 3000 + 200*j + i
			users = append(users, lan.Account(lan.Nth(letter, i), id))
		}
	}
	p.one = l.Host("one.test", users...).Install("trusted=10.77.0.8", "clients=200")
	p.two = l.Host("two.test", users...).Install()
	p.pf, p.ex = l.Host("pf.test", users...), l.Host("ex.test", append(users, lan.EximUsers...)...)
	p.sink = l.Host("sink.test")
	raw := l.Host("raw.test")
	p.client = l.Host("client.test")

	p.one.Serve()
	p.two.Serve()
	p.pf.Postfix("message_size_limit=0", "mailbox_size_limit=0", "mynetworks=10.77.0.0/24", "in_flow_delay=0",
		"smtp_line_length_limit=0") // else it breaks lines over 998 before we see them
	p.ex.Exim()
	p.sink.Start(p.sink.Command(context.Background(),
		lan.PostfixTool(t, "smtp-sink", "-u", "root", "-d", p.sink.Path("dump", "m."), p.sink.IP+":25", "100")...))
	p.sink.Listening("25")
	wire := raw.Listen("25")
	go p.raw.Serve(wire)
	t.Cleanup(p.raw.Close)
	return p
}

// sendAll brings every message on its ways.
func (p *post) sendAll(t *testing.T) {
	pf, ex, us := p.connect(t, p.pf), p.connect(t, p.ex), p.connect(t, p.one.Host)
	for i, m := range p.messages {
		octets := m.Octets()
		if out, err := p.one.TryApplet(string(octets), "sendmail", "-i", "-f", "sender@client.test", lan.Nth("s", i)+"@one.test"); err != nil {
			t.Errorf("%s: sendmail: %v\n%s", m.Name, err, out)
		}
		name, wire := p.client.Path("data"), testenv.WireForm(octets)
		deliver(pf, t, m.Name, lan.Nth("p", i)+"@one.test", wire)
		deliver(ex, t, m.Name, lan.Nth("e", i)+"@one.test", wire)
		inChunks(us, t, m.Name, lan.Nth("b", i)+"@one.test", octets)
		if len(octets) > 0 { // swaks adds it, but to a "." alone
			wire = bytes.TrimSuffix(wire, []byte("\r\n"))
		}
		lan.WriteFile(t, name, string(wire))
		var to []string
		for _, dest := range []string{"one", "two", "sink", "raw", "pf", "ex"} {
			to = append(to, lan.Nth("m", i)+"@"+dest+".test")
		}
		p.client.Swaks(p.one.IP+":25", "--from", "sender@client.test", "--to", strings.Join(to, ","),
			"--no-data-fixup", "--data", "@"+name, "--hide-all")
	}
	pf.Quit()
	ex.Quit()
	us.Quit()
}

// connect opens a session from the client to a host.
func (p *post) connect(t *testing.T, to *lan.Host) *lan.Dialogue {
	t.Helper()
	conn, err := p.client.Dial(to.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// deliver sends octets as they are; they end in the line ".".
func deliver(d *lan.Dialogue, t *testing.T, name, to string, wire []byte) {
	t.Helper()
	for _, step := range []struct{ line, code string }{
		{"MAIL FROM:<sender@client.test>", "250"}, {"RCPT TO:<" + to + ">", "250"}, {"DATA", "354"},
	} {
		if err := d.Expect(step.line, step.code); err != nil {
			t.Fatalf("%s: %s: %v", name, step.line, err)
		}
	}
	d.Conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := d.Conn.Write(wire); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := d.Expect("", "250"); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// inChunks sends octets by BDAT (RFC 3030), each LF that has no CR with one, in chunks
// that end anywhere; the last one has none where their number is even.
func inChunks(d *lan.Dialogue, t *testing.T, name, to string, octets []byte) {
	t.Helper()
	wire := bytes.ReplaceAll(bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	for _, line := range []string{"MAIL FROM:<sender@client.test>", "RCPT TO:<" + to + ">"} {
		if err := d.Expect(line, "250"); err != nil {
			t.Fatalf("%s: %s: %v", name, line, err)
		}
	}
	chunk := func(octets []byte, last string) {
		t.Helper()
		d.Conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(d.Conn, "BDAT %d%s\r\n%s", len(octets), last, octets); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := d.Expect("", "250"); err != nil {
			t.Errorf("%s: BDAT %d%s: %v", name, len(octets), last, err)
		}
	}
	sizes := []int{1, 2, 61, 1021, 64 << 10}
	for n := 0; len(wire) > 0 && n < 20; n++ {
		size := min(sizes[n%len(sizes)], len(wire))
		if size == len(wire) && n%2 == 1 {
			break
		}
		chunk(wire[:size], "")
		wire = wire[size:]
	}
	chunk(wire, " LAST")
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
	lan.Until(t, time.Minute, "Postfix's queue is empty", empty(p.pf.Path("pf/spool/incoming/*"), p.pf.Path("pf/spool/active/*"), p.pf.Path("pf/spool/deferred/*/*")))
	lan.Until(t, 90*time.Second, "Exim's queue is empty", empty(p.ex.Path("ex/spool/input/*-D")))
	p.one.Drained(time.Minute)
	p.two.Drained(time.Minute)
	lan.Until(t, time.Minute, "Postfix has delivered everything", empty(p.pf.Path("pf/spool/incoming/*"), p.pf.Path("pf/spool/active/*"), p.pf.Path("pf/spool/deferred/*/*")))
	lan.Until(t, 90*time.Second, "Exim has delivered everything", empty(p.ex.Path("ex/spool/input/*-D")))
	p.one.Drained(time.Minute)
}

// readOurs is what stands in a mailbox of ours, freed of the trace fields of
// as many servers of ours as it has seen.
func readOurs(s *lan.Site, letter string, i, hops int) ([]byte, error) {
	raw, err := os.ReadFile(s.Mailbox(lan.Nth(letter, i)))
	if err != nil {
		return nil, err
	}
	return untraced(raw, hops)
}

// readTheirs is the body of the one message of a peer's mbox file.
func readTheirs(dir string, i int) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, lan.Nth("m", i)))
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
	names, err := filepath.Glob(p.sink.Path("dump", "m.*"))
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
		if !bytes.Contains(top, []byte("\nX-Rcpt-Args: <"+lan.Nth("m", i)+"@sink.test>")) {
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
		got, ok := seen[lan.Nth("m", i)]
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
		lan.Differ(t, m.Name, testenv.Unfold(text, want), want)
	}
}
