package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/control"
	"postoffice/deliver"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// maxWatched is what waits for one watcher, in octets: half of it may be lines
// of conversations, all of it outcomes.
const maxWatched = 256 << 10

// goneEvery is how often a run that is watched is compared with the queue.
const goneEvery = 5 * time.Second

// watchers show what happens to messages while they are delivered. They are the
// deliver.Watcher of a server.
type watchers struct {
	n atomic.Int32 // so that nobody who delivers needs the mutex where nobody looks

	mu    sync.Mutex // guards what follows
	all   map[*watcher]bool
	ended bool
}

// watcher is somebody who looks. Nobody waits for them: what they are too slow
// for they lose.
type watcher struct {
	viewer route.Viewer  // who looks, at the messages that they have submitted
	each   bool          // and at everybody's
	wake   chan struct{} // there is something to take
	over   chan struct{} // closed: nothing more will come

	mu     sync.Mutex // guards what follows
	events []control.Event
	octets int // of them
	lost   int // lines
	late   bool
}

func (w *watchers) Watching() bool { return w.n.Load() > 0 }

// Watch shows an event to whom the message belongs, and to who looks at all.
func (w *watchers) Watch(id spool.ID, client string, e deliver.Event) {
	owner, owned := envelope.ClientUID(client)
	w.mu.Lock()
	defer w.mu.Unlock()
	for x := range w.all {
		if !x.each && (!owned || x.viewer.UID != owner) {
			continue
		}
		if shown, ok := eventOf(id, e, x.viewer); ok {
			x.enqueue(shown)
		}
	}
}

func (w *watchers) add(v route.Viewer, each bool) *watcher {
	x := &watcher{viewer: v, each: each, wake: make(chan struct{}, 1), over: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		close(x.over)
		return x
	}
	if w.all == nil {
		w.all = map[*watcher]bool{}
	}
	w.all[x] = true
	w.n.Add(1)
	return x
}

func (w *watchers) remove(x *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[x] {
		delete(w.all, x)
		w.n.Add(-1)
	}
}

// close lets all watchers go when they have seen what there is.
func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for x := range w.all {
		close(x.over)
	}
	w.n.Add(-int32(len(w.all)))
	clear(w.all)
}

