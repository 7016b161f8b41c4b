package remote

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"postoffice/internal/testenv"
)

// TestTrace: each line of a session is told to the message that it is about.
func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink(mxAddr, &testenv.Sink{Extensions: []string{"X"}})
		var lines []string
		transcript := func(who string) Transcript {
			return func(relay string, dir byte, line string) {
				if relay != mxRelay {
					t.Errorf("a line of %q", relay)
				}
				lines = append(lines, fmt.Sprintf("%s %c %.4s", who, dir, line))
			}
		}
		o := w.options()
		o.Transcript = transcript("opener")
		s := dialFirst(t, w, o)
		for _, m := range []struct {
			name       string
			transcript Transcript
		}{{"first", transcript("first")}, {"unseen", nil}, {"last", transcript("last")}} {
			msg := message(plain, "a")
			msg.Transcript = m.transcript
			must(s.Send(t.Context(), msg))
		}
		s.Close()
		want := []string{
			"opener + ", "opener < 220 ", "opener > EHLO", "opener < 250-", "opener < 250 ",
			"first > MAIL", "first < 250 ", "first > RCPT", "first < 250 ", "first > DATA", "first < 354 ", "first > .", "first < 250 ",
			"last > MAIL", "last < 250 ", "last > RCPT", "last < 250 ", "last > DATA", "last < 354 ", "last > .", "last < 250 ",
			"last > QUIT", "last < 221 ", "last - ",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("got  %q\nwant %q", lines, want)
		}
	})
}

// TestTraceOfRefusal: a host that is passed over is told with the reason.
func TestTraceOfRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers[mxAddr] = refused
		var lines []string
		o := w.options()
		o.Transcript = func(relay string, dir byte, line string) {
			lines = append(lines, fmt.Sprintf("%s %c %s", relay, dir, line))
		}
		if _, err := DialAny(t.Context(), targets()[:1], o); err == nil {
			t.Error("no error")
		}
		if want := []string{mxRelay + " - connection refused"}; !slices.Equal(lines, want) {
			t.Errorf("got %q, want %q", lines, want)
		}
	})
}
