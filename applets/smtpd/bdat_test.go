package smtpd

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A8: what is no number of octets, or no LAST, ends the session: nobody knows where
// the next command is.
func TestA8BadSizes(t *testing.T) {
	for _, arg := range []string{
		"", " ", " -1", " abc", " 1x", " 0x10", " +5", " 5 LAST LAST", " 99999999999999999999", " 5,0", " 5 FIRST", " LAST", " 1\x01", "\x005", " 5\tLAST", " \xff",
		strings.Repeat(" ", 5000) + "5", " 5" + strings.Repeat(" ", 5000) + "LAST",
	} {
		for _, opened := range []bool{false, true} {
			q := &memQueue{}
			in := "EHLO x\r\n"
			if opened {
				in += "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\nBDAT 1\r\na"
			}
			replies, open := replyLines(t, arg, exchange(t, New(options(q)), Relay, in+"BDAT"+arg+"\r\nMAIL FROM:<a@b.example>\r\nQUIT\r\n"))
			last := replies[len(replies)-1]
			if !strings.HasPrefix(last, "50") && !strings.HasPrefix(last, "421 ") || open != "" || len(q.messages())+q.unfinished() > 0 {
				t.Errorf("BDAT%q, with a chunk before it %v: %q, %d messages", arg, opened, last, len(q.messages()))
			}
		}
	}
}

// A8: a client that was refused can't have its chunks run as commands either.
func TestA8Barred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Checker = func(*Client) Checker { return &plan{t: t, moves: "d"} }
		all := exchange(t, New(o), Relay, "BDAT 10\r\n\r\nQUIT\r\n\r\nBDAT 10 LAST\r\n\r\nQUIT\r\n\r\nQUIT\r\n")
		if replies, _ := replyLines(t, "", all); len(replies) != 4 || !strings.HasPrefix(replies[3], "221 ") {
			t.Errorf("a client that was refused hears %q, want greeting, two refusals and 221", replies)
		}
	})
}

// A74, any number of chunks is one message, and chunks of nothing are not.
func TestA74ManyChunks(t *testing.T) {
	q := &memQueue{}
	envelope := "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\n"
	exchange(t, New(options(q)), Relay, envelope+strings.Repeat("BDAT 4\r\nab\r\n", 5000)+"BDAT 0 LAST\r\nQUIT\r\n")
	if m := q.messages(); len(m) != 1 || !strings.HasSuffix(m[0].Data, "\n"+strings.Repeat("ab\n", 5000)) {
		t.Errorf("5000 chunks are %d messages", len(m))
	}
	replies, _ := replyLines(t, "", exchange(t, New(options(q)), Relay, envelope+strings.Repeat("BDAT 0\r\n", 200)))
	if last := replies[len(replies)-1]; !strings.HasPrefix(last, "421 4.7.0") || len(replies) > maxCommands+10 {
		t.Errorf("200 empty chunks: %d replies, the last %q", len(replies), last)
	}
}

// A35: chunks that wait for the next have their share of the room, give it back, and end
// when there is none.
func TestA35Chunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tight(64)
		s := New(options(q))
		hog := dial(t, s)
		begin := func(c *talker) {
			for _, line := range []string{"EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>"} {
				if r := c.do(line); r.Code != 250 {
					t.Fatalf("%s: %v", line, r)
				}
			}
		}
		begin(hog)
		hog.send(fmt.Sprintf("BDAT %d\r\n", 15*mebi))
		hog.send(lines(15))
		hog.want(250)
		second := dial(t, s)
		begin(second)
		second.send(fmt.Sprintf("BDAT %d\r\n", 15*mebi))
		second.send(lines(15))
		if r := second.read(); r.Code != 452 || r.Status != "4.3.1" {
			t.Errorf("a second one of one network: %v, want 452 4.3.1", r)
		}
		if r := second.do("BDAT 0 LAST"); r.Code != 503 {
			t.Errorf("the end of a message that was refused: %v, want 503", r)
		}
		if r := hog.do("RSET"); r.Code != 250 {
			t.Errorf("RSET: %v", r)
		}
		synctest.Wait()
		if q.unfinished() > 0 || q.held.Holders() != 0 {
			t.Errorf("%d messages, and something of %d is counted when nothing comes", q.unfinished(), q.held.Holders())
		}
	})
}

