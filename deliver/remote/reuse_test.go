package remote

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// Sessions are reused: RSET where something was refused, none else.
func TestReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sink := w.sink(mxAddr, &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			if strings.HasPrefix(ev.Line, "RCPT TO:<b") {
				return reply("550 5.1.1 who")
			}
			return testenv.Action{}
		}})
		s := dialFirst(t, w, w.options())
		for _, to := range []string{"a", "b", "c", "d"} {
			results, err := s.Send(t.Context(), message(plain, to))
			if want := map[string]string{"b": "bounced 550"}[to]; err != nil || want != "" && words(results) != want || want == "" && words(results) != "delivered 250" {
				t.Errorf("%s: %s, %v", to, words(results), err)
			}
		}
		if !s.Usable() {
			t.Error("not usable for a further message")
		}
		time.Sleep(6 * time.Minute)
		if s.Usable() {
			t.Error("usable for ever")
		}
		s.Close()
		if _, err := s.Send(t.Context(), message(plain, "a")); !errors.Is(err, errClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		var verbs []string
		for _, c := range sink.Commands() {
			verbs = append(verbs, c[:4])
		}
		want := "EHLO MAIL RCPT DATA MAIL RCPT DATA RSET MAIL RCPT DATA MAIL RCPT DATA QUIT"
		if got := strings.Join(verbs, " "); got != want || len(sink.Messages()) != 3 {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// R22: an idle session that the peer closed in the meantime is no attempt.
func TestR22StaleSession(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   testenv.Action
		stale bool
	}{
		{"closed", drop, true},
		{"421", testenv.Action{Reply: "421 4.4.2 idle too long", Drop: true}, true},
		{"450 is a true answer", reply("450 4.7.1 later"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				mails := 0
				w.sink(mxAddr, &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
					if ev.Verb == "MAIL" {
						if mails++; mails == 2 {
							return tt.end
						}
					}
					return testenv.Action{}
				}})
				s := dialFirst(t, w, w.options())
				defer s.Close()
				if _, err := s.Send(t.Context(), message(plain, "a")); err != nil {
					t.Fatal(err)
				}
				results, err := s.Send(t.Context(), message(plain, "b"))
				if errors.Is(err, ErrStale) != tt.stale || errors.Is(results[0].Err, ErrStale) != tt.stale || results[0].Action != outcome.Deferred {
					t.Errorf("%+v, %v; want stale %v", results[0], err, tt.stale)
				}
			})
		})
	}
}

// A fresh session that ends at MAIL is an attempt, not a stale session.
func TestFreshSessionIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink(mxAddr, &testenv.Sink{Answer: at("MAIL", drop)})
		r := deliver(t, w.options(), message(plain, "a"))[0]
		if r.Err == nil || errors.Is(r.Err, ErrStale) {
			t.Errorf("%+v", r)
		}
	})
}

// TestLimitsOfSessions: no session has more transactions, refused ones too, or more
// domains of recipients than the peer says that it takes (RFC 9422); the others go in
// further sessions, and each recipient is answered for once.
func TestLimitsOfSessions(t *testing.T) {
	to := []string{"a@x.example", "b@y.example", "c@X.example", "no@y.example", "e@z.example", "f@x.example"}
	for _, tt := range []struct{ limits, want string }{ // recipients; ";" begins a transaction, "|" a session
		{"LIMITS", "a b c no e f ; g"},
		{"LIMITS MAILMAX=1", "a b c no e f | g"},
		{"LIMITS MAILMAX=2 RCPTMAX=2", "a b ; c no | e f ; g"},
		{"LIMITS rcptdomainmax=1", "a c f | b no | e ; g"},
		{"LIMITS RCPTDOMAINMAX=2", "a b c no f | e ; g"},
		{"LIMITS RCPTDOMAINMAX=2 MAILMAX=1 RCPTMAX=3", "a b c | no e | f | g"},
		{"LIMITS RCPTDOMAINMAX=0 MAILMAX=x", "a b c no e f ; g"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPooled(t, false)
			sink := p.sink("192.0.2.1:25", &testenv.Sink{Extensions: []string{tt.limits, "PIPELINING"}, Answer: func(ev testenv.Event) testenv.Action {
				if strings.Contains(ev.Line, "<no@") {
					return reply("550 5.1.1 who")
				}
				return testenv.Action{}
			}})
			j := p.job(hopOf("192.0.2.1"), "j", 0)
			for _, a := range to {
				path, err := smtp.ParseAddress(a)
				if err != nil {
					t.Fatal(err)
				}
				j.Message.Recipients = append(j.Message.Recipients, smtp.Recipient{Path: path})
			}
			var all []string
			j.Answer = func(x Answer) { all = append(all, words(x.Outcomes)) }
			p.Add(j)
			synctest.Wait()
			more := p.job(hopOf("192.0.2.1"), "more", 0)
			more.Message.Recipients = []smtp.Recipient{{Path: smtp.Path{Local: "g", Domain: "z.example"}}}
			p.Add(more)
			synctest.Wait()
			p.end()
			const d = "delivered 250"
			if want := []string{strings.Join([]string{d, d, d, "bounced 550", d, d}, ", ")}; !slices.Equal(all, want) {
				t.Errorf("%s: answers %v, want %v", tt.limits, all, want)
			}
			if got := sessionsOf(sink.Commands()); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.limits, got, tt.want)
			}
		})
	}
}

// sessionsOf shows who was named in which transaction of which session.
func sessionsOf(commands []string) string {
	var b strings.Builder
	between := ""
	for _, c := range commands {
		switch verb, arg, _ := strings.Cut(c, " "); verb {
		case "EHLO":
			if b.Len() > 0 {
				between = " | "
			}
		case "MAIL":
			if between == "" && b.Len() > 0 {
				between = " ; "
			}
		case "RCPT":
			local, _, _ := strings.Cut(strings.TrimPrefix(arg, "TO:<"), "@")
			b.WriteString(between + local)
			between = " "
		case "DATA":
			between = ""
		}
	}
	return b.String()
}

// TestLimitsOfSessionsAtTheEnd: who is left for another session when nothing more is to
// be begun was not tried, and nobody else is asked again.
func TestLimitsOfSessionsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		defer p.end()
		stop, cancel := context.WithCancel(t.Context())
		p.sink("192.0.2.1:25", &testenv.Sink{Extensions: []string{"LIMITS MAILMAX=1 RCPTMAX=1"}, Answer: func(ev testenv.Event) testenv.Action {
			if ev.Verb == "." {
				cancel()
			}
			return testenv.Action{}
		}})
		j := p.job(hopOf("192.0.2.1"), "j", 2)
		j.Stop = stop
		var all []outcome.Outcome
		j.Answer = func(x Answer) { all = append(all, x.Outcomes...) }
		p.Add(j)
		synctest.Wait()
		if len(all) != 2 || all[0].Action != outcome.Delivered || !errors.Is(all[1].Err, ErrUntried) {
			t.Errorf("%+v", all)
		}
	})
}
