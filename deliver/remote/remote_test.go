package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// TestMain fails when goroutines are left after all tests. The authorities of the machine
// that runs the tests are nobody's: they are read once in a process, by whichever test
// comes first.
func TestMain(m *testing.M) {
	os.Setenv("SSL_CERT_FILE", "/nonexistent")
	os.Setenv("SSL_CERT_DIR", "/nonexistent")
	before := runtime.NumGoroutine()
	code := m.Run()
	if !testenv.Eventually(func() bool { return runtime.NumGoroutine() <= before }) {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// world is a network of peers behind address:port, inside one synctest bubble.
type world struct {
	t     *testing.T
	peers map[string]farEnd

	mu     sync.Mutex
	dialed []string
}

// farEnd gives the client's end of a new connection.
type farEnd func(ctx context.Context) (net.Conn, error)

func newWorld(t *testing.T) *world {
	return &world{t: t, peers: map[string]farEnd{}}
}

// sink puts a sink at address; it ends with the test.
func (w *world) sink(address string, s *testenv.Sink) *testenv.Sink {
	w.t.Cleanup(s.Close)
	w.peers[address] = func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go s.ServeConn(server)
		return client, nil
	}
	return s
}

// refused and silent are hosts that are not there.
func refused(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }

func silent(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	w.mu.Unlock()
	p := w.peers[address]
	if p == nil {
		w.t.Errorf("nobody should connect to %s", address)
		return refused(ctx)
	}
	return p(ctx)
}

func (w *world) options() Options { return Options{Hostname: "us.example", Dial: w.dial} }

const (
	mxAddr   = "192.0.2.1:25"
	mxRelay  = "mx.example[192.0.2.1]:25"
	mx2Addr  = "192.0.2.2:25"
	mx2Relay = "mx2.example[192.0.2.2]:25"
)

func targets() []Target {
	return []Target{
		{Host: "mx.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Port: 25},
		{Host: "mx2.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Port: 25},
	}
}

const plain = "Subject: hello\n\nbody\n.dot\n"

// message goes to the local parts given, all at x.example.
func message(text string, to ...string) Message {
	m := Message{
		ReversePath: smtp.Path{Local: "s", Domain: "us.example"},
		Size:        int64(len(text)),
		Open:        func() io.Reader { return strings.NewReader(text) },
	}
	for _, local := range to {
		m.Recipients = append(m.Recipients, smtp.Recipient{Path: smtp.Path{Local: local, Domain: "x.example"}})
	}
	return m
}

// deliver dials the first target and sends one message.
func deliver(t *testing.T, o Options, m Message) []outcome.Outcome {
	t.Helper()
	s, err := Dial(t.Context(), targets()[0], o)
	if err != nil {
		return slices.Repeat([]outcome.Outcome{outcome.Of(err)}, len(m.Recipients))
	}
	defer s.Close()
	results, _ := s.Send(t.Context(), m)
	return results
}

// words prints results shortly: "delivered 250, bounced 550, deferred".
func words(results []outcome.Outcome) string {
	var list []string
	for _, r := range results {
		w := r.Action.String()
		if !r.Reply.IsZero() {
			w += fmt.Sprintf(" %d", r.Reply.Code)
		}
		list = append(list, w)
	}
	return strings.Join(list, ", ")
}

// at answers one verb in its own way.
func at(verb string, act testenv.Action) func(testenv.Event) testenv.Action {
	return func(ev testenv.Event) testenv.Action {
		if ev.Verb == verb {
			return act
		}
		return testenv.Action{}
	}
}

func reply(text string) testenv.Action { return testenv.Action{Reply: text} }
func raw(octets string) testenv.Action { return testenv.Action{Raw: octets, Drop: true} }

var drop = testenv.Action{Drop: true}

// A41: which answer at which step makes which outcome. The rows of the DNS are
// in TestA41NextHops.
func TestA41Table(t *testing.T) {
	for _, tt := range []struct {
		step string
		act  testenv.Action
		want string
	}{
		{"none", testenv.Action{}, "delivered 250"},
		{"", reply("421 4.3.2 busy"), "deferred 421"},
		{"", reply("450 go away"), "deferred 450"},
		{"", reply("554 5.7.1 no"), "deferred 554"},
		{"", reply("354 what"), "deferred 354"},
		{"", drop, "deferred"},
		{"", raw("hello\r\n"), "deferred"},
		{"EHLO", reply("500 what"), "delivered 250"},
		{"EHLO", reply("550 5.7.1 no"), "delivered 250"},
		{"EHLO", reply("421 4.3.2 bye"), "deferred 421"},
		{"EHLO", reply("450 later"), "deferred 450"},
		{"EHLO", drop, "deferred"},
		{"MAIL", reply("250 fine"), "delivered 250"},
		{"MAIL", reply("421 4.3.2 bye"), "deferred 421"},
		{"MAIL", reply("451 4.7.1 later"), "deferred 451"},
		{"MAIL", reply("452 4.3.1 full"), "deferred 452"},
		{"MAIL", reply("550 5.7.1 no"), "bounced 550"},
		{"MAIL", reply("552 5.3.4 too big"), "bounced 552"},
		{"MAIL", reply("354 what"), "deferred 354"},
		{"MAIL", drop, "deferred"},
		{"MAIL", raw("2500 x\r\n"), "deferred"},
		{"RCPT", reply("251 2.1.5 forwarding"), "delivered 250"},
		{"RCPT", reply("421 4.3.2 bye"), "deferred 421"},
		{"RCPT", reply("450 4.7.1 greylisted"), "deferred 450"},
		{"RCPT", reply("452 4.2.2 quota"), "deferred 452"},
		{"RCPT", reply("550 5.1.1 who"), "bounced 550"},
		{"RCPT", reply("552 5.2.2 quota"), "bounced 552"},
		{"RCPT", reply("553 5.1.3 what"), "bounced 553"},
		{"RCPT", reply("354 what"), "deferred 354"},
		{"RCPT", drop, "deferred"},
		{"DATA", reply("250 what"), "deferred 250"},
		{"DATA", reply("421 4.3.2 bye"), "deferred 421"},
		{"DATA", reply("451 4.3.0 later"), "deferred 451"},
		{"DATA", reply("554 5.5.1 no (B66)"), "bounced 554"},
		{"DATA", drop, "deferred"},
		{"BODY", drop, "deferred"},
		{"BODY", reply("421 4.3.2 bye"), "deferred 421"},
		{".", reply("250 queued"), "delivered 250"},
		{".", testenv.Action{Reply: "250 queued", Drop: true}, "delivered 250"},
		{".", reply("421 4.3.2 bye"), "deferred 421"},
		{".", reply("451 4.3.0 later"), "deferred 451"},
		{".", reply("552 5.2.2 too big"), "bounced 552"},
		{".", reply("554 5.6.0 spam"), "bounced 554"},
		{".", reply("354 what"), "deferred"},
		{".", drop, "deferred"},
		{".", raw("250-a\r\n550 b\r\n"), "deferred"},
		{".", raw("250\r\n"), "delivered 250"}, // RFC 5321 section 4.2: a code alone is a reply
		{".", raw("250-a\n250\n"), "delivered 250"},
		{".", raw("550\r\n"), "bounced 550"},
		{"RCPT", raw("550\n"), "bounced 550"},
		{"QUIT", reply("500 what"), "delivered 250"},
		{"QUIT", drop, "delivered 250"},
	} {
		name := fmt.Sprintf("%s %s%.8q", tt.step, tt.act.Reply, tt.act.Raw)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.sink(mxAddr, &testenv.Sink{Answer: at(tt.step, tt.act)})
				text := plain
				if tt.step == "BODY" { // long enough that the client listens meanwhile
					text = strings.Repeat(plain, 5000)
				}
				results := deliver(t, w.options(), message(text, "a"))
				if got := words(results); got != tt.want {
					t.Errorf("%s, want %s: %+v", got, tt.want, results)
				}
				for _, r := range results {
					if r.Relay != mxRelay {
						t.Errorf("relay %q, want %q", r.Relay, mxRelay)
					}
					if r.Action != outcome.Delivered && r.Err == nil && r.Reply.IsZero() {
						t.Error("no reason given")
					}
				}
			})
		})
	}
}

