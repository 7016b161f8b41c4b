package milter

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// reply is a packet of the filter's.
var reply = testfilter.Reply

// faults are what a filter does in the place of an answer, and a part of the error
// that must come of it.
var faults = []struct {
	name   string
	octets string
	hangs  bool
	closes bool
	want   string
}{
	{name: "closes", closes: true, want: "connection lost"},
	{name: "hangs", hangs: true, want: "no answer within"},
	{name: "length 0", octets: "\x00\x00\x00\x00", want: "a packet of no octets"},
	{name: "length 4 GB", octets: "\xff\xff\xff\xff", want: "a packet of 4294967295 octets"},
	{name: "length 1 MB and 1", octets: "\x00\x10\x00\x01b", want: "a packet of 1048577 octets"},
	{name: "half a length", octets: "\x00\x00", closes: true, want: "connection lost"},
	{name: "half a length, then nothing", octets: "\x00\x00", hangs: true, want: "no answer within"},
	{name: "cut off", octets: "\x00\x00\x00\x20y550 no", closes: true, want: "connection lost"},
	{name: "text for a length", octets: "HTTP/1.1 400 Bad Request\r\n\r\n", want: `what begins with "HTTP" is no packet`},
	{name: "unknown code", octets: reply('X', ""), want: `"X", which is no answer`},
	{name: "code NUL", octets: reply(0, ""), want: `"\x00", which is no answer`},
	{name: "a second negotiation", octets: reply('O', testfilter.Number(6)+testfilter.Number(0)+testfilter.Number(0)), want: "no answer to this step"},
	{name: "continue with data", octets: reply('c', "x"), want: "1 octets behind it"},
	{name: "accept with 1 MB", octets: "\x00\x10\x00\x00a", want: "1048575 octets behind it"},
	{name: "progress with data", octets: reply('p', "x"), want: "1 octets behind it"},
	{name: "skip that wasn't offered", octets: reply('s', ""), want: "(skip)"},
	{name: "reply 250", octets: reply('y', "250 2.0.0 fine\x00"), want: "code 250"},
	{name: "reply 354", octets: reply('y', "354 go on\x00"), want: "code 354"},
	{name: "reply 999", octets: reply('y', "999 what\x00"), want: "not an SMTP reply"},
	{name: "reply without a code", octets: reply('y', "%s%s%n\x00"), want: "not an SMTP reply"},
	{name: "empty reply", octets: reply('y', ""), want: "not an SMTP reply"},
	{name: "reply with a reply behind it", octets: reply('y', "550 5.7.1 no\r\n250 2.0.0 yes\x00"), want: "more behind its last line"},
	{name: "reply with NUL", octets: reply('y', "550 5.7.1 no\x00 250 yes\x00"), want: "has a NUL"},
	{name: "reply with two codes", octets: reply('y', "550-5.7.1 no\r\n450 4.7.1 no\x00"), want: "not an SMTP reply"},
	{name: "reply that doesn't end", octets: reply('y', "550-5.7.1 no\x00"), want: "has no last line"},
	{name: "reply of 100 KB", octets: reply('y', "550 "+strings.Repeat("x", 100<<10)), want: "too long"},
	{name: "reply of 1,000 lines", octets: reply('y', strings.Repeat("550-x\r\n", 1000)+"550 x"), want: "not an SMTP reply"},
	{name: "two answers", octets: reply('c', "") + reply('c', ""), want: "answered twice"},
	{name: "an answer and garbage", octets: reply('c', "") + "\x00", want: "answered twice"},
}

// commands are the steps that message tells of.
const commands = "CHMRTLNBE"

// TestA64Faults puts each fault at each step: the conversation ends there with an error
// in plain words, which is given again at the steps behind it, and nothing is left (S108).
func TestA64Faults(t *testing.T) {
	cells := 0
	for _, fault := range faults {
		for _, at := range []byte(commands) {
			name := fault.name + " at " + string(at)
			t.Run(name, func(t *testing.T) {
				f := &testfilter.Filter{Answers: map[byte]string{at: fault.octets}}
				if fault.hangs {
					f.Hangs = string(at)
				}
				if fault.closes {
					f.Closes = string(at)
				}
				run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
					if err != nil {
						t.Fatal(err)
					}
					_, r, err := wholeMessage(c)
					if err == nil || !strings.Contains(err.Error(), fault.want) {
						t.Fatalf("%+v, %v; want an error with %q", r, err, fault.want)
					}
					if strings.ContainsAny(err.Error(), "\r\n\x00") {
						t.Errorf("the error has octets of the filter's in it: %q", err)
					}
					if _, again := c.Helo("x", nil); again != err {
						t.Errorf("then %v, want %v", again, err)
					}
					if _, again := c.End(nil, io.Discard); again != err {
						t.Errorf("then %v, want %v", again, err)
					}
					if c.Wants(AtMail) || c.QuitNew() {
						t.Errorf("the conversation goes on")
					}
				})
			})
			cells++
		}
	}
	t.Logf("%d faults at %d steps: %d cells", len(faults), len(commands), cells)
}

