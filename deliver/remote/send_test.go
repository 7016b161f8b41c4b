package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// dialFirst dials the first target, which must work.
func dialFirst(t *testing.T, w *world, o Options) *Session {
	t.Helper()
	s, err := Dial(t.Context(), targets()[0], o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A55, R38: each recipient keeps its own result, and no good one, no DATA.
func TestA55Recipients(t *testing.T) {
	byLocal := func(ev testenv.Event) testenv.Action {
		if ev.Verb != "RCPT" {
			return testenv.Action{}
		}
		_, local, _ := strings.Cut(ev.Line, "<")
		switch local[:1] {
		case "b":
			return reply("550 5.1.1 who")
		case "d":
			return reply("450 4.2.0 later")
		}
		return testenv.Action{}
	}
	for _, tt := range []struct {
		to, want string
		messages int
	}{
		{"a", "delivered 250", 1},
		{"a b d", "delivered 250, bounced 550, deferred 450", 1},
		{"b d", "bounced 550, deferred 450", 0},
		{"d b a2 a3", "deferred 450, bounced 550, delivered 250, delivered 250", 1},
	} {
		for _, ext := range [][]string{nil, {"8BITMIME"}} {
			t.Run(fmt.Sprint(tt.to, ext), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					s := w.sink(mxAddr, &testenv.Sink{Answer: byLocal, Extensions: ext})
					if got := words(deliver(t, w.options(), message(plain, strings.Fields(tt.to)...))); got != tt.want {
						t.Errorf("%s, want %s", got, tt.want)
					}
					got := s.Messages()
					if len(got) != tt.messages {
						t.Fatalf("%d messages, want %d", len(got), tt.messages)
					}
					for _, m := range got {
						if m.Text() != plain {
							t.Errorf("arrived: %q", m.Text())
						}
					}
				})
			})
		}
	}
}

// A37: the 250 to the dot counts, whatever comes after it.
func TestA37AfterTheDot(t *testing.T) {
	for _, act := range []testenv.Action{drop, {Hang: true}, {Raw: strings.Repeat("x", 100000), Drop: true}, reply("554 no")} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.sink(mxAddr, &testenv.Sink{Answer: at("QUIT", act)})
			s := dialFirst(t, w, w.options())
			results, err := s.Send(t.Context(), message(plain, "a"))
			if got := words(results); got != "delivered 250" || err != nil {
				t.Errorf("%s, %v", got, err)
			}
			start := time.Now()
			s.Close()
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("QUIT took %v", took)
			}
		})
	}
}

// RFC 5321 section 4.5.3.1.10: 452 or 552 to a later RCPT starts the next
// transaction, and no recipient gets two copies.
func TestTooManyRecipients(t *testing.T) {
	for _, tt := range []struct {
		name, refusal string
		take, rcpts   int
		want          []int // recipients of each message
	}{
		{"no limit", "", 1000, 250, []int{100, 100, 50}},
		{"452", "452 4.5.3 too many", 30, 100, []int{30, 30, 30, 10}},
		{"552", "552 too many", 10, 25, []int{10, 10, 5}},
		{"one each", "452 one only", 1, 5, []int{1, 1, 1, 1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				sink := w.sink(mxAddr, &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
					if ev.Verb == "RCPT" && len(ev.Message.Rcpt) >= tt.take {
						return reply(tt.refusal)
					}
					return testenv.Action{}
				}})
				var to []string
				for i := range tt.rcpts {
					to = append(to, fmt.Sprintf("r%d", i))
				}
				for _, r := range deliver(t, w.options(), message(plain, to...)) {
					if r.Action != outcome.Delivered {
						t.Errorf("%+v", r)
					}
				}
				var sizes []int
				copies := map[string]int{}
				for _, m := range sink.Messages() {
					sizes = append(sizes, len(m.Rcpt))
					for _, to := range m.To() {
						copies[to]++
					}
				}
				if !slices.Equal(sizes, tt.want) {
					t.Errorf("transactions of %v, want %v", sizes, tt.want)
				}
				for to, n := range copies {
					if n != 1 {
						t.Errorf("%s got %d copies", to, n)
					}
				}
				if n := strings.Count(strings.Join(sink.Commands(), "\n"), "RCPT "); n > 2*tt.rcpts {
					t.Errorf("%d RCPTs for %d recipients", n, tt.rcpts)
				}
			})
		})
	}
}

