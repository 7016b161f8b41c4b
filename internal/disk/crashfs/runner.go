package crashfs

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// runner counts and reports for the checks of one run.
type runner struct {
	t     testing.TB
	o     Run
	check Check
	begun time.Time
	hash  maphash.Seed

	recoveries, equal, failures atomic.Int64

	mu   sync.Mutex
	seen map[[2]uint64]bool
}

func newRunner(t testing.TB, o Run, check Check) *runner {
	return &runner{t: t, o: o, check: check, begun: time.Now(), hash: maphash.MakeSeed(), seen: map[[2]uint64]bool{}}
}

// finish fails the test, from its own goroutine, if a check has.
func (r *runner) finish(points int) Stats {
	r.t.Helper()
	s := Stats{Points: points, Recoveries: int(r.recoveries.Load()), Equal: int(r.equal.Load()), Elapsed: time.Since(r.begun)}
	total.Add(int64(s.Recoveries))
	r.t.Logf("crashfs: %v", s)
	if n := r.failures.Load(); n > 0 {
		r.t.FailNow()
	}
	return s
}

var total atomic.Int64

// Recoveries returns how many checks this test binary has run.
func Recoveries() int { return int(total.Load()) }

func (r *runner) enough() bool { return r.failures.Load() >= enough }

// fresh reports whether no equal disk has been checked with the same
// acknowledgements.
func (r *runner) fresh(s *state, acked []string) bool {
	if r.o.Repeat {
		return true
	}
	var words uint64
	for i, id := range acked {
		words += maphash.String(r.hash, id) * uint64(2*i+1)
	}
	key := [2]uint64{s.hash(r.hash), words}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] {
		r.equal.Add(1)
		return false
	}
	r.seen[key] = true
	return true
}

// try checks one disk.
func (r *runner) try(f *FS, acked []string, what func() string) {
	if r.enough() {
		return
	}
	r.recoveries.Add(1)
	rec := examine(r.t, func(t testing.TB) { r.check(t, f, acked) })
	if !rec.Failed() {
		return
	}
	r.fail(f, acked, what(), rec.said())
}

func (r *runner) fail(f *FS, acked []string, what, said string) {
	r.failures.Add(1)
	f.w.mu.Lock()
	calls := f.w.recent()
	f.w.mu.Unlock()
	r.t.Errorf("crashfs: %s (POSTOFFICE_CRASH_SEED=%d)\n  acknowledged: %q\n  the check's last calls:\n    %s\n%s",
		what, r.o.Seed, acked, strings.Join(calls, "\n    "), said)
}

// cuts are all images tried at a point, but for the death of the process.
func (r *runner) cuts(p *point, index, random int) []cut {
	cuts := append([]cut{}, fixed...)
	cuts = append(cuts, p.disk.prefixes()...)
	for i := range random {
		cuts = append(cuts, p.disk.random(r.o.Seed+uint64(index)*1_000_003+uint64(i)))
	}
	return cuts
}

// crash checks every image of a point.
func (r *runner) crash(p *point, index int, acked []string, now func() time.Time) {
	acked = acked[:p.acked:p.acked]
	if killed := p.disk.fork(); r.fresh(&killed, acked) {
		r.try(newFS(killed, now), acked, func() string { return p.String() + ": the process was killed" })
	}
	for _, c := range r.cuts(p, index, r.o.Random) {
		if image := p.disk.apply(c); r.fresh(&image, acked) {
			r.try(newFS(image, now), acked, func() string { return p.String() + ": power cut, left: " + c.name })
		}
	}
}

func (p *point) String() string {
	if p.calls == 0 {
		return "before the first call"
	}
	return fmt.Sprintf("after call %d (%v)", p.calls, p.last)
}

// all runs f for 0 to n-1, a few at a time.
func (r *runner) all(n int, f func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range r.o.Workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !r.enough(); i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// point is the disk at an instant between two calls, and what had been
// acknowledged by then.
type point struct {
	disk  state
	acked int // of the world's list; set when the next call comes
	calls int
	last  call
}

// record starts noting a point after every call that changes the disk. All
// that is there is made durable first: it is where the scenario starts from.
func (f *FS) record() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.disk.syncAll()
	f.w.points = []point{{disk: f.w.disk.snapshot()}}
}

// resume starts noting points without making anything durable.
func (f *FS) resume() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.points = []point{{disk: f.w.disk.snapshot()}}
}

// mark notes a point. Acknowledgements given since the last one belong to it:
// whoever gave them had seen all of its calls return.
func (w *world) mark() {
	if w.points == nil {
		return
	}
	w.points[len(w.points)-1].acked = len(w.acked)
	w.points = append(w.points, point{disk: w.disk.snapshot(), acked: len(w.acked), calls: w.calls, last: w.trace[w.calls%traceLength]})
}

// ack notes that somebody outside has been told that id is done. What a dead
// process says is not heard.
func (f *FS) ack(id string) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if !f.dead {
		f.w.acked = append(f.w.acked, id)
	}
}

// recorded returns the points noted and the acknowledgements.
func (f *FS) recorded() ([]point, []string) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if n := len(f.w.points); n > 0 {
		f.w.points[n-1].acked = len(f.w.acked)
	}
	return f.w.points, f.w.acked
}
