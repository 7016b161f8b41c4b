package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
)

// content returns what follows the header that we wrote: from the first line
// that was sent to us.
func content(t *testing.T, m stored) string {
	t.Helper()
	rest := m.Data
	for {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok || !strings.HasPrefix(line, "Received: from") && !strings.HasPrefix(line, "\t") {
			return rest
		}
		rest = after
	}
}

// deliverOne sends wire, which holds its own end, as a message of a stranger's,
// and returns the reply to it and the message, if it was stored.
func deliverOne(t *testing.T, o Options, wire string) (smtp.Reply, []stored) {
	t.Helper()
	q := o.Queue.(*memQueue)
	c := dial(t, New(o))
	c.envelope("s@client.example", "alice@us.example")
	go c.send(wire) // replies may come before the server has read it all
	r := c.read()
	if again := c.do("NOOP"); r.Code != 421 && again.Code != 250 {
		t.Errorf("out of step after %q: %v, then %v", wire, r, again)
	}
	return r, q.messages()
}

// TestSmuggling sends each look-alike of the end of data, with a second
// message behind it (A1, A2).
func TestSmuggling(t *testing.T) {
	const inner = "MAIL FROM:<s@x.example>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\nSubject: in\r\n\r\n"
	const stays = "MAIL FROM:<s@x.example>\nRCPT TO:<alice@us.example>\nDATA\nSubject: in\n\n"
	for _, tt := range []struct {
		seq    string
		stored string // what becomes of it behind "x"
		first  string // the same as the first octets of the data
		reject bool   // bare-newline=reject refuses it
	}{
		{"\n.\n", "\n.\n", "\n.\n", true},
		{"\n.\r\n", "\n.\n", "\n.\n", true},
		{"\r\n.\n", "\n\n", "\n\n", true},
		{"\r.\r", " . ", " . ", true},
		{"\r.\r\n", " .\n", " .\n", true},
		{"\r\n.\r", "\n ", "\n ", true},
		{"\r.\n", " .\n", " .\n", true},
		{"\n.\r", "\n. ", "\n. ", true},
		{"\n\r.\n\r", "\n .\n ", "\n .\n ", true},
		{"\r\n.\r\r\n", "\n \n", "\n \n", true},
		{"\r\r\n.\r\r\n", " \n \n", " \n \n", true},
		{"\r\n.\x00\r\n", "\n\x00\n", "\n\x00\n", false},
		{"\r\n\x00.\r\n", "\n\x00.\n", "\n\x00.\n", false},
		{"\r\n. \r\n", "\n \n", "\n \n", false},
		{"\r\n .\r\n", "\n .\n", "\n .\n", false},
		{"\r\n..\r\n", "\n.\n", "\n.\n", false},
		{"\n..\r\n", "\n..\n", "\n..\n", true},
	} {
		for _, reject := range []bool{false, true} {
			for _, before := range []string{"x", ""} {
				name := fmt.Sprintf("%q reject=%v behind %q", tt.seq, reject, before)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						o := options(&memQueue{})
						o.RejectBareNewline = reject
						head := "Subject: out\r\n\r\n"
						r, got := deliverOne(t, o, head+before+tt.seq+inner+".\r\n")
						if reject && tt.reject {
							if r.Code != 550 || r.Status != "5.5.2" || len(got) > 0 {
								t.Errorf("%v, %d stored, want 550 5.5.2", r, len(got))
							}
							return
						}
						want := "Subject: out\n\n" + before + tt.stored + stays
						if r.Code != 250 || len(got) != 1 || content(t, got[0]) != want {
							t.Errorf("%v, %d stored:\n%v, want\n%q", r, len(got), got, want)
						}
					})
				})
			}
		}
	}
}

// TestSmugglingAtTheStart has the look-alikes as the first octets of the data:
// the 354 is a CR LF before them (A1).
func TestSmugglingAtTheStart(t *testing.T) {
	const inner = "MAIL FROM:<s@x.example>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\n"
	for _, seq := range []string{".\n", "\n.\n", "\n.\r\n", ".\r", "\r.\r\n", ".\x00\r\n", ".\r\r\n"} {
		t.Run(fmt.Sprintf("%q", seq), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, got := deliverOne(t, options(&memQueue{}), seq+inner+".\r\n")
				if r.Code != 250 || len(got) != 1 || !strings.HasSuffix(got[0].Data, "DATA\n") {
					t.Errorf("%v, stored %v", r, got)
				}
			})
		})
	}
}