// A28: 250 to the last chunk is the one that means the message is on disk; an error of
// the queue is told at the chunk that meets it.
func TestA28Chunks(t *testing.T) {
	for _, tt := range []struct {
		break_ func(*memQueue)
		want   string
	}{
		{func(q *memQueue) { q.begin = errNoSpace }, "452 503"},
		{func(q *memQueue) { q.write = errNoSpace }, "452 503"},
		{func(q *memQueue) { q.commit = errNoSpace }, "250 452"},
		{func(*memQueue) {}, "250 250"},
	} {
		q := &memQueue{}
		tt.break_(q)
		c := dial(t, New(options(q)))
		for _, line := range []string{"EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>"} {
			c.do(line)
		}
		big := strings.Repeat("x", 3*outBlock) // a small one waits for more
		first := c.do(fmt.Sprintf("BDAT %d\r\n%s", len(big)+2, big))
		last := c.do("BDAT 3 LAST\r\nb")
		if got := fmt.Sprint(first.Code, " ", last.Code); got != tt.want || q.unfinished() > 0 {
			t.Errorf("replies to two chunks: %s, want %s; %d messages are open", got, tt.want, q.unfinished())
		}
	}
}

// A8: a chunk without octets behind the delay for errors, for which the session gave its
// buffers back, is answered as any other, and the last one ends the message.
func TestA8EmptyChunkBehindDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		o := options(q)
		o.SoftErrors, o.HardErrors, o.ErrorDelay = 1, 20, time.Second
		c := dial(t, New(o))
		for _, line := range []string{"EHLO x", "BDAT 0", "NONSENSE", "BDAT 0 LAST", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>"} {
			c.do(line)
		}
		c.do("BDAT 3\r\na")
		c.do("NONSENSE")
		if r := c.do("BDAT 0 LAST"); r.Code != 250 || len(q.messages()) != 1 {
			t.Errorf("%+v, and %d messages are queued", r, len(q.messages()))
		}
	})
}

// body is a stored message behind our trace field.
func body(m stored) string {
	parts := strings.SplitN(m.Data, "\n", 4)
	return parts[3]
}

// FuzzBDAT: the same octets by DATA and in chunks cut anywhere, with commands between
// them, are the same message in the queue.
func FuzzBDAT(f *testing.F) {
	f.Add("Subject: x\r\n\r\n.\r\nbody\r\n", 3, 14, false)
	f.Add(" X: y\r\nReturn-Path: <a>\r\n\r\n\r.\n", 1, 2, true)
	f.Add("", 0, 0, false)
	f.Fuzz(func(t *testing.T, octets string, a, b int, program bool) {
		if octets != "" && !strings.HasSuffix(octets, "\r\n") {
			octets += "\r\n" // what a last line without it becomes is for FuzzChunks
		}
		a = max(0, min(a, len(octets)))
		b = max(a, min(b, len(octets)))
		kind := Relay
		if program {
			kind = Local
		}
		begin := "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\n"
		wire := strings.ReplaceAll("\r\n"+octets, "\r\n.", "\r\n..")[2:]
		var got [2][]stored
		for i, in := range []string{
			"DATA\r\n" + wire + ".\r\n",
			fmt.Sprintf("BDAT %d\r\n%sNOOP\r\nBDAT %d\r\n%sBDAT %d LAST\r\n%s", a, octets[:a], b-a, octets[a:b], len(octets)-b, octets[b:]),
		} {
			q := &memQueue{}
			all := exchange(t, New(options(q)), kind, begin+in+"NOOP\r\nQUIT\r\n")
			if replies, _ := replyLines(t, in, all); !strings.HasPrefix(replies[len(replies)-2], "250 2.0.0 ok") {
				t.Fatalf("%q: out of step: %q", in, replies)
			}
			got[i] = q.messages()
		}
		if len(got[0]) != len(got[1]) || len(got[0]) == 1 && !program && body(got[0][0]) != body(got[1][0]) {
			t.Errorf("%q by DATA is %v, cut at %d and %d %v", octets, got[0], a, b, got[1])
		}
	})
}

