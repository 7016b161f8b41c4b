//go:build e2e

package milters

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// acts are what testdata/beside.py knows.
var acts = strings.Fields("none accept insert0 insert1 insert2 insert99 inserts add bare change second missing beyond delete received body nobody rcpts sender many forward first empty crlf written hold reject tempfail reply discard")

const top = "From: joe@client.test\r\nTo: bob@far.test\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nMessage-ID: <a@client.test>\r\n"

// shapes are messages as they go over the wire, by name.
func shapes() map[string]string {
	var binary strings.Builder
	for c := 1; c < 256; c++ {
		if c != '\r' && c != '\n' {
			binary.WriteByte(byte(c))
		}
	}
	return map[string]string{
		"plain":   top + "Subject: Greetings\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\nHello,\r\n",
		"octets":  top + "Subject: Gr\xc3\xbc\xc3\x9fe \xe4\r\nX-Twice: \xff\r\nx-twice: 2\r\n\r\nK\xf6ln\r\n",
		"long":    top + "Subject: " + strings.Repeat("wide ", 170) + "end" + "\r\nX-Twice: 1\r\n\r\n" + strings.Repeat("0123456789", 900) + "\r\nend\r\n",
		"naked":   "\r\nno header at all\r\n",
		"text":    "no header, and no empty line\r\nSubject: not one\r\n\r\nmore\r\n",
		"dots":    top + "Subject: .\r\n\r\n.\r\n..\r\n.dot\r\n\r\n.\r\n",
		"folded":  top + "Subject: one\r\n two\r\n\tthree\r\nX-Empty:\r\nX-Blank: \r\nX-Folded:\r\n alone\r\nX-Tight:value\r\nX-Wide:   value  \r\nX-Tab:\tvalue\r\nX-Twice:1\r\nX-Twice:\r\n\r\nbody\r\n",
		"binary":  top + "Subject: octets\r\n\r\n" + binary.String() + "\r\n",
		"bare":    top + "X-Twice: 1\r\nX-Twice: 2\r\nX-Twice: 3\r\n\r\nno subject\r\n",
		"big":     top + "Subject: big\r\n\r\n" + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 1280),
		"header":  top + "Subject: header alone\r\n",
		"trace":   "Received: from a by b; Mon, 2 Mar 2026 10:00:00 +0000\r\nReturn-Path: <x@y.test>\r\nReceived: from c\r\n by d; Mon, 2 Mar 2026 10:00:00 +0000\r\n" + top + "Subject: seen\r\n\r\nend\r\n",
		"nothing": "",
		"spaced":  top + "Subject : a blank before the colon\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n\r\n\r\nempty lines\r\n\r\n\r\n",
	}
}

// beside is one of the two servers.
type beside struct {
	*lan.Host
	rec     *recorder
	seen    map[string][]string // what the filter heard, by key of the message
	replies map[string]string   // to the final dot
	goesOn  map[string]bool     // the messages that were sent
}

// newBeside has a filter heard by way of a recorder at record.sock.
func newBeside(h *lan.Host, filter string) *beside {
	return &beside{h, record(h.T, h.Path("record.sock"), filter), map[string][]string{}, map[string]string{}, map[string]bool{}}
}