// A 452 or 552 about a mailbox is that mailbox's result, also behind others.
func TestFullMailboxBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sink := w.sink(mxAddr, &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			switch {
			case strings.HasPrefix(ev.Line, "RCPT TO:<q"):
				return reply("452 4.2.2 quota")
			case strings.HasPrefix(ev.Line, "RCPT TO:<f"):
				return reply("552 5.2.2 quota")
			}
			return testenv.Action{}
		}})
		got := words(deliver(t, w.options(), message(plain, "a", "q", "f", "b")))
		if got != "delivered 250, deferred 452, bounced 552, delivered 250" || len(sink.Messages()) != 1 {
			t.Errorf("%s in %d messages", got, len(sink.Messages()))
		}
	})
}

// A56: what the peer doesn't offer isn't used, and what doesn't fit isn't sent.
func TestA56Extensions(t *testing.T) {
	const eight = "Subject: x\n\nGr\u00fc\u00dfe\n"
	utf8 := smtp.Param{Name: "SMTPUTF8"}
	body8 := smtp.Param{Name: "BODY", Value: "8BITMIME"}
	dsn := []smtp.Param{{Name: "RET", Value: "HDRS"}, {Name: "ENVID", Value: "e"}}
	for _, tt := range []struct {
		name, text string
		params     []smtp.Param
		ext        []string
		mail, want string
	}{
		{"nothing offered", plain, nil, []string{"X"}, "MAIL FROM:<s@us.example>", "delivered 250"},
		{"SIZE, exact", "a\nb", nil, []string{"SIZE 1000"}, "MAIL FROM:<s@us.example> SIZE=6", "delivered 250"},
		{"SIZE just enough", "a\nb\n", nil, []string{"SIZE 6"}, "MAIL FROM:<s@us.example> SIZE=6", "delivered 250"},
		{"SIZE too small", "a\nb\n", nil, []string{"SIZE 5"}, "", "bounced 552"},
		{"SIZE without a limit", plain, nil, []string{"SIZE"}, "MAIL FROM:<s@us.example> SIZE=30", "delivered 250"},
		{"SIZE 0", plain, nil, []string{"SIZE 0"}, "MAIL FROM:<s@us.example> SIZE=30", "delivered 250"},
		{"SIZE nonsense", plain, nil, []string{"SIZE x"}, "MAIL FROM:<s@us.example> SIZE=30", "delivered 250"},
		{"SIZE of the arrival is not repeated", "a\n", []smtp.Param{{Name: "SIZE", Value: "77"}}, []string{"SIZE 9"}, "MAIL FROM:<s@us.example> SIZE=3", "delivered 250"},
		{"8BITMIME for 8 bits", eight, nil, []string{"8BITMIME"}, "MAIL FROM:<s@us.example> BODY=8BITMIME", "delivered 250"},
		{"8BITMIME for 7 bits", plain, nil, []string{"8BITMIME"}, "MAIL FROM:<s@us.example>", "delivered 250"},
		{"8BITMIME as declared", plain, []smtp.Param{body8}, []string{"8BITMIME"}, "MAIL FROM:<s@us.example> BODY=8BITMIME", "delivered 250"},
		{"8 bits without 8BITMIME go as they are", eight, []smtp.Param{body8}, []string{"X"}, "MAIL FROM:<s@us.example>", "delivered 250"},
		{"DSN", plain, dsn, []string{"DSN"}, "MAIL FROM:<s@us.example> RET=HDRS ENVID=e", "delivered 250"},
		{"no DSN", plain, dsn, []string{"X"}, "MAIL FROM:<s@us.example>", "delivered 250"},
		{"AUTH is not passed on", plain, []smtp.Param{{Name: "AUTH", Value: "x"}}, []string{"AUTH PLAIN"}, "MAIL FROM:<s@us.example>", "delivered 250"},
		{"SMTPUTF8 missing", "Subject: Gr\u00fc\u00dfe\n\nb\n", []smtp.Param{utf8}, []string{"8BITMIME"}, "", "bounced 553"},
		{"SMTPUTF8", "Subject: Gr\u00fc\u00dfe\n\nb\n", []smtp.Param{utf8}, []string{"SMTPUTF8"}, "MAIL FROM:<s@us.example> SMTPUTF8", "delivered 250"},
		{"SMTPUTF8 missing, and nothing needs it", plain, []smtp.Param{utf8}, []string{"X"}, "MAIL FROM:<s@us.example>", "delivered 250"},
		{"a header of eight bits as ever", "Subject: Gr\u00fc\u00dfe\n\nb\n", nil, []string{"X"}, "MAIL FROM:<s@us.example>", "delivered 250"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				sink := w.sink(mxAddr, &testenv.Sink{Extensions: tt.ext})
				m := message(tt.text, "a")
				m.Params = tt.params
				results := deliver(t, w.options(), m)
				if got := words(results); got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
				mail := ""
				for _, c := range sink.Commands() {
					if strings.HasPrefix(c, "MAIL") {
						mail = c
					}
					if c == "DATA" && tt.mail == "" {
						t.Error("DATA was sent")
					}
				}
				if mail != tt.mail {
					t.Errorf("%q, want %q", mail, tt.mail)
				}
				if tt.want == "bounced 552" && results[0].Reply.Status != "5.3.4" || tt.want == "bounced 553" && results[0].Reply.Status != "5.6.7" {
					t.Errorf("status %s", results[0].Reply.Status)
				}
			})
		})
	}
}

