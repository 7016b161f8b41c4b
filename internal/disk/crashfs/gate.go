package crashfs

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gate stops every call until the scheduler lets it through.
type gate struct {
	mu     sync.Mutex
	parked []turn
	live   int           // actors that have not returned
	open   bool          // calls go through: all actors have returned
	event  chan struct{} // one token: something was parked, or an actor returned
}

// turn is a call that waits.
type turn struct {
	process int
	op      Op
	path    string
	on      chan struct{}
}

// before orders turns in a way that does not depend on which came first: the
// race detector's scheduler starts goroutines in random order.
func (t turn) before(o turn) int {
	return cmp.Or(cmp.Compare(t.process, o.process), cmp.Compare(t.op, o.op), cmp.Compare(t.path, o.path))
}

func (f *FS) wait(op Op, path string) {
	w := f.w
	w.mu.Lock()
	g := w.gate
	w.mu.Unlock()
	if g == nil {
		return
	}
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return
	}
	t := turn{f.process, op, path, make(chan struct{})}
	g.parked = append(g.parked, t)
	g.mu.Unlock()
	g.signal()
	<-t.on
}

func (g *gate) signal() {
	select {
	case g.event <- struct{}{}:
	default:
	}
}

func (g *gate) returned() {
	g.mu.Lock()
	g.live--
	g.mu.Unlock()
	g.signal()
}

// settled is how often the scheduler lets all others run before it looks who
// waits: on one processor once is enough unless the runtime picks the
// scheduler from its global queue out of turn, which it does once in 61.
const settled = 3

// run lets one parked call through at a time, picked by r, until all actors
// have returned; before runs ahead of each. Then the gate is open.
func (g *gate) run(r *rand.Rand, before func()) {
	for {
		for range settled {
			runtime.Gosched()
		}
		g.mu.Lock()
		if g.live == 0 {
			g.open = true
			for _, t := range g.parked {
				close(t.on)
			}
			g.parked = nil
			g.mu.Unlock()
			return
		}
		if len(g.parked) == 0 {
			g.mu.Unlock()
			<-g.event // all are waiting for something of their own: a timer, or each other
			continue
		}
		slices.SortStableFunc(g.parked, turn.before)
		i := r.IntN(len(g.parked))
		next := g.parked[i]
		g.parked = slices.Delete(g.parked, i, i+1)
		g.mu.Unlock()
		before()
		close(next.on)
	}
}

// Actor is one of several programs that run at the same time.
type Actor struct {
	// FS is the process that the actor is part of, made with Process; several
	// actors may be of one process. Acknowledgements end with its life.
	FS *FS
	// Do is the program.
	Do func(ack func(id string))
}

// Interleave runs the actors that setup makes, at the same time, schedules
// times, each time in another order: before each call to the disk the next one
// to go on is picked at random, among the calls of all goroutines that work on
// the disk. Only one goroutine runs at a time, so a schedule's seed gives the
// same order again. In every second schedule one process is killed at some
// call, unless KeepAlive is set.
//
// After each schedule all processes die, and check sees the disk as they left
// it, after a power cut at the end that left a random part, and after one at
// some earlier call.
func Interleave(t testing.TB, schedules int, setup func(*FS) []Actor, check Check) Stats {
	t.Helper()
	return Run{}.Interleave(t, schedules, setup, check)
}

// Interleave is the function of that name with o's settings.
func (o Run) Interleave(t testing.TB, schedules int, setup func(*FS) []Actor, check Check) Stats {
	t.Helper()
	o = o.defaults()
	r := newRunner(t, o, check)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	length := 100 // calls of a schedule, to pick one from; corrected by each
	for i := range schedules {
		if r.enough() {
			break
		}
		length = r.schedule(o.Seed+uint64(i), length, i%2 == 1 && !o.KeepAlive, setup)
	}
	return r.finish(schedules)
}

// schedule runs one schedule and its checks, and returns its number of calls.
func (r *runner) schedule(seed uint64, length int, kill bool, setup func(*FS) []Actor) int {
	rng := rand.New(rand.NewPCG(seed, 1))
	f := New()
	r.o.Prepare(f)
	actors := setup(f)
	f.record()
	g := &gate{live: len(actors), event: make(chan struct{}, 1)}
	f.w.gate = g
	var lines []string
	for _, a := range actors {
		go func() {
			defer g.returned()
			rec := examine(r.t, func(testing.TB) { a.Do(a.FS.ack) })
			if rec.Failed() {
				g.mu.Lock()
				lines = append(lines, rec.said())
				g.mu.Unlock()
			}
		}()
	}
	calls, victim := 0, -1
	if kill {
		victim = rng.IntN(max(length, 1))
	}
	g.run(rng, func() {
		if calls == victim {
			actors[rng.IntN(len(actors))].FS.Kill()
		}
		calls++
	})
	points, acked := f.recorded()
	describe := func(what string) func() string {
		return func() string { return fmt.Sprintf("schedule %d, victim at call %d: %s", seed, victim, what) }
	}
	if len(lines) > 0 {
		r.fail(f, acked, describe("an actor failed")(), strings.Join(lines, "\n"))
	}
	end := &points[len(points)-1]
	r.try(newFS(end.disk.fork(), f.w.now), acked, describe("all were killed at the end"))
	for i, p := range []*point{end, &points[rng.IntN(len(points))]} {
		c := p.disk.random(seed*2 + uint64(i))
		r.try(newFS(p.disk.apply(c), f.w.now), acked[:p.acked:p.acked], describe(fmt.Sprintf("%v: power cut, left: %s", p, c.name)))
	}
	return calls
}