// TestOctets has bodies stored as they were sent: dots (A3), line ends at the
// edges of buffers (A4), long lines (A6), NUL and other octets (A7).
func TestOctets(t *testing.T) {
	bodies := []string{
		"", "\n", ".\n", "..\n", "...\n.a\n .\na.\n", strings.Repeat(".\n", 50), "a\n\n\n",
		"a NUL \x00 b\n\x00\n", "\x80\xff\x1b[2J\n", "From here\n>From there\n",
		strings.Repeat("x", 1_000_000) + ".\n",
	}
	for _, at := range []int{512, 998, 1024, 2048, 4096, 8192, 16384, 32768, 65536} {
		for n := at - 4; n <= at+2; n++ {
			bodies = append(bodies, strings.Repeat("y", n)+".\n", strings.Repeat("z", n)+"\n.b\n")
		}
	}
	for i, body := range bodies {
		t.Run(fmt.Sprintf("body %d, %.12q", i, body), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				msg := "Subject: a NUL \x00 b\nX-Long: " + strings.Repeat("w", 5000) + "\n\n" + body
				var wire bytes.Buffer
				if err := smtp.WriteDataExact(&wire, strings.NewReader(msg)); err != nil {
					t.Fatal(err)
				}
				r, got := deliverOne(t, options(&memQueue{}), wire.String())
				if r.Code != 250 || len(got) != 1 || content(t, got[0]) != msg {
					t.Errorf("%v, %d stored, not as sent", r, len(got))
				}
			})
		})
	}
}

// TestOversizeIsNotStored sends 80 times the limit: the queue gets the limit
// at most (B100).
func TestOversizeIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		o := options(q)
		o.Size = 100_000
		r, got := deliverOne(t, o, "Subject: big\r\n\r\n"+strings.Repeat("0123456789\r\n", 700_000)+".\r\n")
		if r.Code != 552 || len(got) > 0 || q.written > 100_000+1000 || q.unfinished() > 0 {
			t.Errorf("%v, %d stored, %d octets written, %d left open", r, len(got), q.written, q.unfinished())
		}
	})
}

// TestEndlessMessage: a message by TCP that goes on beyond the limit is read for a while;
// then the client is told why, though it still sends, and that was its session. A program
// at the socket sends to the end.
func TestEndlessMessage(t *testing.T) {
	o := options(&memQueue{})
	o.Size = 100_000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, kind := range []Kind{Relay, Submission, Local} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() { end <- New(o).ServeConn(t.Context(), accepted, kind) }()
		c := &talker{t: t, conn: conn, r: newReader(conn)}
		c.want(220)
		c.envelope("s@client.example", "alice@us.example")
		piece, most := bytes.Repeat([]byte("0123456789\r\n"), 1000), 4*leastBeyond
		sent := make(chan int, 1)
		go func() {
			n := 0
			for n < most {
				if _, err := conn.Write(piece); err != nil {
					break
				}
				n += len(piece)
			}
			conn.Write([]byte(".\r\n"))
			sent <- n
		}()
		c.want(552)
		if kind != Local {
			if err := <-end; err != ErrRefused {
				t.Errorf("it ended with %v, want %v", err, ErrRefused)
			}
			if n := <-sent; n >= most {
				t.Error("all was read")
			}
		} else if n := <-sent; n < most {
			t.Errorf("%v: only %d octets were read", kind, n)
		}
		conn.Close()
	}
}

// TestFailedWriteFreesAtOnce has the queue fail in the middle of a message: it
// is removed before the client is done.
func TestFailedWriteFreesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{write: errNoSpace}
		c := dial(t, New(options(q)))
		c.envelope("s@client.example", "alice@us.example")
		c.send("Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 10_000))
		synctest.Wait()
		if q.unfinished() > 0 {
			t.Error("the message still takes room")
		}
		if r := c.do("."); r.Code != 452 {
			t.Errorf("got %v, want 452", r)
		}
	})
}

// TestSlowButSteady takes a message whose client keeps to the rate (A73).
func TestSlowButSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		c := dial(t, New(options(q)))
		c.envelope("s@client.example", "alice@us.example")
		for range 100 {
			c.send(strings.Repeat("a", 1100) + "\r\n")
			<-time.After(time.Minute)
		}
		if r := c.do("."); r.Code != 250 {
			t.Errorf("got %v, want 250", r)
		}
	})
}