// B67: HELO refused is no success, and not final either.
func TestB67HELORefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink(mxAddr, &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			switch ev.Verb {
			case "EHLO":
				return reply("502 what")
			case "HELO":
				return reply("550 no")
			}
			return testenv.Action{}
		}})
		if got := words(deliver(t, w.options(), message(plain, "a"))); got != "deferred 550" {
			t.Error(got)
		}
	})
}

// A53: replies that are none end the connection and defer.
func TestA53Replies(t *testing.T) {
	for _, octets := range []string{
		"ok\r\n", "25 x\r\n", "2500 x\r\n", "150 x\r\n", "250-a\r\n550 b\r\n", "650 x\r\n",
		strings.Repeat("x", 1<<20), strings.Repeat("250-x\r\n", 5000), "250-x", "",
	} {
		for _, step := range []string{"", "EHLO", "RCPT", "."} {
			t.Run(fmt.Sprintf("%s %.12q", step, octets), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					s := w.sink(mxAddr, &testenv.Sink{Answer: at(step, testenv.Action{Raw: octets, Drop: true})})
					start := time.Now()
					got := words(deliver(t, w.options(), message(plain, "a")))
					if !strings.HasPrefix(got, "deferred") || time.Since(start) > time.Minute {
						t.Errorf("%s after %v", got, time.Since(start))
					}
					if n := len(s.Messages()); n > 0 && step != "." {
						t.Errorf("%d messages arrived", n)
					}
				})
			})
		}
	}
}

