package smtp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// withServer runs do in a bubble against a server that plays its part of the
// dialogue, which must come to its end.
func withServer(t *testing.T, dialogue string, do func(t *testing.T, c *Client)) {
	t.Helper()
	d, err := testenv.ParseDialogue(t.Name(), dialogue)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		played := make(chan error)
		go func() {
			err := d.Play(theirs, testenv.Server)
			theirs.Close()
			played <- err
		}()
		c := NewClient(ours, ClientOptions{Hello: "us.example", Step: time.Minute})
		defer func() {
			c.Close()
			if err := <-played; err != nil {
				t.Error(err)
			}
		}()
		do(t, c)
	})
}

// withSink is the same against a sink.
func withSink(t *testing.T, sink *testenv.Sink, o ClientOptions, do func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go sink.ServeConn(theirs)
		o.Hello = "us.example"
		c := NewClient(ours, o)
		defer sink.Close()
		defer c.Close()
		do(t, c)
	})
}

// start greets; any failure ends the test.
func start(t *testing.T, c *Client) {
	t.Helper()
	if r, err := c.Greeting(); err != nil || r.Code != 220 {
		t.Fatalf("greeting: %v, %v", r, err)
	}
	if r, err := c.Hello(); err != nil || r.Class() != 2 {
		t.Fatalf("hello: %v, %v", r, err)
	}
}

// transaction is a message of one line for these local parts at x.
func transaction(to ...string) Transaction {
	t := Transaction{ReversePath: Path{"a", "b"}, Body: strings.NewReader("S: x\n")}
	for _, local := range to {
		t.Recipients = append(t.Recipients, Recipient{Path: Path{local, "x"}})
	}
	return t
}

// codes prints a result as its codes: MAIL, each RCPT, DATA, the message.
func codes(r TransactionResult) string {
	var b strings.Builder
	fmt.Fprint(&b, r.Mail.Code)
	for _, rcpt := range r.Rcpt {
		fmt.Fprint(&b, " ", rcpt.Code)
	}
	fmt.Fprint(&b, " ", r.Data.Code, " ", r.Final.Code)
	return b.String()
}

const (
	plain     = "S: 220 hi\nC: EHLO us.example\nS: 250 them\n"
	pipelined = "S: 220 hi\nC: EHLO us.example\nS: 250-them\nS: 250-size 1000\nS: 250 PIPELINING\n"
	commands  = "C: MAIL FROM:<a@b>\nC: RCPT TO:<p@x>\nC: RCPT TO:<q@x>\nC: DATA\n"
)

