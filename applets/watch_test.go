package applets

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postoffice/deliver"
	"postoffice/internal/control"
	"postoffice/internal/smtp"
	"postoffice/internal/smtpd"
	"postoffice/spool"
)

// TestWatchersSeeTheirOwn: an event is shown to whom the message belongs, by
// what the envelope says of its client, and to who may see all.
func TestWatchersSeeTheirOwn(t *testing.T) {
	var w watchers
	if w.Watching() {
		t.Error("somebody looks")
	}
	joe, amy, all := w.add(1000, false), w.add(1001, false), w.add(0, true)
	program := smtpd.Client{Kind: smtpd.Submission, UID: 1000, User: "joe"}
	network := smtpd.Client{Name: "x[uid-1001]"}
	for i, client := range []string{program.String(), network.String(), "bounce", "", "amy[uid 1001]"} {
		w.Watch(spool.ID(fmt.Sprint(i)), client, deliver.AttemptEnd{})
	}
	for _, tt := range []struct {
		name string
		x    *watcher
		want string
	}{{"joe", joe, "0"}, {"amy", amy, "4"}, {"all", all, "0 1 2 3 4"}} {
		some, more, err := tt.x.take(t.Context(), nil)
		var ids []string
		for _, s := range some {
			ids = append(ids, s.ID)
		}
		if got := strings.Join(ids, " "); got != tt.want || !more || err != nil {
			t.Errorf("%s saw %q, %v, %v, want %q", tt.name, got, more, err, tt.want)
		}
	}
	w.remove(joe)
	w.remove(joe)
	w.remove(amy)
	w.end()
	if _, more, err := all.take(t.Context(), nil); more || err != nil || w.Watching() {
		t.Errorf("after the end: %v, %v, watching %v", more, err, w.Watching())
	}
	if _, more, _ := w.add(1000, false).take(t.Context(), nil); more {
		t.Error("a watch that begins after the end goes on")
	}
}

// TestSlowWatcher: who doesn't look loses lines, is told how many, and hears of
// it when an outcome is lost; memory has its bound.
func TestSlowWatcher(t *testing.T) {
	var w watchers
	x := w.add(1000, false)
	line := deliver.SessionLine{Relay: "mx.example[192.0.2.1]:25", Dir: '>', Text: strings.Repeat("x", 900)}
	const lines = 1000
	for range lines {
		w.Watch("A", "joe[uid 1000]", line)
	}
	w.Watch("A", "joe[uid 1000]", deliver.RecipientOutcome{Status: "sent"})
	some, more, err := x.take(t.Context(), nil)
	lost, outcomes := 0, 0
	for _, s := range some {
		lost += s.Lost
		if s.Outcome != nil {
			outcomes++
		}
	}
	if err != nil || !more || outcomes != 1 || lost == 0 || lost+len(some)-2 != lines {
		t.Errorf("%d sights, %d lines lost, %d outcomes, %v, %v", len(some), lost, outcomes, more, err)
	}
	if len(some) > maxWatched/900 {
		t.Errorf("%d sights were kept", len(some))
	}
	for range maxWatched {
		w.Watch("A", "joe[uid 1000]", deliver.RecipientOutcome{Status: "sent"})
	}
	if _, more, err := x.take(t.Context(), nil); more || !errors.Is(err, errLate) {
		t.Errorf("outcomes were lost: %v, %v", more, err)
	}
}

// TestA25Sights: foreign octets that could drive a terminal come as \xNN, and
// no text is long.
func TestA25Sights(t *testing.T) {
	e := deliver.RecipientOutcome{Status: "bounced", To: "a\x1b[2J",
		Outcome: deliver.Outcome{Reply: smtp.Reply{Code: 550, Text: "a\x1b]0;x\x07\n\xff" + strings.Repeat("y", 100000)}, Err: errors.New("\x00")}}
	for _, s := range []control.Sight{sightOf("A", e), sightOf("A", deliver.SessionLine{Relay: "mx\r\n", Dir: '<', Text: "\x9b" + strings.Repeat("z", 100000)})} {
		text := fmt.Sprintf("%+v %+v", s.Line, s.Outcome)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > 3000 {
			t.Errorf("%d octets: %.300q", len(text), text)
		}
	}
}

// TestWatchRights: only root and the queue's owner see everybody's mail.
func TestWatchRights(t *testing.T) {
	s := &system{}
	for _, r := range []control.Request{{All: true}, {Run: true}} {
		err := s.watch(t.Context(), t.Context(), control.Peer{UID: 54321}, r, func([]control.Sight) error {
			t.Error("a stranger watches")
			return nil
		})
		if e := (*control.Error)(nil); !errors.As(err, &e) || e.Code != 77 {
			t.Errorf("%+v: %v, want code 77", r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.watch(ctx, ctx, control.Peer{UID: 54321}, control.Request{}, func(some []control.Sight) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || s.watchers.Watching() {
		t.Errorf("%v, still watching: %v", err, s.watchers.Watching())
	}
}

// TestWatchedRunEnds: a run is over although a message of it is never tried,
// since somebody takes it away meanwhile.
func TestWatchedRunEnds(t *testing.T) {
	dir := t.TempDir()
	q, err := spool.Open(spool.Options{Dir: dir, UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	s := &system{queue: q, runner: deliver.NewRunner(deliver.Options{Queue: q})}
	held, there := mailInto(t, q, "x@two.example"), mailInto(t, q, "y@two.example")
	if err := s.runner.Hold(t.Context(), spool.ID(held), "odd", "a test"); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{held: true, there: true, "HOH41WQIF40R65": true}
	if s.dropGone(left); len(left) != 1 || !left[there] {
		t.Errorf("%v are waited for, want %s", left, there)
	}
}
