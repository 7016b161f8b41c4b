package store

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	maxQueue   = 256 // requests that wait; more wait to be let in, each with its own deadline
	maxGroup   = 64  // requests that share one sync, so that the first of them doesn't wait long for the last
	maxChanges = 64  // changes of one request of Delete or Put, so that others wait a few milliseconds at most
)

// changing says what is to become of a key. keep: now is its value; else it holds nothing.
type changing struct {
	key   string
	to    func(old string, there bool) (now string, keep bool)
	blind bool // what the key holds doesn't matter, and isn't read
}

// request is some changes that somebody waits for.
type request struct {
	changes []changing
	done    chan outcome

	mu   sync.Mutex // held while a change decides; guards what follows
	left bool       // nobody waits any more: nothing is asked any more
}

// outcome is what came of a request.
type outcome struct {
	err      error
	deleted  int
	wrote    bool // it is to be written
	panicked any  // by a change
}

// write is what is to be written.
type write struct {
	value  string
	delete bool
}

// change makes changes and waits for them.
func (l *life) change(ctx context.Context, all []changing) (deleted int, err error) {
	r := &request{changes: all, done: make(chan outcome, 1)}
	defer r.leave()
	if err := l.err(); err != nil {
		return 0, err
	}
	if l.engine.full() {
		return l.ask(ctx, r)
	}
	if began := l.writing.Load(); began != 0 && time.Since(time.UnixMilli(began)) > stallWait {
		return 0, ErrLate
	}
	select {
	case l.changes <- r:
	case <-ctx.Done():
		return 0, late(ctx)
	case <-l.down:
		return 0, l.err()
	}
	select {
	case out := <-r.done:
		return out.result()
	case <-l.engine.stuck():
		return 0, ErrFull
	case <-ctx.Done():
		return 0, late(ctx)
	case <-l.down:
		return 0, l.err()
	}
}

// ask asks the changes of a request and makes none: there is no room. Where nothing is
// to change that is no error.
func (l *life) ask(ctx context.Context, r *request) (int, error) {
	out, err := read(ctx, l, l.reads, func() (outcome, error) {
		g := pending{engine: l.engine, writes: map[string]write{}}
		out := l.decide(&g, r)
		if len(g.writes) > 0 {
			return outcome{err: ErrFull}, nil
		}
		return out, nil
	})
	if err != nil {
		return 0, err
	}
	return out.result()
}

func (o outcome) result() (int, error) {
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.deleted, o.err
}

// leave says that nobody waits any more. When it returns no change runs.
func (r *request) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
}

// changeAll makes changes, those that wait together, until the end.
func (l *life) changeAll() {
	for {
		select {
		case r := <-l.changes:
			l.changeGroup(l.group(r))
		case <-l.down:
			return
		}
	}
}

// group is a request and those that wait behind it.
func (l *life) group(first *request) []*request {
	all := []*request{first}
	for len(all) < maxGroup {
		select {
		case r := <-l.changes:
			all = append(all, r)
		default:
			return all
		}
	}
	return all
}

// changeGroup makes the changes of a group with one sync.
func (l *life) changeGroup(group []*request) {
	l.writing.Store(time.Now().UnixMilli())
	defer l.writing.Store(0)
	g := pending{engine: l.engine, writes: map[string]write{}}
	outcomes := make([]outcome, len(group))
	for i, r := range group {
		outcomes[i] = l.decide(&g, r)
	}
	if len(g.writes) > 0 {
		if err := l.write(g.writes); err != nil {
			for i := range outcomes {
				if outcomes[i].wrote {
					outcomes[i] = outcome{err: err}
				}
			}
		}
	}
	for i, r := range group {
		r.done <- outcomes[i]
	}
}

// write writes what a group has come to.
func (l *life) write(writes map[string]write) (err error) {
	defer l.caught(&err)
	return l.engine.write(writes)
}

// pending is what a group is going to write, over what there is.
type pending struct {
	engine engine
	writes map[string]write // by key
}

// get is a key's value behind what the group has changed so far.
func (g *pending) get(key string) (value string, there bool, err error) {
	if w, ok := g.writes[key]; ok {
		return w.value, !w.delete, nil
	}
	return g.engine.get(key)
}

// decide asks the changes of a request, and adds what they say to the group's if there is
// no error.
func (l *life) decide(g *pending, r *request) (out outcome) {
	defer l.caught(&out.err)
	all := map[string]write{}
	for _, c := range r.changes {
		var old string
		var there bool
		if !c.blind {
			var err error
			if old, there, err = g.get(c.key); err != nil {
				return outcome{err: err}
			}
		}
		w, changed, panicked := r.ask(c, old, there)
		if panicked != nil {
			return outcome{panicked: panicked}
		}
		if !changed {
			continue
		}
		if err := checkRecord(c.key, w.value); err != nil {
			return outcome{err: err}
		}
		if w.delete {
			out.deleted++
		}
		all[c.key] = w
	}
	out.wrote = len(all) > 0
	maps.Copy(g.writes, all)
	return out
}

// ask asks one change, if somebody waits for it.
func (r *request) ask(c changing, old string, there bool) (w write, changed bool, panicked any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return write{}, false, nil
	}
	defer func() { panicked = recover() }()
	now, keep := c.to(old, there)
	if !keep {
		return write{delete: true}, there, nil
	}
	return write{value: now}, !there || old != now, nil
}