func TestSend(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         string // codes
		err          error
	}{
		{"all good", plain + "C: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<p@x>\nS: 250 ok\nC: RCPT TO:<q@x>\nS: 251 ok\nC: DATA\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok", "250 250 251 354 250", nil},
		{"all good, pipelined", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 251 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok", "250 250 251 354 250", nil},
		{"A55 one refused", plain + "C: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<p@x>\nS: 550 no\nC: RCPT TO:<q@x>\nS: 250 ok\nC: DATA\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok", "250 550 250 354 250", nil},
		{"A55 one refused, pipelined", pipelined + commands + "S: 250 ok\nS: 450 no\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok", "250 450 250 354 250", nil},
		{"A55 all refused", plain + "C: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<p@x>\nS: 550 no\nC: RCPT TO:<q@x>\nS: 450 no\nC!", "250 550 450 0 0", nil},
		{"A55 all refused, pipelined", pipelined + commands + "S: 250 ok\nS: 550 no\nS: 450 no\nS: 554 nobody\nC!", "250 550 450 0 0", nil},
		{"A55 all refused, but 354", pipelined + commands + "S: 250 ok\nS: 550 no\nS: 450 no\nS: 354 go\nC: \\.\nS: 554 nobody\nC!", "250 550 450 0 0", nil},
		{"A55 nobody, and the dot gets 250", pipelined + commands + "S: 250 ok\nS: 550 no\nS: 450 no\nS: 354 go\nC: \\.\nS: 250 well\nC!", "250 550 450 0 0", nil},
		{"sender refused", plain + "C: MAIL FROM:<a@b>\nS: 450 no\nC!", "450 0 0 0 0", nil},
		{"sender refused, pipelined", pipelined + commands + "S: 450 no\nS: 503 who\nS: 503 who\nS: 503 who\nC!", "450 0 0 0 0", nil},
		{"sender refused, recipients taken", pipelined + commands + "S: 450 no\nS: 250 ok\nS: 250 ok\nS: 354 go\nC!", "450 0 0 0 0", ErrOutOfStep},
		{"data refused", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 451 later\nC!", "250 250 250 451 0", nil},
		{"message refused", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 554 no\nC!", "250 250 250 354 554", nil},
		{"421 to MAIL", pipelined + commands + "S: 421 bye\nS!", "421 0 0 0 0", ErrClosing},
		{"421 to a recipient", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 421 bye\nS!", "250 250 421 0 0", ErrClosing},
		{"421 to the message", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 421 bye\nS!", "250 250 250 354 421", ErrClosing},
		{"A54 end behind MAIL", pipelined + commands + "S: 250 ok\nS!", "250 0 0 0 0", io.ErrUnexpectedEOF},
		{"A54 end behind 354", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nS!", "250 250 250 354 0", io.ErrClosedPipe},
		{"A37 end behind the message", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS!", "250 250 250 354 0", io.ErrUnexpectedEOF},
		{"bare codes", pipelined + commands + "S: 250\nS: 250\nS: 250\nS: 354\nC: S: x\nC: \\.\nS: 250", "250 250 250 354 250", nil},
		{"LF alone", pipelined + commands + "S| 250 ok\\n250 ok\\n250 ok\\n354 go\\n\nC: S: x\nC: \\.\nS| 250\\n", "250 250 250 354 250", nil},
		{"A53 garbage to a recipient", pipelined + commands + "S: 250 ok\nS: ok\nC!", "250 0 0 0 0", ErrReply},
		{"A53 garbage to the message", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 2500 x\nC!", "250 250 250 354 0", ErrReply},
		{"3xx to MAIL", plain + "C: MAIL FROM:<a@b>\nS: 354 go\nC!", "354 0 0 0 0", ErrOutOfStep},
		{"250 to DATA", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nC!", "250 250 250 250 0", ErrOutOfStep},
		{"3xx to the message", pipelined + commands + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 354 more\nC!", "250 250 250 354 0", ErrOutOfStep},
		{"a reply too many before the message", pipelined + commands + "S| 250 ok\\r\\n250 ok\\r\\n250 ok\\r\\n354 go\\r\\n250 done\\r\\n\nC!", "250 250 250 354 0", ErrOutOfStep},
		{"a reply too many before MAIL", "S| 220 hi\\r\\n\nC: EHLO us.example\nS| 250 them\\r\\n250 ok\\r\\n\nC!", "0 0 0 0 0", ErrOutOfStep},
		{"421 between", "S| 220 hi\\r\\n\nC: EHLO us.example\nS| 250 them\\r\\n421 idle\\r\\n\nC!", "0 0 0 0 0", ErrClosing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withServer(t, tt.script, func(t *testing.T, c *Client) {
				start(t, c)
				res, err := c.Send(transaction("p", "q"))
				if got := codes(res); got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("got %s, %v; want %s, %v", got, err, tt.want, tt.err)
				}
			})
		})
	}
}

// TestSendWhole: where a recipient is refused for now no message is sent, to
// nobody; one that is refused for good holds up no others if it is reported.
func TestSendWhole(t *testing.T) {
	const (
		first  = "C: MAIL FROM:<a@b>\nC: RCPT TO:<p@x>\nC: RCPT TO:<q@x>\n"
		report = "C: MAIL FROM:<a@b> XREPORT\nC: RCPT TO:<p@x>\nC: RCPT TO:<q@x>\n"
	)
	for _, tt := range []struct {
		name    string
		reports bool
		script  string
		want    string
	}{
		{"all good", false, pipelined + first + "S: 250 ok\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok", "250 250 250 354 250"},
		{"one refused for good", false, pipelined + first + "S: 250 ok\nS: 550 no\nS: 250 ok\nC!", "250 550 250 0 0"},
		{"one no path", true, pipelined + report + "S: 250 ok\nS: 553 5.1.3 no\nS: 250 ok\nC!", "250 553 250 0 0"},
		{"one reported", true, pipelined + report + "S: 250 ok\nS: 550 no\nS: 250 ok\nC: DATA\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok", "250 550 250 354 250"},
		{"one refused for now", true, pipelined + report + "S: 250 ok\nS: 450 no\nS: 250 ok\nC!", "250 450 250 0 0"},
		{"without pipelining", false, plain + "C: MAIL FROM:<a@b>\nS: 250 ok\nC: RCPT TO:<p@x>\nS: 250 ok\nC: RCPT TO:<q@x>\nS: 452 no\nC!", "250 250 452 0 0"},
		{"all refused", false, pipelined + first + "S: 250 ok\nS: 550 no\nS: 550 no\nC!", "250 550 550 0 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withServer(t, tt.script, func(t *testing.T, c *Client) {
				start(t, c)
				tr := transaction("p", "q")
				tr.Whole = true
				if tt.reports {
					tr.Params = []Param{{Name: ParamReport}}
				}
				res, err := c.Send(tr)
				if got := codes(res); got != tt.want || err != nil {
					t.Errorf("got %s, %v; want %s", got, err, tt.want)
				}
			})
		})
	}
}

func TestSendAgain(t *testing.T) {
	withServer(t, pipelined+"C: MAIL FROM:<a@b> SIZE=5\nC: RCPT TO:<p@x>\nC: DATA\nS: 250 ok\nS: 550 no\nS: 554 no\n"+
		"C: RSET\nS: 250 ok\nC: MAIL FROM:<> BODY=8BITMIME\nC: RCPT TO:<\"q q\"@x> NOTIFY=NEVER\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 250 2.0.0 queued\n"+
		"C: MAIL FROM:<a@b> SIZE=7\nC: RCPT TO:<p@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 250 2.0.0 queued\nC: QUIT\nS: 221 bye\nC!",
		func(t *testing.T, c *Client) {
			start(t, c)
			first := transaction("p")
			first.Size = 5
			second := transaction("q q")
			second.ReversePath, second.Params = Path{}, []Param{{"BODY", "8BITMIME"}}
			second.Recipients[0].Params = []Param{{"NOTIFY", "NEVER"}}
			third := transaction("p")
			third.Size, third.Params = 9, []Param{{"SIZE", "7"}}
			for i, tr := range []Transaction{first, second, third} {
				res, err := c.Send(tr)
				if err != nil || res.Accepted(0) != (i > 0) {
					t.Fatalf("message %d: %s, %v", i, codes(res), err)
				}
			}
			if err := c.Quit(); err != nil {
				t.Error(err)
			}
		})
}

func TestA54Hello(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		code         int
		err          error
		ext          bool
	}{
		{"EHLO", "C: EHLO us.example\nS: 250-them hi\nS: 250-Pipelining\nS: 250 size 99 \nC!", 250, nil, true},
		{"HELO", "C: EHLO us.example\nS: 502 what\nC: HELO us.example\nS: 250-them\nS: 250 PIPELINING\nC!", 250, nil, false},
		{"both refused", "C: EHLO us.example\nS: 550 no\nC: HELO us.example\nS: 550 no\nC!", 550, nil, false},
		{"later", "C: EHLO us.example\nS: 451 later\nC!", 451, nil, false},
		{"421", "C: EHLO us.example\nS: 421 later\nS!", 421, ErrClosing, false},
		{"end", "C: EHLO us.example\nS!", 0, io.ErrUnexpectedEOF, false},
		{"garbage", "C: EHLO us.example\nS: hello\nC!", 0, ErrReply, false},
		{"bare code", "C: EHLO us.example\nS: 250\nC!", 250, nil, false},
		{"bare code behind lines", "C: EHLO us.example\nS: 250-them\nS: 250-Pipelining\nS: 250-size 99\nS: 250\nC!", 250, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withServer(t, tt.script, func(t *testing.T, c *Client) {
				r, err := c.Hello()
				if r.Code != tt.code || !errors.Is(err, tt.err) {
					t.Errorf("got %v, %v; want %d, %v", r, err, tt.code, tt.err)
				}
				if _, ok := c.Has("PIPELINING"); ok != tt.ext {
					t.Errorf("PIPELINING %v, want %v", ok, tt.ext)
				}
				if arg, ok := c.Has("SIZE"); ok != tt.ext || ok && arg != "99" {
					t.Errorf("SIZE %q %v", arg, ok)
				}
			})
		})
	}
}

func TestA54Greeting(t *testing.T) {
	for script, want := range map[string]int{"S: 554 no\nS!": 554, "S: 421 busy\nS!": 421, "S: 220-a\nS: 220 b\nC!": 220, "S!": 0, "S| SSH-2.0\\r\\n\nC!": 0} {
		withServer(t, script, func(t *testing.T, c *Client) {
			if r, err := c.Greeting(); r.Code != want || (err != nil) != (want == 0) {
				t.Errorf("%q: got %v, %v; want %d", script, r, err, want)
			}
		})
	}
}

// A peer that reads and answers line by line through a small buffer, over a
// pipe without any, can't get us to wait for each other.
func TestPipeliningManyRecipients(t *testing.T) {
	for _, n := range []int{1, 5, 20, 1000} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go lineByLine(theirs)
			c := NewClient(ours, ClientOptions{Hello: "us.example", Step: time.Minute})
			defer c.Close()
			start(t, c)
			var to []string
			for i := range n {
				to = append(to, fmt.Sprintf("recipient-%d", i))
			}
			res, err := c.Send(transaction(to...))
			if err != nil || res.Final.Code != 250 {
				t.Fatalf("%d: %v, %v", n, res.Final, err)
			}
			for i, r := range res.Rcpt {
				want := 250 + 300*(i%2)
				if r.Code != want || !strings.Contains(r.Text, fmt.Sprintf("<recipient-%d@x>", i)) {
					t.Fatalf("%d: recipient %d got %v", n, i, r)
				}
			}
		})
	}
}