// letter sends a message of a shape, for which the filter shall act.
func (b *beside) letter(client *lan.Host, act, shape, text string) {
	t := b.T
	key := act + "." + shape
	b.goesOn[key] = true
	conn, err := client.Dial(b.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Conn.Close()
	lines := []string{"MAIL FROM:<" + key + "@client.test> BODY=8BITMIME"}
	n := 2
	if shape == "plain" {
		n = 30
	}
	for i := range n {
		lines = append(lines, fmt.Sprintf("RCPT TO:<%s.%d@far.test>", key, i))
	}
	for _, line := range lines {
		if err := d.Expect(line, "250"); err != nil {
			t.Fatalf("%s: %s: %v", b.Name, key, err)
		}
	}
	if err := d.Expect("DATA", "354"); err != nil {
		t.Fatal(err)
	}
	var stuffed strings.Builder
	for line := range strings.SplitAfterSeq(text, "\n") {
		if strings.HasPrefix(line, ".") {
			stuffed.WriteByte('.')
		}
		stuffed.WriteString(line)
	}
	if b.replies[key], err = d.Say(stuffed.String() + "."); err != nil {
		t.Fatal(err)
	}
	d.Quit()
	lan.Until(t, 10*time.Second, "the filter hears of the end", func() bool {
		b.rec.mu.Lock()
		defer b.rec.mu.Unlock()
		n := len(b.rec.lines)
		return n > 0 && b.rec.lines[n-1] == "Q "
	})
	b.seen[key] = b.rec.take()
}

// A difference is a step, or a step and a macro, that differs, and the reason.
type difference struct{ what, why string }

// differences are what a filter hears of one server in another way, or of one alone, by
// step and macro, with the reason. docs/decisions/0032-filters.md has them too.
var differences = [...]difference{
	{"C v", "the server's own name and version"},
	{"C daemon_name", "MTA, as sendmail says; Postfix says its host name, which is j"},
	{"C daemon_port", "here alone: sendmail's"},
	{"C daemon_addr", "the server's own address"},
	{"C if_addr", "here alone: sendmail's"},
	{"C if_name", "here alone: sendmail's"},
	{"C client_addr", "here alone, as a macro: Postfix leaves it to milter_connect_macros"},
	{"C client_name", "here alone, the same"},
	{"C client_port", "here alone, the same"},
	{"C client_ptr", "here alone, the same"},
	{"C client_resolve", "here alone: sendmail's"},
	{"M i", "here alone: Postfix has no ID before the first recipient"},
	{"M mail_host", "the domain: Postfix says where its mail would go"},
	{"M mail_mailer", "sendmail's esmtp: Postfix says its own transport"},
	{"R i", "the ID; of Postfix none with the first recipient"},
	{"R rcpt_host", "the domain: Postfix says where it goes"},
	{"R rcpt_mailer", "sendmail's esmtp: Postfix says its own transport"},
	{"T i", "the ID"},
	{"N i", "the ID"},
	{"E i", "the ID"},
	{"E msg_id", "here alone: sendmail's"},
	{"L i", "there alone: Postfix says the ID again with each field"},
	{"B i", "there alone, with each piece of the body"},
	{"A", "there alone: Postfix says abort at each end of a session too, without a message"},
}

// TestBesidePostfix: the same filter, the same messages and Postfix: what goes on is the
// same octet for octet but for the server's own field Received, and what the filter hears
// is the same but for the differences above, each of which there is (S94).
func TestBesidePostfix(t *testing.T) {
	l := lan.New(t)
	l.DNS("client.test. IN A 10.77.0.2", "2.0.77.10.in-addr.arpa. IN PTR client.test.", "far.test. IN MX 10 sink.test.", "sink.test. IN A 10.77.0.3")
	client, far := l.Host("client.test"), l.Host("sink.test")
	kept := newSink(far)
	site, postfix := l.Host("one.test").Install(), l.Host("two.test")
	socket := site.Path("filter.sock")
	filter(site, socket, "/usr/bin/python3", program(site, "beside.py"), socket)
	ours, theirs := newBeside(site.Host, socket), newBeside(postfix, socket)
	site.Configure("listen="+site.IP+":25", "filter="+site.Path("record.sock")+" name=tested fail=tempfail", "trusted="+client.IP,
		"hostname=mail.test", "local-domains=mail.test", "relay-host=["+far.IP+"]")
	site.Serve()
	postfix.Postfix("myhostname=mail.test", "mydestination=mail.test", "mynetworks="+client.IP, "relayhost=["+far.IP+"]",
		"smtpd_milters=unix:"+postfix.Path("record.sock"), "milter_default_action=tempfail")

	all := shapes()
	for shape, text := range all {
		for _, act := range acts {
			ours.letter(client, act, shape, text)
			theirs.letter(client, act, shape, text)
		}
	}
	// Those that are held come when they are released, and no other is.
	for _, act := range []string{"reject", "tempfail", "reply", "discard", "hold"} {
		for shape := range all {
			delete(ours.goesOn, act+"."+shape)
		}
	}
	n := len(ours.goesOn)
	for _, b := range []*beside{ours, theirs} {
		lan.Until(t, time.Minute, b.Name+" has sent all on", func() bool { return len(kept.from(b.IP)) >= n })
		if got := len(kept.from(b.IP)); got != n {
			t.Errorf("%s has sent %d messages on, want %d", b.Name, got, n)
		}
	}
	for shape := range all {
		_, id, _ := strings.Cut(ours.replies["hold."+shape], "queued as ")
		site.Run(lan.Binary, "queue", "-C", site.Config, "release", id)
	}
	postfix.Run(lan.PostfixTool(t, "postsuper", "-c", postfix.Path("pf", "etc"), "-H", "ALL")...)
	postfix.Run(lan.PostfixTool(t, "postqueue", "-c", postfix.Path("pf", "etc"), "-f")...)
	n += len(all)
	for _, b := range []*beside{ours, theirs} {
		lan.Until(t, time.Minute, b.Name+" has sent on what was held", func() bool { return len(kept.from(b.IP)) >= n })
	}
	sameMail(t, kept.from(site.IP), kept.from(postfix.IP))
	sameWords(t, ours, theirs, differences[:], nil)
}

// sameMail compares what both servers sent on.
func sameMail(t *testing.T, mine, other map[string]*arrival) {
	for _, key := range slices.Sorted(maps.Keys(mine)) {
		a, b := mine[key], other[key]
		if b == nil {
			t.Errorf("%s: there is none of Postfix", key)
			continue
		}
		act, shape, _ := strings.Cut(key, ".")
		text, other, recipients := withoutReceived(a.text), withoutReceived(b.text), b.recipients
		if shape == "spaced" { // Postfix takes the blank away, we leave fields as they are
			text = strings.Replace(text, "Subject : ", "Subject: ", 1)
		}
		switch act {
		case "crlf": // Postfix takes the CR for a part of the value
			other = strings.ReplaceAll(other, "\r\r\n", "\r\n")
		case "written": // Postfix adds who is there, and doesn't find a domain in capitals
			recipients = slices.DeleteFunc(slices.Compact(recipients), func(to string) bool { return strings.HasSuffix(to, ".1@far.test>") })
		}
		if a.sender != b.sender || !slices.Equal(a.recipients, recipients) || act == "written" && len(recipients) != len(b.recipients)-2 {
			t.Errorf("%s goes on from %s to %v, by Postfix from %s to %v", key, a.sender, a.recipients, b.sender, b.recipients)
		}
		lan.Differ(t, key, []byte(text), []byte(other))
	}
}

// sameWords compares what the filter heard of both servers. Each of the one list of
// differences must be there, those of the other may.
func sameWords(t *testing.T, ours, theirs *beside, must, may []difference) {
	found := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(ours.seen)) {
		mine, myMacros := apart(ours.seen[key])
		other, macros := apart(theirs.seen[key])
		other = slices.DeleteFunc(other, func(line string) bool {
			found["A"] = found["A"] || line == "A "
			return line == "A "
		})
		if strings.HasSuffix(key, ".spaced") {
			for i := range mine {
				mine[i] = strings.Replace(mine[i], "L Subject \x00", "L Subject\x00", 1)
			}
		}
		for i := range min(len(mine), len(other)) {
			if word, _, more := strings.Cut(mine[i][2:], " "); mine[i][0] == 'U' && more && other[i] == "U "+word+"\x00" {
				found["U"], mine[i] = true, other[i]
			}
		}
		lan.Differ(t, key+", what the filter hears", []byte(strings.Join(mine, "\n")), []byte(strings.Join(other, "\n")))
		for _, name := range slices.Concat(slices.Collect(maps.Keys(myMacros)), slices.Collect(maps.Keys(macros))) {
			if !slices.Equal(myMacros[name], macros[name]) {
				found[name] = true
			}
		}
	}
	for _, d := range may {
		delete(found, d.what)
	}
	for _, d := range must {
		if !found[d.what] {
			t.Errorf("%s is no difference any more", d.what)
		}
		delete(found, d.what)
	}
	for name := range found {
		t.Errorf("%s is another than of Postfix", name)
	}
}

// apart takes what a filter heard apart: the steps in their order, a body in one, and the
// values of each macro by step and name.
func apart(lines []string) (steps []string, macros map[string][]string) {
	macros = map[string][]string{}
	for _, line := range lines {
		switch {
		case line[0] == 'O': // what the server can do
		case line[0] == 'D':
			name, value, _ := strings.Cut(line[1:], "=")
			macros[name] = append(macros[name], value)
		case line[0] == 'B' && len(steps) > 0 && steps[len(steps)-1][0] == 'B':
			steps[len(steps)-1] += line[2:]
		case line[0] == 'C': // behind the name stand a letter and the client's port
			steps = append(steps, strings.Split(line, "\x00")[0])
		default:
			steps = append(steps, line)
		}
	}
	return steps, macros
}
