package remote

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
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