// lineByLine refuses every second recipient.
func lineByLine(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16)
	io.WriteString(conn, "220 hi\r\n")
	odd, data := false, false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		reply := "250 ok " + line
		switch {
		case data && line != ".":
			continue
		case strings.HasPrefix(line, "EHLO"):
			reply = "250-them\r\n250 PIPELINING"
		case strings.HasPrefix(line, "RCPT"):
			if odd {
				reply = "550 no " + line
			}
			odd = !odd
		case line == "DATA":
			reply = "354 go"
		}
		data = line == "DATA"
		if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
			return
		}
	}
}

// Each step has its time in all, not per octet, and the session has its own.
func TestA39Deadlines(t *testing.T) {
	step := ClientOptions{Step: time.Minute, Final: 10 * time.Minute}
	session := step
	for _, tt := range []struct {
		name, verb string
		action     testenv.Action
		session    bool // the session's end is nearer
		want       time.Duration
	}{
		{"silent greeting", "", testenv.Action{Mute: true}, false, time.Minute},
		{"slow greeting", "", testenv.Action{Each: 10 * time.Second}, false, time.Minute},
		{"silent EHLO", "EHLO", testenv.Action{Hang: true}, false, time.Minute},
		{"silent MAIL", "MAIL", testenv.Action{Hang: true}, false, time.Minute},
		{"slow RCPT", "RCPT", testenv.Action{Each: 10 * time.Second}, false, time.Minute},
		{"stuck DATA", "DATA", testenv.Action{Stuck: true}, false, time.Minute},
		{"stuck message", "BODY", testenv.Action{Stuck: true}, false, time.Minute},
		{"silent end", ".", testenv.Action{Hang: true}, false, 10 * time.Minute},
		{"slow end", ".", testenv.Action{Each: time.Minute}, false, 10 * time.Minute},
		{"silent RCPT, end of session", "RCPT", testenv.Action{Hang: true}, true, 30 * time.Second},
		{"stuck message, end of session", "BODY", testenv.Action{Stuck: true}, true, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
				if ev.Verb == tt.verb {
					return tt.action
				}
				return testenv.Action{}
			}}
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go sink.ServeConn(theirs)
				o := session
				begin := time.Now()
				if tt.session {
					o.Deadline = begin.Add(tt.want)
				}
				c := NewClient(ours, o)
				_, err := c.Greeting()
				if err == nil {
					_, err = c.Hello()
				}
				if err == nil {
					tr := transaction("p")
					tr.Body = strings.NewReader(strings.Repeat("line\n", 100000))
					_, err = c.Send(tr)
				}
				if got := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || got != tt.want {
					t.Errorf("%v after %v, want a timeout after %v", err, got, tt.want)
				}
				c.Close()
				sink.Close()
			})
		})
	}
}

