package milter

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv/testfilter"
)

// A told is the connection to a filter whose words are known beforehand. It takes
// whatever it is told.
type told struct {
	net.Conn // nil: nothing else is called
	words    io.Reader
	read     int
}

func (c *told) Read(p []byte) (int, error) {
	n, err := c.words.Read(p)
	c.read += n
	return n, err
}
func (c *told) Write(p []byte) (int, error)   { return len(p), nil }
func (c *told) SetDeadline(t time.Time) error { return nil }
func (c *told) Close() error                  { return nil }

// FuzzFilter: whatever a filter says in a session of two messages, a session gets either
// an error or what can't break it: replies that are refusals of printable ASCII, fields
// that are one field, addresses that are addresses. Memory doesn't grow with what is
// said.
func FuzzFilter(f *testing.F) {
	word := testfilter.Number
	all := reply('O', word(6)+word(allActions)+word(canSkip))
	quiet := reply('O', word(6)+word(allActions)+word(noConnect|noHelo|noMail|noRcpt|noData|noHeader|noEndOfHeader|noBody))
	next := strings.Repeat(reply('c', ""), 10)
	for _, fault := range faults {
		f.Add([]byte(all + fault.octets))
		f.Add([]byte(quiet + fault.octets))
	}
	f.Add([]byte(all + next + next))
	f.Add([]byte(reply('O', word(2)+word(0)+word(0)+word(1)+"i {j}\x00") + next))
	f.Add([]byte(quiet + reply('h', "X\x00y\n z\x00") + reply('i', word(1)+"X\x00y") + reply('m', word(0)+"X\x00") + reply('c', "")))
	f.Add([]byte(quiet + reply('+', "<a@b.example>\x00") + reply('2', "b@c\x00NOTIFY=NEVER\x00") + reply('-', "x\x00") + reply('e', "<>\x00RET=HDRS\x00") + reply('a', "")))
	f.Add([]byte(quiet + reply('b', "x\r") + reply('p', "") + reply('b', "\ny") + reply('q', "why\n\x00") + reply('y', "550-5.7.1 a\r\n550 5.7.1 %s\x00")))
	f.Fuzz(func(t *testing.T, words []byte) {
		conn := &told{words: bytes.NewReader(words)}
		c, err := Dial(context.Background(), Options{MaxBody: 1000, Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
		if err != nil {
			return
		}
		defer c.Close()
		if !strings.HasPrefix(c.Terms().String(), "version ") {
			t.Errorf("terms %q", c.Terms())
		}
		for range 2 {
			var body bytes.Buffer
			_, r, err := messageTo(c, &body)
			if err != nil {
				if _, again := c.Mail("<>", nil, nil); again != err {
					t.Errorf("after %v: %v", err, again)
				}
				if c.data.Cap() > 2*maxText+bytes.MinRead || body.Len() > 1001 {
					t.Errorf("%d octets of a packet, %d of a body are kept", c.data.Cap(), body.Len())
				}
				return
			}
			checkReply(t, r.Verdict)
			checkEdits(t, r, c.rcpts)
			if err := c.Abort(); err != nil {
				t.Error(err)
			}
		}
	})
}

// checkReply holds a reply to being a refusal that is read as it is written.
func checkReply(t *testing.T, v Verdict) {
	if v.Action == ReplyCode != v.Reply.IsZero() == (v.Action != Shutdown) {
		t.Errorf("%+v", v)
	}
	if v.Reply.IsZero() {
		return
	}
	r := bufio.NewReader(bytes.NewReader(v.Reply.Append(nil)))
	if got, err := smtp.ReadReply(r); err != nil || got.Code != v.Reply.Code || r.Buffered() > 0 || got.Class() < 4 {
		t.Errorf("%+v is read as %+v, %v", v.Reply, got, err)
	}
	for _, c := range []byte(v.Reply.Text) {
		if c != '\n' && !smtp.IsPrintable(c) {
			t.Errorf("%+v has %q in it", v.Reply, c)
		}
	}
}

// checkEdits holds edits to breaking nothing.
func checkEdits(t *testing.T, r Result, rcpts int) {
	if len(r.Edits)+len(r.Refused) > maxEdits+1+rcpts {
		t.Errorf("%d edits and %d refused", len(r.Edits), len(r.Refused))
	}
	bodies := 0
	for _, e := range r.Edits {
		switch e.Kind {
		case AddHeader, InsertHeader, ChangeHeader, DeleteHeader:
			field := e.Name + ":" + e.Value + "\n"
			for i, line := range strings.SplitAfter(strings.TrimSuffix(field, "\n"), "\n") {
				if blank := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"); blank != (i > 0) || strings.TrimSpace(line) == "" {
					t.Errorf("%q is more than one field", field)
				}
			}
			if strings.ContainsAny(field, "\r\x00") || strings.IndexByte(field, ':') != len(e.Name) || e.Name == "" || e.Index < 0 {
				t.Errorf("%+v", e)
			}
		case AddRcpt, DeleteRcpt, ChangeFrom:
			if p, rest, err := smtp.ParsePath(e.Path.String()); err != nil || rest != "" || p != e.Path || p.IsNull() && e.Kind != ChangeFrom {
				t.Errorf("%+v is read as %v, %v", e, p, err)
			}
		case ReplaceBody:
			bodies++
		case Quarantine:
			if strings.IndexFunc(e.Value, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
				t.Errorf("%+v", e)
			}
		}
	}
	if bodies > 1 {
		t.Errorf("%d new bodies", bodies)
	}
}

// FuzzBody: however a body is cut, the filter gets it with each line end as CR LF.
func FuzzBody(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\r\r\n\n"), 3, 7)
	f.Add([]byte("\r\n"), 1, 2)
	f.Fuzz(func(t *testing.T, body []byte, cut, room int) {
		if cut < 1 || room < 2 || len(body) > 1000 {
			return
		}
		var got bytes.Buffer
		cr := false
		for rest := body; len(rest) > 0; {
			piece := rest[:min(cut, len(rest))]
			rest = rest[len(piece):]
			for len(piece) > 0 {
				n, size := fit(piece, cr, room)
				if n == 0 || size > room {
					t.Fatalf("%q: %d octets make %d, with room for %d", piece, n, size, room)
				}
				var packet bytes.Buffer
				c := Conn{w: bufio.NewWriter(&packet), cr: cr}
				c.writeBody(piece[:n], size)
				c.w.Flush()
				if cr = c.cr; packet.Len() != 5+size {
					t.Fatalf("%q is a packet of %d octets, want %d", piece[:n], packet.Len(), 5+size)
				}
				got.Write(packet.Bytes()[5:])
				piece = piece[n:]
			}
		}
		want := strings.ReplaceAll(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n", "\r\n")
		if got.String() != want {
			t.Errorf("%q: %q, want %q", body, got.String(), want)
		}
	})
}