// enqueue keeps an event until it is taken, if there is room for it.
func (x *watcher) enqueue(e control.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	size, room := eventSize(e), maxWatched
	if e.Line != nil {
		room /= 2
	}
	switch {
	case x.octets+size <= room:
		if x.lost > 0 {
			x.events = append(x.events, control.Event{Lost: x.lost})
			x.lost = 0
		}
		x.events = append(x.events, e)
		x.octets += size
	case e.Line != nil:
		x.lost++
	default:
		x.late = true
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// errLate ends a watch that has lost outcomes: who waits for one must not think
// that there is none yet.
var errLate = &control.Error{Code: 75, Text: "too much happened at once to be watched"}

// next waits for something to see, or for look. more says that there may be
// more; none and no more is the end.
func (x *watcher) next(ctx context.Context, look <-chan time.Time) (some []control.Event, more bool, err error) {
	more = true
	select {
	case <-x.wake:
	case <-look:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-x.over:
		more = false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	some, x.events, x.octets = x.events, nil, 0
	if x.lost > 0 {
		some = append(some, control.Event{Lost: x.lost})
		x.lost = 0
	}
	if x.late {
		return some, false, errLate
	}
	return some, more, nil
}

// watch answers the request of that name. What it starts ends with life.
func (s *system) watch(ctx, life context.Context, p control.Peer, r control.Request, send func([]control.Event) error) error {
	if r.All || r.Run {
		if err := mayChange(p); err != nil {
			return err
		}
	}
	x := s.watchers.add(s.settings.Load().viewer(p.UID), r.All)
	defer s.watchers.remove(x)
	if err := send(nil); err != nil {
		return err
	}
	var left map[string]bool // messages of the run that have had no turn yet
	if r.Run {
		var err error
		if left, err = s.runWatched(life, r); err != nil {
			return err
		}
	}
	look := time.NewTicker(goneEvery)
	defer look.Stop()
	for more := left == nil || len(left) > 0; more; {
		some, yet, err := x.next(ctx, look.C)
		if len(some) > 0 {
			if err := send(some); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		for _, event := range some {
			if event.End != nil && !event.End.Again {
				delete(left, event.ID)
			}
		}
		if len(some) == 0 {
			s.forgetGone(left)
		}
		more = yet && (left == nil || len(left) > 0)
	}
	return nil
}

// forgetGone takes out the messages that will have no turn: somebody has removed
// or held them, or they are set aside.
func (s *system) forgetGone(left map[string]bool) {
	for id := range left {
		snap, err := s.queue.Read(spool.ID(id))
		if errors.Is(err, spool.ErrGone) || err == nil && snap.Location != spool.Active || s.runner.SetAside(spool.ID(id)) {
			delete(left, id)
		}
	}
}

// runWatched tries everything now, or lets the pass begin that this server is
// for, and returns which messages that will be; nil where the watch ends with
// the pass.
func (s *system) runWatched(life context.Context, r control.Request) (map[string]bool, error) {
	if s.passes != nil {
		what := onePass{reroute: r.Reroute}
		for _, id := range r.Only {
			what.only = append(what.only, spool.ID(id))
		}
		s.passes(what)
		return nil, nil
	}
	left := map[string]bool{}
	for e, err := range s.queue.Entries() {
		if err != nil {
			return nil, err
		}
		if e.Location == spool.Active {
			left[string(e.ID)] = true
		}
	}
	s.runNow(life)
	return left, nil
}

// eventOf is an event as the viewer sees it, if they do: foreign text is printable
// from here on (A25).
func eventOf(id spool.ID, e deliver.Event, v route.Viewer) (control.Event, bool) {
	shown := control.Event{ID: string(id)}
	switch e := e.(type) {
	case deliver.SessionLine:
		if e.Hides(v) {
			return shown, false
		}
		shown.Line = &control.Line{Relay: clean(e.Relay), Dir: string(rune(e.Dir)), Text: clean(e.Text)}
	case deliver.RecipientOutcome:
		e = e.For(v)
		o := e.Outcome
		shown.Outcome = &control.Outcome{Address: clean(e.To), Original: clean(e.Original.String()), Status: e.Status,
			Relay: clean(o.Relay), DSN: o.Reply.Status, Next: e.Next}
		if !o.Reply.IsZero() {
			shown.Outcome.Reply = clean(o.Reply.String())
		}
		if o.Err != nil {
			shown.Outcome.Err = clean(o.Err.Error())
		}
	case deliver.AttemptEnd:
		shown.End = &control.End{Pending: e.Pending, Again: e.Again}
	case waits:
		shown.End = &control.End{Pending: e.recipients, Kept: true}
	}
	return shown, true
}

// clean makes foreign text fit for a terminal, and short.
func clean(text string) string { return smtp.Printable(text, 1000) }

// eventSize is about what an event needs, in octets.
func eventSize(e control.Event) int {
	const fixed = 100
	switch {
	case e.Line != nil:
		return fixed + len(e.Line.Relay) + len(e.Line.Text)
	case e.Outcome != nil:
		o := e.Outcome
		return fixed + len(o.Address) + len(o.Original) + len(o.Relay) + len(o.Reply) + len(o.Err)
	}
	return fixed
}

// kept tells of a message that waits for the next run of the queue.
func (w *watchers) kept(id spool.ID, client string, recipients int) {
	if w.Watching() {
		w.Watch(id, client, waits{recipients})
	}
}

// over tells of a message that came back instead of being tried.
func (w *watchers) over(id spool.ID, client string) {
	if w.Watching() {
		w.Watch(id, client, deliver.AttemptEnd{})
	}
}

// waits is the event of a message that nobody tries now.
type waits struct{ recipients int }