// A server that breaks off in the middle of a long message is heard at once.
func TestEarlyReply(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action testenv.Action
		final  int
		err    error
	}{
		{"421 and end", testenv.Action{Reply: "421 4.3.2 down", Drop: true}, 421, ErrClosing},
		{"421 and stuck", testenv.Action{Reply: "421 4.3.2 down", Stuck: true}, 421, ErrClosing},
		{"552 and reading on", testenv.Action{Reply: "552 5.3.4 too big", Hang: true}, 552, ErrOutOfStep},
		{"250 before its time", testenv.Action{Reply: "250 2.0.0 thanks", Stuck: true}, 0, ErrOutOfStep},
		{"end", testenv.Action{Drop: true}, 0, nil}, // seen by the reader or the writer
		{"garbage", testenv.Action{Raw: "what\r\n", Stuck: true}, 0, ErrReply},
		{"half a reply", testenv.Action{Raw: "42", Stuck: true}, 0, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
				if ev.Verb == "BODY" {
					return tt.action
				}
				return testenv.Action{}
			}}
			withSink(t, sink, ClientOptions{Step: time.Hour}, func(t *testing.T, c *Client) {
				start(t, c)
				tr := transaction("p")
				tr.Body = io.LimitReader(&endless{unit: "line\n"}, 1<<30)
				begin := time.Now()
				res, err := c.Send(tr)
				if res.Final.Code != tt.final || err == nil || tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("got %v, %v; want %d, %v", res.Final, err, tt.final, tt.err)
				}
				if d := time.Since(begin); d > lastWordsTime {
					t.Errorf("took %v", d)
				}
				if res.Accepted(0) {
					t.Error("counted as accepted")
				}
			})
		})
	}
}