// A15, A56: one address outside ASCII stops that recipient alone.
func TestA56OneAddressOutsideASCII(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sink := w.sink(mxAddr, &testenv.Sink{})
		results := deliver(t, w.options(), message(plain, "a", "b\u00fc", "c"))
		if got := words(results); got != "delivered 250, bounced 553, delivered 250" || len(sink.Messages()) != 1 {
			t.Errorf("%s in %d messages", got, len(sink.Messages()))
		}
		m := message(plain, "a")
		m.ReversePath.Local = "\u00fc"
		if got := words(deliver(t, w.options(), m)); got != "bounced 553" {
			t.Error(got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sink := w.sink(mxAddr, &testenv.Sink{Extensions: []string{"SMTPUTF8", "PIPELINING"}})
		if got := words(deliver(t, w.options(), message(plain, "a", "b\u00fc"))); got != "delivered 250, delivered 250" {
			t.Error(got)
		}
		if all := fmt.Sprintf("%q", sink.Commands()); !strings.Contains(all, "SMTPUTF8") || !strings.Contains(all, "<b\u00fc@") {
			t.Errorf("commands %s", all)
		}
	})
}

// RFC 9422: no transaction has more recipients than the peer says that it takes; what
// can't be read says nothing.
func TestLimitOfRecipients(t *testing.T) {
	for limits, want := range map[string]int{"LIMITS RCPTMAX=2": 3, "LIMITS MAILMAX=9 rcptmax=3": 2, "LIMITS RCPTMAX=0": 1, "LIMITS RCPTMAX=x": 1, "LIMITS": 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			sink := w.sink(mxAddr, &testenv.Sink{Extensions: []string{limits, "PIPELINING"}})
			got := words(deliver(t, w.options(), message(plain, "a", "b", "c", "d", "e")))
			if n := len(sink.Messages()); n != want || strings.Count(got, "delivered 250") != 5 {
				t.Errorf("%s: %s in %d messages, want %d", limits, got, n, want)
			}
		})
	}
}

