package crashfs

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
)

// Scenario is a program: it works on a disk and calls ack when somebody
// outside is told that something is done, a client by 250, a sink by taking a
// message. It returns an error if it could not do its work. Where it is run
// many times, runs may overlap: it shares nothing between them.
type Scenario func(fs disk.FS, ack func(id string)) error

// Check is given the disk after a crash, as the next process finds it, and
// what had been acknowledged. It recovers and says what is wrong. Checks of
// one run work at the same time on disks of their own and share nothing.
type Check func(t testing.TB, fs disk.FS, acked []string)

// Recover is what the next process does on the disk, when that is to be
// crashed too.
type Recover func(fs disk.FS, acked []string, ack func(id string)) error

// Stats is what a run has done.
type Stats struct {
	Points     int // instants at which the power was cut, or errors injected
	Recoveries int // checks run
	Equal      int // images left out, equal to one checked with the same acknowledgements
	Elapsed    time.Duration
}

func (s Stats) String() string {
	rate := float64(s.Recoveries) / max(s.Elapsed.Seconds(), 1e-9)
	return fmt.Sprintf("%d points, %d recoveries (%d more images were equal to one of them) in %v, %.0f a second",
		s.Points, s.Recoveries, s.Equal, s.Elapsed.Round(time.Millisecond), rate)
}

// Run holds the knobs of the suites; its zero value is what EveryStep and the
// others use.
type Run struct {
	// Prepare makes the disk that the scenario starts from; all that it makes
	// is durable. It may also choose SetPortable, SetJournal, SetClock.
	Prepare func(*FS)
	Random  int    // random images at each point; 0: POSTOFFICE_CRASH_IMAGES, 20
	Seed    uint64 // 0: POSTOFFICE_CRASH_SEED, 1
	Workers int    // checks at a time; 0: GOMAXPROCS
	// Repeat checks an image again that equals an earlier one: worth its time
	// where the check itself has an order that differs from run to run.
	Repeat bool
	// KeepAlive makes Interleave kill no process, for checks that can then
	// allow no second delivery at all.
	KeepAlive bool
}

// enough failures are printed before a run ends early.
const enough = 3

func (o Run) defaults() Run {
	if o.Prepare == nil {
		o.Prepare = func(*FS) {}
	}
	if o.Random == 0 {
		o.Random = setting("POSTOFFICE_CRASH_IMAGES", 20)
	}
	if o.Seed == 0 {
		o.Seed = uint64(setting("POSTOFFICE_CRASH_SEED", 1))
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return o
}

func (o Run) disk() *FS {
	f := New()
	o.Prepare(f)
	f.record()
	return f
}

// EveryStep runs the scenario once, and for every instant between two of its
// calls checks what a crash leaves then: the process killed; the power cut with
// nothing, everything, every prefix, names without data, data without names,
// lengths without data, and 20 random parts of what was pending.
func EveryStep(t testing.TB, scenario Scenario, check Check) Stats {
	t.Helper()
	return Run{}.EveryStep(t, scenario, check)
}

// EveryStep is the function of that name with o's settings.
func (o Run) EveryStep(t testing.TB, scenario Scenario, check Check) Stats {
	t.Helper()
	o = o.defaults()
	r := newRunner(t, o, check)
	f := o.disk()
	if err := scenario(f, f.ack); err != nil {
		t.Fatalf("crashfs: without any crash: %v\n  the last calls:\n    %s", err, strings.Join(f.w.recent(), "\n    "))
	}
	points, acked := f.recorded()
	r.all(len(points), func(i int) { r.crash(&points[i], i, acked, f.w.now) })
	return r.finish(len(points))
}