// A message that can't be read to its end is never ended on the wire.
func TestSourceError(t *testing.T) {
	for _, n := range []int64{0, 10, 100000} {
		disk := errors.New("input/output error")
		sink := &testenv.Sink{}
		withSink(t, sink, ClientOptions{}, func(t *testing.T, c *Client) {
			start(t, c)
			tr := transaction("p")
			tr.Body = io.MultiReader(io.LimitReader(&endless{unit: "line\n"}, n), iotest.ErrReader(disk))
			res, err := c.Send(tr)
			var source *SourceError
			if !errors.As(err, &source) || !errors.Is(err, disk) || res.Final.Code != 0 {
				t.Errorf("%d octets: %v, %v; want a SourceError", n, res.Final, err)
			}
		})
		if len(sink.Messages()) != 0 {
			t.Errorf("%d octets: the sink took a message", n)
		}
	}
}

func TestSendForms(t *testing.T) {
	long := "S: x\n\n.\n" + strings.Repeat("w ", 3000) + "\n"
	for _, exact := range []bool{false, true} {
		sink := &testenv.Sink{}
		withSink(t, sink, ClientOptions{}, func(t *testing.T, c *Client) {
			start(t, c)
			tr := transaction("p")
			tr.Exact, tr.Body = exact, strings.NewReader(long)
			if res, err := c.Send(tr); err != nil || !res.Accepted(0) {
				t.Fatal(codes(res), err)
			}
		})
		if got := sink.Messages()[0].Text(); (got == long) != exact || strings.ReplaceAll(got, "\n ", " ") != long {
			t.Errorf("exact %v: got %.100q", exact, got)
		}
	}
}

