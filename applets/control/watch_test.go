package control

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func events() []Event {
	next := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	return []Event{
		{ID: "A1", Line: &Line{"mx.example[192.0.2.1]:25", Sent, "EHLO us.example"}},
		{ID: "A1", Outcome: &Outcome{Address: "a@x.example", Original: "a", Status: "deferred", Relay: "local", DSN: "4.2.0", Reply: "450 4.2.0 busy", Next: next}},
		{ID: "A1", End: &End{Pending: 1, Again: true}},
		{Lost: 7},
	}
}

// TestWatch: what the handler sends comes as it is, after the word that the
// watch has begun.
func TestWatch(t *testing.T) {
	var asked Request
	path := start(t, Handler{Watch: func(_ context.Context, _ Peer, r Request, send func([]Event) error) error {
		asked = r
		return errors.Join(send(nil), send(events()[:1]), send(events()[1:]))
	}})
	var got [][]Event
	err := dial(t, path).Watch(t.Context(), Request{All: true, Run: true}, func(some []Event) bool {
		got = append(got, some)
		return true
	})
	want := [][]Event{{}, events()[:1], events()[1:]}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if want := (Request{Do: Watch, All: true, Run: true}); !cmp.Equal(asked, want) {
		t.Errorf("the handler was asked %+v, want %+v", asked, want)
	}
}

// TestWatchEnds: the handler hears of a client that closes, and of one that has
// seen enough.
func TestWatchEnds(t *testing.T) {
	ended := make(chan error, 1)
	path := start(t, Handler{Watch: func(ctx context.Context, _ Peer, _ Request, send func([]Event) error) error {
		err := send(nil)
		<-ctx.Done()
		ended <- err
		return ctx.Err()
	}})
	if err := dial(t, path).Watch(t.Context(), Request{}, func([]Event) bool { return false }); err != nil {
		t.Errorf("a watch that saw enough: %v", err)
	}
	c := dial(t, path)
	begun := make(chan bool)
	closed := make(chan error)
	go func() {
		closed <- c.Watch(context.Background(), Request{}, func([]Event) bool { begun <- true; return true })
	}()
	<-begun
	c.Close()
	if err := <-closed; err == nil {
		t.Error("a watch that was cut off ended without an error")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestWatchersHaveTheirOwnRoom: who watches takes no place from requests.
func TestWatchersHaveTheirOwnRoom(t *testing.T) {
	s := newServer(Handler{Watch: func(ctx context.Context, _ Peer, _ Request, send func([]Event) error) error {
		err := send(nil)
		<-ctx.Done()
		return err
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := make(chan bool, 1)
	ours, theirs := pair(t)
	s.all.Go(func() {
		s.serve(ctx, theirs, Peer{UID: 71000}, &answer{conn: theirs, until: time.Now().Add(answerWait), leave: func() { left <- true }})
		theirs.Close()
	})
	if _, err := ours.Write([]byte("{\"do\":\"watch\"}\n")); err != nil {
		t.Fatal(err)
	}
	<-left
	fill := func(want int) {
		t.Helper()
		var all []func()
		for leave, _ := s.enter(&s.watchers, 71000, maxWatchers); leave != nil; leave, _ = s.enter(&s.watchers, 71000, maxWatchers) {
			all = append(all, leave)
		}
		if len(all) != want {
			t.Errorf("%d further places for the same user, want %d", len(all), want)
		}
		for _, leave := range all {
			leave()
		}
	}
	fill(15)
	ours.Close()
	s.all.Wait()
	fill(16)
	for range 16 {
		s.enter(&s.watchers, 71000, maxWatchers)
	}
	ours, theirs = pair(t)
	a := &answer{conn: theirs, until: time.Now().Add(time.Minute), leave: func() {}}
	wantError(t, s.watch(ctx, a, Peer{UID: 71000}, Request{}), codeTempFail, "too many")
	ours.Close()
}

// pair is a connection with both ends.
func pair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.UnixConn), b.(*net.UnixConn)
}

// TestServeConn answers one request on a connection that nobody listened for.
func TestServeConn(t *testing.T) {
	ours, theirs := pair(t)
	served := make(chan bool)
	go func() {
		ServeConn(t.Context(), theirs, Handler{Version: func() string { return "1.2" }})
		close(served)
	}()
	if text, err := NewClient(ours).Version(t.Context()); text != "1.2" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	<-served
}

// TestEventsAreCapped: no line is longer than it may be.
func TestEventsAreCapped(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	many := make([]Event, 2000)
	for i := range many {
		many[i] = events()[1]
	}
	many = append(many, Event{Line: &Line{long, Sent, long}}, Event{Outcome: &Outcome{long, long, "sent", long, "", long, long, time.Time{}}})
	n := 0
	err := eventLines(many, func(line []byte) error {
		f, err := decodeFrame(line)
		if n += len(f.Watched); err != nil || len(line) > MaxLine {
			t.Errorf("line of %d octets: %v", len(line), err)
		}
		return nil
	})
	if err != nil || n != len(many) {
		t.Errorf("%d events, %v, want %d", n, err, len(many))
	}
}