// chunkModel is what a session should do with FuzzBDATOrder's script.
type chunkModel struct {
	mail, rcpt, chunks bool
	text               string
	stored             []string
}

// step takes one letter of a script, and returns what is sent and the code it gets.
func (m *chunkModel) step(op byte, n int) (send string, code int) {
	const evil = "\r\n.\r\nQUIT\r\nBDAT 5\r\nRSET\r\n"
	switch op % 8 {
	case 0:
		if m.mail {
			return "MAIL FROM:<a@b.example>\r\n", 503
		}
		m.mail = true
		return "MAIL FROM:<a@b.example>\r\n", 250
	case 1:
		if !m.mail || m.chunks {
			return "RCPT TO:<alice@us.example>\r\n", 503
		}
		m.rcpt = true
		return "RCPT TO:<alice@us.example>\r\n", 250
	case 2:
		stored := m.stored
		*m = chunkModel{stored: stored}
		return "RSET\r\n", 250
	case 3:
		if m.rcpt && !m.chunks {
			return "NOOP\r\n", 250 // not DATA, which would be taken
		}
		return "DATA\r\n", 503
	}
	n %= len(evil) + 1
	last := op%8 == 7
	word := ""
	if last {
		word = " LAST"
	}
	send = fmt.Sprintf("BDAT %d%s\r\n%s", n, word, evil[:n])
	if !m.rcpt {
		*m = chunkModel{stored: m.stored}
		return send, 503
	}
	m.chunks, m.text = true, m.text+evil[:n]
	if last {
		*m = chunkModel{stored: append(m.stored, m.text)}
	}
	return send, 250
}

// FuzzBDATOrder: whatever the order of commands and chunks, each gets its one reply,
// no octet of a chunk is a command, and what was taken is what is stored.
func FuzzBDATOrder(f *testing.F) {
	f.Add("\x00\x01\x04\x14\x07\x20\x07")
	f.Add("\x04\x07\x00\x07\x00\x01\x02\x07\x00\x01\x0c\x03\x0f")
	f.Fuzz(func(t *testing.T, script string) {
		q, m, refused := &memQueue{}, &chunkModel{}, 0
		c := dial(t, New(options(q)))
		c.do("EHLO x")
		for i := 0; i < min(len(script), 60) && refused < 20; i++ {
			send, code := m.step(script[i], int(script[i])/8+i)
			c.send(send)
			if r := c.read(); r.Code != code {
				t.Fatalf("%q: %q is answered by %v, want %d", script[:i+1], send, r, code)
			}
			switch {
			case code == 503:
				refused++
			case strings.Contains(send, " LAST"):
				refused = 0
			}
		}
		all := q.messages()
		if len(all) != len(m.stored) {
			t.Fatalf("%q: %d messages, want %d", script, len(all), len(m.stored))
		}
		for i, want := range m.stored {
			want = strings.ReplaceAll(strings.ReplaceAll(want, "\r\n", "\n"), "\r", " ")
			if want != "" && !strings.HasSuffix(want, "\n") {
				want += "\n"
			}
			if got := strings.TrimPrefix(body(all[i]), "\n"); got != strings.TrimPrefix(want, "\n") {
				t.Errorf("%q: message %d is %q, want %q", script, i, got, want)
			}
		}
	})
}