// Nothing gets on the wire that could be more than one command.
func TestA22Commands(t *testing.T) {
	for _, tr := range []Transaction{
		{ReversePath: Path{"a\r\nRCPT TO:<x@y>", "b"}},
		{ReversePath: Path{"a", "b>\r\n"}},
		{ReversePath: Path{"\u00e9", "b"}},
		{Params: []Param{{"ENVID", "x\ny"}}},
		{Recipients: []Recipient{{Path: Path{"a\x00", "b"}}}},
	} {
		withServer(t, pipelined+"C!", func(t *testing.T, c *Client) {
			start(t, c)
			if res, err := c.Send(tr); err == nil || res.Mail.Code != 0 {
				t.Errorf("%q: %s, %v", tr.ReversePath, codes(res), err)
			}
		})
	}
}

func TestTrace(t *testing.T) {
	var lines []string
	sink := &testenv.Sink{Extensions: []string{"X"}}
	transcript := func(dir byte, line string) { lines = append(lines, string(dir)+" "+line) }
	withSink(t, sink, ClientOptions{Transcript: transcript}, func(t *testing.T, c *Client) {
		start(t, c)
		if _, err := c.Send(transaction("p")); err != nil {
			t.Fatal(err)
		}
		c.Quit()
	})
	want := []string{
		"< 220 sink.example ESMTP sink", "> EHLO us.example", "< 250-sink.example", "< 250 X", "> MAIL FROM:<a@b>", "< 250 2.1.0 sender taken",
		"> RCPT TO:<p@x>", "< 250 2.1.5 recipient taken", "> DATA", "< 354 go on", "> .", "< 250 2.0.0 message taken", "> QUIT", "< 221 2.0.0 bye",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// QUIT never costs more than two seconds.
func TestQuit(t *testing.T) {
	sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action { return testenv.Action{Hang: ev.Verb == "QUIT"} }}
	withSink(t, sink, ClientOptions{}, func(t *testing.T, c *Client) {
		start(t, c)
		begin := time.Now()
		c.Quit()
		if d := time.Since(begin); d != byeTime {
			t.Errorf("took %v", d)
		}
	})
}

// Close from another goroutine ends what waits, at any time.
func TestCloseAnyTime(t *testing.T) {
	for _, verb := range []string{"", "EHLO", "STARTTLS", "MAIL", "BODY", "."} {
		sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action { return testenv.Action{Stuck: ev.Verb == verb} }}
		withSink(t, sink, ClientOptions{}, func(t *testing.T, c *Client) {
			time.AfterFunc(time.Second, func() { c.Close() })
			begin := time.Now()
			_, err := c.Greeting()
			if err == nil {
				_, err = c.Hello()
			}
			if err == nil && verb == "STARTTLS" {
				err = c.StartTLS(&tls.Config{ServerName: "them"})
			}
			if err == nil {
				tr := transaction("p", "q")
				tr.Body = io.LimitReader(&endless{unit: "line\n"}, 1<<20)
				_, err = c.Send(tr)
			}
			if d := time.Since(begin); err == nil || d != time.Second {
				t.Errorf("stuck at %q: %v after %v", verb, err, d)
			}
		})
	}
}
