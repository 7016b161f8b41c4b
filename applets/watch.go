package applets

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/deliver"
	"postoffice/internal/control"
	"postoffice/internal/smtpd"
	"postoffice/spool"
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

// watcher is one who looks. Nobody waits for him: what he is too slow for he
// loses.
type watcher struct {
	uid  int           // whose messages
	each bool          // everybody's
	wake chan struct{} // there is something to take
	over chan struct{} // closed: nothing more will come

	mu     sync.Mutex // guards what follows
	sights []control.Sight
	octets int // of them
	lost   int // lines
	late   bool
}

func (w *watchers) Watching() bool { return w.n.Load() > 0 }

// Watch shows an event to whom the message belongs, and to who looks at all.
func (w *watchers) Watch(id spool.ID, client string, e deliver.Event) {
	s := sightOf(id, e)
	owner, owned := smtpd.ProgramUID(client)
	w.mu.Lock()
	defer w.mu.Unlock()
	for x := range w.all {
		if x.each || owned && x.uid == owner {
			x.put(s)
		}
	}
}

func (w *watchers) add(uid int, each bool) *watcher {
	x := &watcher{uid: uid, each: each, wake: make(chan struct{}, 1), over: make(chan struct{})}
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

// end lets all watchers go when they have seen what there is.
func (w *watchers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for x := range w.all {
		close(x.over)
	}
	w.n.Add(-int32(len(w.all)))
	clear(w.all)
}

// put keeps a sight until it is taken, if there is room for it.
func (x *watcher) put(s control.Sight) {
	x.mu.Lock()
	defer x.mu.Unlock()
	size, room := sightSize(s), maxWatched
	if s.Line != nil {
		room /= 2
	}
	switch {
	case x.octets+size <= room:
		if x.lost > 0 {
			x.sights = append(x.sights, control.Sight{Lost: x.lost})
			x.lost = 0
		}
		x.sights = append(x.sights, s)
		x.octets += size
	case s.Line != nil:
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

// take waits for something to see, or for look. more says that there may be
// more; none and no more is the end.
func (x *watcher) take(ctx context.Context, look <-chan time.Time) (some []control.Sight, more bool, err error) {
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
	some, x.sights, x.octets = x.sights, nil, 0
	if x.lost > 0 {
		some = append(some, control.Sight{Lost: x.lost})
		x.lost = 0
	}
	if x.late {
		return some, false, errLate
	}
	return some, more, nil
}

// watch answers the request of that name. What it starts ends with life.
func (s *system) watch(ctx, life context.Context, p control.Peer, r control.Request, send func([]control.Sight) error) error {
	if r.All || r.Run {
		if err := mayChange(p); err != nil {
			return err
		}
	}
	x := s.watchers.add(p.UID, r.All)
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
		some, yet, err := x.take(ctx, look.C)
		if len(some) > 0 {
			if err := send(some); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		for _, sight := range some {
			if sight.End != nil && !sight.End.Again {
				delete(left, sight.ID)
			}
		}
		if len(some) == 0 {
			s.dropGone(left)
		}
		more = yet && (left == nil || len(left) > 0)
	}
	return nil
}

// dropGone takes out the messages that will have no turn: somebody has removed
// or held them, or they are set aside.
func (s *system) dropGone(left map[string]bool) {
	for id := range left {
		snap, err := s.queue.Read(spool.ID(id))
		if errors.Is(err, spool.ErrGone) || err == nil && snap.Place != spool.Active || s.runner.SetAside(spool.ID(id)) {
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
		if e.Place == spool.Active {
			left[string(e.ID)] = true
		}
	}
	s.runNow(life)
	return left, nil
}
