package control

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSessions: each session arrives as it is, however many there are, one whose
// texts have no room in a line with less of them; the end of one is asked for by
// its ID.
func TestSessions(t *testing.T) {
	var want []Session
	for i := range 2000 {
		want = append(want, Session{ID: fmt.Sprint("S", i), Client: "unknown[192.0.2.1]:25", State: "idle", Helo: "x", Begun: time.Unix(1, 0).UTC(), Since: time.Unix(2, 0).UTC(), Received: int64(i)})
	}
	path := start(t, Handler{
		Sessions: func(Peer) iter.Seq[Session] { return slices.Values(want) },
		EndSession: func(_ Peer, id string) error {
			if id != "ID1" {
				return &Error{69, "no session " + id}
			}
			return nil
		},
	})
	var got []Session
	err := dial(t, path).Sessions(t.Context(), func(s Session) bool {
		got = append(got, s)
		return true
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got = nil
	if err := dial(t, path).Sessions(t.Context(), func(s Session) bool { got = append(got, s); return false }); err != nil || len(got) != 1 {
		t.Errorf("who wants one gets %d: %v", len(got), err)
	}
	if err := dial(t, path).EndSession(t.Context(), "ID1"); err != nil {
		t.Error(err)
	}
	wantError(t, dial(t, path).EndSession(t.Context(), "ID2"), 69, "no session ID2")
	long := strings.Repeat("x", MaxLine)
	err = sessionLines([]Session{{ID: long, Client: long, Helo: long, State: long, QueueID: long}}, func(line []byte) error {
		if len(line) > MaxLine {
			t.Errorf("a line of %d octets", len(line))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFilters: each filter arrives as it is, one whose texts have no room in a line with
// less of them; and a server without any, or for somebody who sees none, is no error.
func TestFilters(t *testing.T) {
	want := []Filter{
		{Name: "dkim", State: FilterWorks, Messages: 7, Refused: 1, Edited: 6, Connections: 2},
		{Name: "/f", State: FilterFailed, Reason: strings.Repeat("x", MaxLine), Until: time.Unix(5, 0).UTC(), Failures: 3},
	}
	path := start(t, Handler{Filters: func(p Peer) []Filter { return want }})
	got := []Filter{}
	show := func(f Filter) bool { got = append(got, f); return true }
	if err := dial(t, path).Filters(t.Context(), show); err != nil {
		t.Error(err)
	}
	want[1].Reason = want[1].Reason[:maxText]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got = nil
	if err := dial(t, path).Filters(t.Context(), func(f Filter) bool { show(f); return false }); err != nil || len(got) != 1 {
		t.Errorf("who wants one gets %d: %v", len(got), err)
	}
	got = nil
	if err := dial(t, start(t, Handler{Filters: func(Peer) []Filter { return nil }})).Filters(t.Context(), show); err != nil || got != nil {
		t.Errorf("where there are none: %v, %v", got, err)
	}
}
