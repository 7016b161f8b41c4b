package milter

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/internal/testenv/testfilter"
)

// run has f talk to it in a bubble of synctest, and holds both to leaving nothing
// behind.
func run(t *testing.T, f *testfilter.Filter, o Options, talk func(t *testing.T, c *Conn, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- f.Serve(theirs) }()
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		c, err := Dial(t.Context(), o)
		defer func() {
			if c != nil {
				c.Quit()
			}
			if err := <-served; err != nil {
				t.Errorf("the filter was sent what it can't read: %v", err)
			}
		}()
		talk(t, c, err)
	})
}

// message tells a filter of a whole session up to the end of a message, and returns
// the first verdict that isn't Continue, or the result.
func wholeMessage(c *Conn) (Step, Result, error) { return messageTo(c, io.Discard) }

// messageTo is message with a new body going to a writer.
func messageTo(c *Conn, body io.Writer) (Step, Result, error) {
	steps := []step{
		{AtConnect, func() (Verdict, error) { return c.Connect(Client{Name: "c.example"}, nil) }},
		{AtHelo, func() (Verdict, error) { return c.Helo("c.example", nil) }},
	}
	if s, r, err := tell(steps); s != AtEnd {
		return s, r, err
	}
	return transaction(c, body)
}

// A step is one thing that a filter is told.
type step struct {
	s    Step
	tell func() (Verdict, error)
}

// tell tells of steps up to the first whose verdict isn't Continue or Skip; AtEnd is
// behind all of them.
func tell(steps []step) (Step, Result, error) {
	for _, step := range steps {
		if v, err := step.tell(); err != nil || v.Action != Continue && v.Action != Skip {
			return step.s, Result{Verdict: v}, err
		}
	}
	return AtEnd, Result{}, nil
}

// transaction is message without connect and helo.
func transaction(c *Conn, body io.Writer) (Step, Result, error) {
	steps := []step{
		{AtMail, func() (Verdict, error) { return c.Mail("<a@c.example>", []string{"SIZE=10", "BODY=8BITMIME"}, nil) }},
		{AtRcpt, func() (Verdict, error) { return c.Rcpt("<b@us.example>", nil, nil) }},
		{AtData, func() (Verdict, error) { return c.Data(nil) }},
		{AtHeader, func() (Verdict, error) { return c.Header("Subject", " hello") }},
		{AtHeader, func() (Verdict, error) { return c.Header("X", " a\n\tb") }},
		{AtEndOfHeader, func() (Verdict, error) { return c.EndOfHeader(nil) }},
		{AtBody, func() (Verdict, error) { return c.Body([]byte("one\ntwo\n")) }},
	}
	if s, r, err := tell(steps); s != AtEnd {
		return s, r, err
	}
	r, err := c.End(nil, body)
	return AtEnd, r, err
}

func TestSession(t *testing.T) {
	f := new(testfilter.Filter)
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		s, r, err := wholeMessage(c)
		if s != AtEnd || r.Verdict.Action != Continue || err != nil {
			t.Errorf("at %v: %+v, %v", s, r, err)
		}
	})
	want := []string{`C "c.example\x00U"`, `H "c.example\x00"`, `M "<a@c.example>\x00SIZE=10\x00BODY=8BITMIME\x00"`, `R "<b@us.example>\x00"`,
		`T ""`, `L "Subject\x00hello\x00"`, `L "X\x00a\n\tb\x00"`, `N ""`, `B "one\r\ntwo\r\n"`, `E ""`, `Q ""`}
	for i, p := range f.Seen() {
		if i >= len(want) || p.String() != want[i] {
			t.Errorf("packet %d: %v, want %v", i, p, want[min(i, len(want)-1)])
		}
	}
}

// TestAnswered: who wants to know hears of each step that the filter answers, and whether it
// has more to say; of one that it doesn't want, or answer, or fails at, nothing.
func TestAnswered(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    *testfilter.Filter
		want string
	}{
		{"all", &testfilter.Filter{}, "connect, helo, mail, rcpt, data, header, header, end of header, body, end of message"},
		{"accepted", &testfilter.Filter{Answers: map[byte]string{'M': testfilter.Reply('a', "")}}, "connect, helo, mail!"},
		{"one recipient refused", &testfilter.Filter{Answers: map[byte]string{'R': testfilter.Reply('r', "")}}, "connect, helo, mail, rcpt"},
		{"refused at the end", &testfilter.Filter{Answers: map[byte]string{'E': testfilter.Reply('r', "")}}, "connect, helo, mail, rcpt, data, header, header, end of header, body, end of message!"},
		{"unwanted", &testfilter.Filter{Protocol: noConnect | noHelo | noBody | mumHeader}, "mail, rcpt, data, end of header, end of message"},
		{"fails", &testfilter.Filter{Answers: map[byte]string{'T': testfilter.Reply('z', "")}}, "connect, helo, mail, rcpt"},
		{"twice at the end", &testfilter.Filter{Answers: map[byte]string{'E': testfilter.Reply('c', "") + testfilter.Reply('c', "")}}, "connect, helo, mail, rcpt, data, header, header, end of header, body"},
	} {
		var heard []string
		o := Options{Answered: func(s Step, last bool) {
			text := s.String()
			if last {
				text += "!"
			}
			heard = append(heard, text)
		}}
		run(t, tt.f, o, func(t *testing.T, c *Conn, err error) {
			if err != nil {
				t.Fatal(err)
			}
			at, _, err := wholeMessage(c)
			if err != nil && c.At() != at {
				t.Errorf("%s: it failed at %v, and %v was begun last", tt.name, at, c.At())
			}
		})
		if got := strings.Join(heard, ", "); got != tt.want {
			t.Errorf("%s: heard of %s, want %s", tt.name, got, tt.want)
		}
	}
}