// A54, R11, R20, R6: who doesn't welcome us is passed over for the next host,
// and nothing is written to it.
func TestA54NextHost(t *testing.T) {
	for _, tt := range []struct {
		name string
		peer farEnd
		act  testenv.Action
	}{
		{"R6 refused", refused, testenv.Action{}},
		{"R6 timed out", silent, testenv.Action{}},
		{"R11 banner 4xx", nil, reply("421 4.3.2 later")},
		{"banner 5xx", nil, reply("554 no")},
		{"R20 closed without a word", nil, drop},
		{"no banner", nil, testenv.Action{Hang: true}},
		{"odd banner", nil, raw("SSH-2.0-x\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.sink(mxAddr, &testenv.Sink{Answer: at("", tt.act)})
				if tt.peer != nil {
					w.peers[mxAddr] = tt.peer
				}
				w.sink(mx2Addr, &testenv.Sink{})
				s, err := DialAny(t.Context(), targets(), w.options())
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if s.Relay() != mx2Relay {
					t.Errorf("relay %s", s.Relay())
				}
				if got := first.Commands(); len(got) > 0 {
					t.Errorf("the first host heard %q", got)
				}
				_, err = Dial(t.Context(), targets()[0], w.options())
				if r := outcome.Of(err); err == nil || r.Action != outcome.Deferred || r.Relay != mxRelay {
					t.Errorf("alone: %+v, %v; want a deferral", r, err)
				}
			})
		})
	}
}

// R13: no host, no crash.
func TestR13NoAddress(t *testing.T) {
	for _, list := range [][]Target{nil, {{Host: "mx.example", Port: 25}}} {
		s, err := DialAny(t.Context(), list, Options{})
		if s != nil || err == nil || outcome.Of(err).Action != outcome.Deferred {
			t.Errorf("DialAny(%v) = %v, %v", list, s, err)
		}
	}
}

// A58: no more than 20 addresses in one attempt, IPv6 among them, 30 s each.
func TestA58TwentyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var list []Target
		for i := range 3 {
			target := Target{Host: fmt.Sprintf("mx%d.example", i), Port: 25}
			for j := range 9 {
				a := netip.AddrFrom4([4]byte{192, 0, 2, byte(10*i + j)})
				if j%2 > 0 {
					a = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(i), 15: byte(j)})
				}
				target.Addrs = append(target.Addrs, a)
				w.peers[dialAddr(a, 25)] = silent
			}
			list = append(list, target)
		}
		start := time.Now()
		_, err := DialAny(t.Context(), list, w.options())
		if err == nil || len(w.dialed) != 20 {
			t.Errorf("%d addresses tried (%v), want 20", len(w.dialed), err)
		}
		if took := time.Since(start); took != 20*defaultConnect {
			t.Errorf("took %v, want 20 times %v", took, defaultConnect)
		}
	})
}

// R47: the banner, too, is part of the time that all attempts have together.
func TestDialTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var list []Target
		for i := range 10 {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			w.sink(dialAddr(a, 25), &testenv.Sink{Answer: at("", testenv.Action{Hang: true})})
			list = append(list, Target{Host: "mx.example", Addrs: []netip.Addr{a}, Port: 25})
		}
		start := time.Now()
		_, err := DialAny(t.Context(), list, w.options())
		if took := time.Since(start); took > defaultTotal || outcome.Of(err).Action != outcome.Deferred {
			t.Errorf("%v after %v", err, took)
		}
	})
}