// A57, A9: TLS by chance.
func TestA57TLS(t *testing.T) {
	cert, _ := testenv.Certificate(t, "other.example")
	garbage := testenv.Action{Raw: "220 go\r\n"}
	for _, tt := range []struct {
		name     string
		tls      TLS
		act      testenv.Action
		sessions int
		secure   bool
		want     string
	}{
		{"any certificate will do", TLSMay, testenv.Action{}, 1, true, "delivered 250"},
		{"never", TLSNever, testenv.Action{}, 1, false, "delivered 250"},
		{"454", TLSMay, reply("454 4.7.0 not now"), 2, false, "delivered 250"},
		{"501", TLSMay, reply("501 what"), 2, false, "delivered 250"},
		{"handshake cut", TLSMay, testenv.Action{Raw: "220 go\r\n", Drop: true}, 2, false, "delivered 250"},
		{"silence instead of a handshake", TLSMay, testenv.Action{Reply: "220 go", Hang: true}, 2, false, "delivered 250"},
		{"A9 text slipped in", TLSMay, testenv.Action{Raw: garbage.Raw + "250 AUTH PLAIN\r\n"}, 1, false, "deferred"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				sink := w.sink(mxAddr, &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Answer: at("STARTTLS", tt.act)})
				o := w.options()
				o.TLS = tt.tls
				results := deliver(t, o, message(plain, "a"))
				if got := words(results); got != tt.want {
					t.Errorf("%s, want %s: %+v", got, tt.want, results)
				}
				if n := sink.Sessions(); n != tt.sessions {
					t.Errorf("%d sessions, want %d", n, tt.sessions)
				}
				for _, m := range sink.Messages() {
					if m.TLS != tt.secure || (results[0].TLS != "") != tt.secure {
						t.Errorf("encrypted %v, reported %q; want %v", m.TLS, results[0].TLS, tt.secure)
					}
				}
			})
		})
	}
}

func TestContextEndsASession(t *testing.T) {
	reason := errors.New("shutting down")
	for _, step := range []string{"", "MAIL", "BODY", "."} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.sink(mxAddr, &testenv.Sink{Answer: at(step, testenv.Action{Hang: true})})
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { cancel(reason) })
			start := time.Now()
			var r outcome.Outcome
			if s, err := Dial(ctx, targets()[0], w.options()); err != nil {
				r = outcome.Of(err)
			} else {
				results, serr := s.Send(ctx, message(plain, "a"))
				if r = results[0]; serr == nil || s.Usable() {
					t.Errorf("%q: the session goes on: %v", step, serr)
				}
				s.Close()
			}
			if r.Action != outcome.Deferred || !errors.Is(r.Err, reason) || time.Since(start) != time.Minute {
				t.Errorf("%q: %+v after %v", step, r, time.Since(start))
			}
		})
	}
}

// The message can't be read: later, and the peer never sees half of it as whole.
func TestUnreadableMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sink := w.sink(mxAddr, &testenv.Sink{})
		bad := errors.New("input/output error")
		m := message(plain, "a", "b")
		opened := 0
		m.Open = func() io.Reader {
			if opened++; opened == 1 {
				return strings.NewReader(plain)
			}
			return io.MultiReader(strings.NewReader(plain[:20]), iotest.ErrReader(bad))
		}
		for range 2 { // fails in the transaction, then already in the first look
			for _, r := range deliver(t, w.options(), m) {
				if r.Action != outcome.Deferred || !errors.Is(r.Err, bad) || errors.Is(r.Err, ErrStale) {
					t.Errorf("%+v", r)
				}
			}
		}
		if n := len(sink.Messages()); n != 0 {
			t.Errorf("%d messages arrived", n)
		}
	})
}

// Over TCP, as the world does it, with the standard dialer.
func TestOverTCP(t *testing.T) {
	sink := &testenv.Sink{}
	addr, err := net.ResolveTCPAddr("tcp", sink.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	a := addr.AddrPort().Addr().Unmap()
	s, err := Dial(t.Context(), Target{Host: smtp.FormatLiteral(a), Addrs: netipList(a), Port: addr.Port}, Options{Hostname: "us.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var to []string
	for i := range 100 {
		to = append(to, fmt.Sprintf("recipient-with-a-long-name-%d", i))
	}
	for _, r := range must(s.Send(t.Context(), message(strings.Repeat(plain, 1000), to...))) {
		if r.Action != outcome.Delivered || r.Relay != fmt.Sprintf("[%s]:%d", a, addr.Port) {
			t.Fatalf("%+v", r)
		}
	}
}