// TestDataHasAnEnd cuts off a message that goes on for ever, however fast.
func TestDataHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, New(options(discardQueue{})))
		c.envelope("s@client.example", "alice@us.example")
		start := time.Now()
		c.conn.SetDeadline(start.Add(10 * time.Hour))
		done := make(chan struct{})
		go func() {
			defer close(done)
			line := strings.Repeat("a", 40_000) + "\r\n"
			for {
				if _, err := io.WriteString(c.conn, line); err != nil {
					return
				}
				<-time.After(10 * time.Second)
			}
		}()
		r, err := smtp.ReadReply(bufio.NewReader(c.conn))
		if r.Code != 421 || time.Since(start) != dataWait {
			t.Errorf("after %v: %v, %v", time.Since(start), r, err)
		}
		c.conn.Close()
		<-done
	})
}

// TestReportedRecipients: with XREPORT a recipient that is refused for good
// goes into the queue beside a good one, so that a report tells of it, but none
// that the queue can't have, and nobody where all are refused (R67).
func TestReportedRecipients(t *testing.T) {
	for _, tt := range []struct {
		name, params string
		to           []string
		code         int
		queued       string
	}{
		{"beside a good one", " XREPORT", []string{"nobody", "bob", `"a@b@c"`}, 250, "[bob@us.example nobody@us.example \"a@b@c\"@us.example]"},
		{"not asked for", "", []string{"nobody", "bob"}, 250, "[bob@us.example]"},
		{"all refused", " XREPORT", []string{"nobody", "noone"}, 554, ""},
		{"no path of the queue's", " XREPORT", []string{"bob", "unqueueable"}, 250, "[bob@us.example]"},
		{"no path at all", " XREPORT", []string{"bob", "a@b@c"}, 250, "[bob@us.example]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &memQueue{}
			c := dialFrom(t, New(options(q)), Local, strangerAddr)
			for _, line := range []string{"EHLO localhost", "MAIL FROM:<alice>" + tt.params} {
				if r := c.do(line); r.Code != 250 {
					t.Fatalf("%s: %v", line, r)
				}
			}
			for _, to := range tt.to {
				c.do("RCPT TO:<" + to + ">")
			}
			r := c.do("DATA")
			if r.Code == 354 {
				r = c.do("hello\r\n.")
			}
			if r.Code != tt.code {
				t.Errorf("%v, want %d", r, tt.code)
			}
			got := ""
			for _, m := range q.messages() {
				got += fmt.Sprint(m.To)
			}
			if got != tt.queued {
				t.Errorf("queued for %s, want %s", got, tt.queued)
			}
		})
	}
}

// A59: a stranger's message whose header says that each recipient's mailbox had
// it is refused, so that no report about it goes to whoever its sender names.
func TestDeliveredBefore(t *testing.T) {
	o := options(nil)
	o.Mailbox = func(_ context.Context, to smtp.Path) (string, bool) {
		return to.Local + "@us.example", to.Local != "list"
	}
	const alice, bob = "Delivered-To: Alice@us.example\r\n", "delivered-to:\r\n bob@US.example\r\n"
	for _, tt := range []struct {
		header, to string
		code       int
	}{
		{alice, "alice", 554},
		{alice + bob, "alice bob", 554},
		{alice, "alice bob", 250},
		{alice + "X: y\r\n\r\n" + bob, "bob", 250},
		{alice, "alice postmaster", 250},
		{"Delivered-To: alice@other.example\r\n", "alice", 250},
		{"", "alice", 250},
	} {
		for _, addr := range []string{"192.0.2.7:4000", "127.0.0.1:4000"} {
			q := &memQueue{}
			o.Queue = q
			c := dialFrom(t, New(o), Relay, addr)
			var to []string
			for _, name := range strings.Fields(tt.to) {
				to = append(to, name+"@us.example")
			}
			c.envelope("s@client.example", to...)
			c.send(tt.header + "Subject: x\r\n\r\ntext\r\n.\r\n")
			want := tt.code
			if addr == "127.0.0.1:4000" { // this machine's own programs
				want = 250
			}
			if r := c.read(); r.Code != want || want == 554 && r.Status != "5.4.6" {
				t.Errorf("%q to %s from %s: %v, want %d", tt.header, tt.to, addr, r, want)
			}
			if n := len(q.messages()); (n == 0) != (want == 554) {
				t.Errorf("%q to %s from %s: %d messages were stored", tt.header, tt.to, addr, n)
			}
		}
	}
}