// TestA64Edits sends each edit at each step before the end: each is an error.
func TestA64EditBeforeTheEnd(t *testing.T) {
	for _, code := range []byte("him+2-ebq") {
		for _, at := range []byte(commands[:len(commands)-1]) {
			f := &testfilter.Filter{Answers: map[byte]string{at: reply(code, "a\x00b\x00") + reply('c', "")}}
			run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
				if err != nil {
					t.Fatal(err)
				}
				if s, r, err := wholeMessage(c); err == nil || !strings.Contains(err.Error(), "no answer to this step") {
					t.Errorf("%c at %c: at %v %+v, %v", code, at, s, r, err)
				}
			})
		}
	}
}

// TestDiscardBefore: there is nothing to discard before there is a message.
func TestDiscardBeforeMessage(t *testing.T) {
	for _, at := range []byte("CH") {
		f := &testfilter.Filter{Answers: map[byte]string{at: reply('d', "")}}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			if _, _, err := wholeMessage(c); err == nil || !strings.Contains(err.Error(), "no answer to this step") {
				t.Errorf("at %c: %v", at, err)
			}
		})
	}
}

// TestA64Negotiation: a filter that is broken from the start is refused.
func TestA64Negotiation(t *testing.T) {
	word := testfilter.Number
	for _, tt := range []struct{ name, octets, want string }{
		{"length 0", "\x00\x00\x00\x00", "a packet of no octets"},
		{"length 4 GB", "\xff\xff\xff\xffO", "a packet of 4294967295 octets"},
		{"another code", reply('c', ""), `answered the negotiation with "c" (continue)`},
		{"unknown code", reply('\r', ""), `answered the negotiation with "\r"`},
		{"nothing in it", reply('O', ""), "has 0 octets"},
		{"two words", reply('O', word(6)+word(0)), "has 8 octets"},
		{"version 0", reply('O', word(0)+word(0)+word(0)), "version 0"},
		{"version 1", reply('O', word(1)+word(0)+word(0)), "version 1"},
		{"version 7", reply('O', word(7)+word(0)+word(0)), "version 7"},
		{"version 2^31", reply('O', word(1<<31)+word(0)+word(0)), "version 2147483648"},
		{"an unknown action", reply('O', word(6)+word(0x3ff)+word(0)), "0x200"},
		{"an unknown option", reply('O', word(6)+word(0)+word(1<<21)), "0x200000"},
		{"large packets that weren't offered", reply('O', word(6)+word(0)+word(data1M)), "0x20000000"},
		{"sendmail's test bit", reply('O', word(6)+word(0)+word(1<<31)), "0x80000000"},
		{"a list without a number", reply('O', word(6)+word(0)+word(0)+"\x00\x00"), "cut off"},
		{"a list without an end", reply('O', word(6)+word(0)+word(0)+word(1)+"i j"), "no end"},
		{"a list of 101 macros", reply('O', word(6)+word(0)+word(0)+word(1)+strings.Repeat("i ", 101)+"\x00"), "101 macros"},
		{"100 KB of lists", reply('O', word(6)+word(0)+word(0)+strings.Repeat(word(9)+"x\x00", 20<<10)), "too long"},
	} {
		f := &testfilter.Filter{Answers: map[byte]string{'O': tt.octets}}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
			}
		})
	}
}

