package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/smtpd"
	"postoffice/deliver"
	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// TestWatchersSeeTheirOwn: an event is shown to whom the message belongs, by
// what the envelope says of its client, and to who may see all.
func TestWatchersSeeTheirOwn(t *testing.T) {
	var w watchers
	if w.Watching() {
		t.Error("somebody looks")
	}
	joe, amy, all := w.add(as(1000), false), w.add(as(1001), false), w.add(as(0), true)
	program := smtpd.Client{Kind: smtpd.Local, UID: 1000, User: "joe"}
	network := smtpd.Client{Name: "x[uid-1001]"}
	for i, client := range []string{program.String(), network.String(), "bounce", "", "amy[uid 1001]"} {
		w.Watch(spool.ID(fmt.Sprint(i)), client, deliver.AttemptEnd{})
	}
	for _, tt := range []struct {
		name string
		x    *watcher
		want string
	}{{"joe", joe, "0"}, {"amy", amy, "4"}, {"all", all, "0 1 2 3 4"}} {
		some, more, err := tt.x.next(t.Context(), nil)
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
	w.close()
	if _, more, err := all.next(t.Context(), nil); more || err != nil || w.Watching() {
		t.Errorf("after the end: %v, %v, watching %v", more, err, w.Watching())
	}
	if _, more, _ := w.add(as(1000), false).next(t.Context(), nil); more {
		t.Error("a watch that begins after the end goes on")
	}
}

// TestSlowWatcher: who doesn't look loses lines, is told how many, and hears of
// it when an outcome is lost; memory has its bound.
func TestSlowWatcher(t *testing.T) {
	var w watchers
	x := w.add(as(1000), false)
	line := deliver.SessionLine{Relay: "mx.example[192.0.2.1]:25", Dir: '>', Text: strings.Repeat("x", 900)}
	const lines = 1000
	for range lines {
		w.Watch("A", "joe[uid 1000]", line)
	}
	w.Watch("A", "joe[uid 1000]", deliver.RecipientOutcome{Status: "sent"})
	some, more, err := x.next(t.Context(), nil)
	lost, outcomes := 0, 0
	for _, s := range some {
		lost += s.Lost
		if s.Outcome != nil {
			outcomes++
		}
	}
	if err != nil || !more || outcomes != 1 || lost == 0 || lost+len(some)-2 != lines {
		t.Errorf("%d events, %d lines lost, %d outcomes, %v, %v", len(some), lost, outcomes, more, err)
	}
	if len(some) > maxWatched/900 {
		t.Errorf("%d events were kept", len(some))
	}
	for range maxWatched {
		w.Watch("A", "joe[uid 1000]", deliver.RecipientOutcome{Status: "sent"})
	}
	if _, more, err := x.next(t.Context(), nil); more || !errors.Is(err, errLate) {
		t.Errorf("outcomes were lost: %v, %v", more, err)
	}
}

// TestA25Events: foreign octets that could drive a terminal come as \xNN, and
// no text is long.
func TestA25Events(t *testing.T) {
	e := deliver.RecipientOutcome{Status: "bounced", To: "a\x1b[2J"}
	e.Outcome.Reply = smtp.Reply{Code: 550, Text: "a\x1b]0;x\x07\n\xff" + strings.Repeat("y", 100000)}
	e.Outcome.Err = errors.New("\x00")
	for _, e := range []deliver.Event{e, deliver.SessionLine{Relay: "mx\r\n", Dir: '<', Text: "\x9b" + strings.Repeat("z", 100000)}} {
		s, _ := eventOf("A", e, as(1000))
		text := fmt.Sprintf("%+v %+v", s.Line, s.Outcome)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > 3000 {
			t.Errorf("%d octets: %.300q", len(text), text)
		}
	}
}

// TestWatchRights: only root and the queue's owner see everybody's mail.
func TestWatchRights(t *testing.T) {
	s := &system{}
	s.settings.Store(&settings{conf: new(config.Config)})
	for _, r := range []control.Request{{All: true}, {Run: true}} {
		err := s.watch(t.Context(), t.Context(), control.Peer{UID: 54321}, r, func([]control.Event) error {
			t.Error("a stranger watches")
			return nil
		})
		if e := (*control.Error)(nil); !errors.As(err, &e) || e.Code != 77 {
			t.Errorf("%+v: %v, want code 77", r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.watch(ctx, ctx, control.Peer{UID: 54321}, control.Request{}, func(some []control.Event) error {
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
	if s.forgetGone(left); len(left) != 1 || !left[there] {
		t.Errorf("%v are waited for, want %s", left, there)
	}
}

// mailInto puts a message into a spool.
func mailInto(t *testing.T, q *spool.Queue, to string) string {
	t.Helper()
	path := func(s string) smtp.Path {
		p, err := smtp.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	in, err := q.Create(envelope.Envelope{Arrived: time.Now(), Client: "test", ReversePath: path("from@one.example"), Recipients: []smtp.Recipient{{Path: path(to)}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "Subject: x\n\nhello\n"); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	return string(in.ID())
}

// as is the viewer with a uid, who sees what is theirs.
func as(uid int) route.Viewer { return route.Viewer{UID: uid} }

// TestWatchHidden: a recipient behind another user's .forward is shown by its name
// alone, and the conversation about it not at all.
func TestWatchHidden(t *testing.T) {
	var w watchers
	joe, bob := w.add(as(1000), false), w.add(route.Viewer{UID: 1001, User: "bob"}, true)
	screen := route.Screen{{File: route.File{Via: envelope.Via{Source: envelope.FromForward, Name: "bob"}, Owner: "bob"}}}
	w.Watch("A", "joe[uid 1000]", deliver.SessionLine{Relay: "secret", Dir: '>', Text: "RCPT TO:<secret>", For: []route.Screen{screen}})
	w.Watch("A", "joe[uid 1000]", deliver.RecipientOutcome{
		To: "secret", Status: "bounced", Screen: screen,
		Outcome: outcome.Outcome{Action: outcome.Bounced, Relay: "secret", TLS: "secret", Reply: smtp.Reply{Code: 550, Status: "5.1.1", Text: "secret"}, Err: errors.New("secret")},
	})
	for _, tt := range []struct {
		x    *watcher
		want string
	}{
		{joe, `[{"id":"A","outcome":{"address":"recipient of .forward of bob","original":"","status":"bounced","dsn":"5.1.1","reply":"550 5.1.1 where it leads, it was refused"}}]`},
		{bob, `[{"id":"A","line":{"relay":"secret","dir":"\u003e","text":"RCPT TO:\u003csecret\u003e"}},{"id":"A","outcome":{"address":"secret","original":"","status":"bounced","relay":"secret","dsn":"5.1.1","reply":"550 5.1.1 secret","err":"secret"}}]`},
	} {
		some, _, err := tt.x.next(t.Context(), nil)
		got, jerr := json.Marshal(some)
		if string(got) != tt.want || err != nil || jerr != nil {
			t.Errorf("uid %d saw\n%s, %v, %v; want\n%s", tt.x.viewer.UID, got, err, jerr, tt.want)
		}
	}
}