// drip writes one octet a minute.
func drip(conn net.Conn, octets string) error {
	for i := range octets {
		time.Sleep(time.Minute)
		if _, err := io.WriteString(conn, octets[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// TestA64Slow: every wait is a total. The clock is a bubble's, so that the times are
// exact.
func TestA64Slow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		f     *testfilter.Filter
		step  Step
		after time.Duration
		want  string
	}{
		{"an octet a minute at negotiation", &testfilter.Filter{Write: drip}, AtConnect, 10 * time.Second, "negotiation: no answer within 10s"},
		{"silent at negotiation", &testfilter.Filter{Answers: map[byte]string{'O': ""}}, AtConnect, 10 * time.Second, "negotiation: no answer within 10s"},
		{"an octet a minute at rcpt", &testfilter.Filter{Write: except("R", drip)}, AtRcpt, 10 * time.Second, "rcpt: no answer within 10s"},
		{"an octet a minute at the end", &testfilter.Filter{Write: except("E", drip), Answers: map[byte]string{'E': reply('q', "reason")}},
			AtEnd, 5 * time.Minute, "end of message: no answer within the 5m0s that one message may take"},
		{"progress without end at helo", &testfilter.Filter{Write: except("H", progress(5*time.Second, -1))}, AtHelo, 5 * time.Minute, "helo: "},
		{"progress without end at the end", &testfilter.Filter{Write: except("E", progress(5*time.Second, -1))}, AtEnd, 5 * time.Minute, "5m0s that one message"},
		{"progress that stops", &testfilter.Filter{Write: except("R", progress(8*time.Second, 4))}, AtRcpt, 42 * time.Second, "rcpt: no answer within 10s"},
		{"progress in a flood", &testfilter.Filter{Write: except("R", progress(0, -1))}, AtRcpt, 0, "more than 1000 times"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var began atomic.Int64
			tt.f.Answer = func(p testfilter.Packet) (string, bool) {
				began.Store(time.Now().UnixNano())
				return "", false
			}
			run(t, tt.f, Options{}, func(t *testing.T, c *Conn, err error) {
				step := AtConnect
				if err == nil {
					step, _, err = wholeMessage(c)
				}
				if step != tt.step || err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("at %v: %v, want at %v an error with %q", step, err, tt.step, tt.want)
				}
				if took := time.Since(time.Unix(0, began.Load())); took != tt.after {
					t.Errorf("after %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// except uses write for the answers of one step, of which commands has the command, and
// writes others at once.
func except(command string, write func(net.Conn, string) error) func(net.Conn, string) error {
	n := 1 + strings.Index(commands, command) // the negotiation comes first
	if n > strings.Index(commands, "L")+1 {
		n++ // two header fields
	}
	return func(conn net.Conn, octets string) error {
		if n--; n == -1 {
			return write(conn, octets)
		}
		_, err := io.WriteString(conn, octets)
		return err
	}
}

// progress says it so often, -1 is for ever, and then says nothing.
func progress(every time.Duration, times int) func(net.Conn, string) error {
	return func(conn net.Conn, octets string) error {
		for ; times != 0; times-- {
			time.Sleep(every)
			if _, err := io.WriteString(conn, reply('p', "")); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestProgress: a filter that says that it works has its time anew.
func TestProgress(t *testing.T) {
	f := &testfilter.Filter{}
	f.Write = func(conn net.Conn, octets string) error {
		for range 4 {
			time.Sleep(9 * time.Second)
			io.WriteString(conn, reply('p', ""))
		}
		time.Sleep(9 * time.Second)
		_, err := io.WriteString(conn, octets)
		return err
	}
	run(t, f, Options{Connect: time.Minute}, func(t *testing.T, c *Conn, err error) {
		if err == nil || !strings.Contains(err.Error(), `answered the negotiation with "p" (progress)`) {
			t.Errorf("at negotiation: %v", err)
		}
	})
	slow := f.Write
	f.Write = func(conn net.Conn, octets string) error {
		f.Write = slow
		_, err := io.WriteString(conn, octets)
		return err
	}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if v, err := c.Helo("c.example", nil); v.Action != Continue || err != nil {
			t.Errorf("%v, %v", v, err)
		}
	})
}

// TestMessageTime: a filter that is just fast enough at each step of a message can't
// hold it up for longer than a message may take in all. The next message has its own
// time.
func TestMessageTime(t *testing.T) {
	f := &testfilter.Filter{}
	f.Answer = func(p testfilter.Packet) (string, bool) {
		if p.Command == 'R' {
			time.Sleep(9 * time.Second)
		}
		return "", false
	}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		testenv.Must(t, err)
		for range 3 {
			if _, err := c.Mail("<a@c.example>", nil, nil); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if _, err := c.Rcpt("<b@us.example>", nil, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour) // the client's time isn't the filter's
			}
		}
		for n := 20; ; n++ {
			if _, err = c.Rcpt("<b@us.example>", nil, nil); err != nil {
				if n != 33 || !strings.Contains(err.Error(), "5m0s that one message") {
					t.Errorf("at recipient %d: %v", n, err)
				}
				return
			}
		}
	})
}

// TestNoReader: a filter that doesn't read ends the step in time as well.
func TestNoReader(t *testing.T) {
	f := &testfilter.Filter{Protocol: mumHeader, Stops: "M"}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		released := make(chan struct{})
		defer close(released)
		f.Released = released
		if err == nil {
			_, err = c.Mail("<a@c.example>", nil, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for err == nil {
			_, err = c.Header("X", strings.Repeat("x", 1000))
		}
		if took := time.Since(began); took != 5*time.Minute || !strings.Contains(err.Error(), "the 5m0s that one") {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestEnds: what waits ends at once when the context does, or somebody closes.
func TestEnds(t *testing.T) {
	{
		f := &testfilter.Filter{Hangs: "H", Answers: map[byte]string{'H': ""}}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			testenv.Must(t, err)
			began := time.Now()
			time.AfterFunc(time.Second, func() { c.Close() })
			_, err = c.Helo("c.example", nil)
			if err == nil || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := &testfilter.Filter{Hangs: "H", Answers: map[byte]string{'H': ""}}
		ours, theirs := net.Pipe()
		served := make(chan error)
		go func() { served <- f.Serve(theirs) }()
		ctx, cancel := context.WithCancelCause(t.Context())
		c, err := Dial(ctx, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }})
		if err != nil {
			t.Fatal(err)
		}
		why := errors.New("the server stops")
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := c.Helo("c.example", nil); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
		<-served
	})
}
