package stalled

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// StepWait is how long one step of work may take before it is left behind, if
	// others need its place.
	StepWait = time.Second
	// LongWait is how long somebody waits for a file system that doesn't answer
	// while nobody else needs the room.
	LongWait = 30 * time.Second

	MaxWorking   = 64  // pieces of work at once
	MaxInTrouble = 256 // the same, while any was left behind
	MaxPerSystem = 8   // pieces left behind on one file system, or trying it after that, from which it is not entered
	MaxLeft      = 256 // pieces left behind in all, from which only file systems that answer are entered

	lookWait = 250 * time.Millisecond // between two looks at work that hangs
	recently = time.Minute            // an answer is not older
)

// ErrStalled is what everybody hears whose file system does not answer.
var ErrStalled = errors.New("file system does not answer")

// Places are places for work, for one process.
type Places struct {
	trouble atomic.Bool // something was left behind

	mu       sync.Mutex // guards what follows
	busy     int
	line     []*Place
	left     map[string]int       // pieces of work by file system
	all      int                  // of them
	hung     int                  // which of its paths the last of them goes to
	since    time.Time            // there are any
	trying   map[string]int       // pieces that have entered a file system that left others behind
	answered map[string]time.Time // file systems, while there is trouble
	mounts   table
}

// New returns places that know the mounts as the text of mountinfo that read
// returns, nil: this process's.
func New(read func() string) *Places {
	if read == nil {
		read = mountinfo
	}
	return &Places{left: map[string]int{}, trying: map[string]int{}, answered: map[string]time.Time{}, mounts: table{read: read, readLink: os.Readlink}}
}

// A Place is held by one piece of work.
type Place struct {
	p        *Places
	ways     []string // the paths that it goes to
	stage    atomic.Int32
	last     atomic.Int64 // when it came a step further, in nanoseconds
	admitted chan struct{}

	left   string   // the file system that does not answer it; Places.mu guards it
	trying []string // file systems; too
}

// Work is what is done at a place.
type Work struct {
	Ways []string // the paths that it goes to, in this order
	// Crowded says that others may need the room of those who wait.
	Crowded func() bool
	// Refuse tells everybody who waits for the work why that takes too long, and
	// whether it need not be done any more if it has not begun. It may be called
	// several times.
	Refuse func(err error) (drop bool)
	// Left, if there is one, is told that the work has been left behind.
	Left func()
	Do   func(*Place) error
}

// Do does the work as soon as there is a place for it. It returns when the work
// is done, though others go on meanwhile if that hangs.
func (p *Places) Do(w Work) error {
	at := &Place{p: p, ways: w.Ways, admitted: make(chan struct{})}
	if !p.enter(at, w) {
		return nil
	}
	at.last.Store(time.Now().UnixNano())
	done := make(chan error, 1)
	go func() { done <- w.Do(at) }()
	timer := time.NewTimer(StepWait)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			p.leave(at)
			return err
		case <-timer.C:
			wait, err := p.look(at, w)
			if err != nil {
				w.Refuse(err)
			}
			timer.Reset(wait)
		}
	}
}

// Ask does work that has an answer, and returns that, or why the work hangs, if
// others may need the room of those who wait, as crowded says, or after LongWait.
// The work goes on then, and nobody hears of it.
func Ask[T any](ctx context.Context, p *Places, ways []string, crowded func() bool, do func(*Place) (T, error)) (T, error) {
	type answer struct {
		what T
		err  error
	}
	answers := make(chan answer, 1) // what comes first counts
	tell := func(a answer) {
		select {
		case answers <- a:
		default:
		}
	}
	go p.Do(Work{
		Ways:    ways,
		Crowded: crowded,
		Refuse: func(err error) bool {
			tell(answer{err: err})
			return true
		},
		Do: func(at *Place) error {
			what, err := do(at)
			tell(answer{what, err})
			return err
		},
	})
	select {
	case a := <-answers:
		return a.what, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// Go says that the work goes to its path with that number from now on.
func (at *Place) Go(stage int) {
	if at != nil {
		at.last.Store(time.Now().UnixNano())
		at.stage.Store(int32(stage))
	}
}

// At says which of its paths the work goes to, without having come a step further.
func (at *Place) At(stage int) { at.stage.Store(int32(stage)) }

// Hangs says whether work was left behind, and the number of the path that the last such
// work goes to.
func (p *Places) Hangs() (stage int, yes bool) {
	if !p.trouble.Load() {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung, p.all > 0
}

// Step says that the file system of that path has answered.
func (at *Place) Step() {
	if at == nil {
		return
	}
	now := time.Now()
	at.last.Store(now.UnixNano())
	if at.p.trouble.Load() {
		at.p.mu.Lock()
		defer at.p.mu.Unlock()
		at.p.answered[at.p.system(at.ways[at.stage.Load()]).dev] = now
		at.p.tried(at)
	}
}

// system is the file system of a path. The caller holds mu.
func (p *Places) system(name string) mount {
	p.mounts.refresh(time.Now())
	return p.mounts.of(name, func(m mount) bool { return p.left[m.dev] == 0 })
}

// enter waits for a place; false: the work was dropped.
func (p *Places) enter(at *Place, w Work) bool {
	p.mu.Lock()
	if len(p.line) == 0 && p.may(at) == nil && p.busy < p.limit() {
		p.take(at)
		p.mu.Unlock()
		return true
	}
	p.line = append(p.line, at)
	p.admit()
	p.mu.Unlock()
	began := time.Now()
	tick := time.NewTicker(lookWait)
	defer tick.Stop()
	for {
		p.mu.Lock()
		err := p.may(at)
		if time.Since(p.since) < lookWait { // what answers has not been seen to yet
			err = nil
		}
		p.mu.Unlock()
		if err != nil && (w.Crowded() || time.Since(began) >= LongWait) && w.Refuse(err) && p.drop(at) {
			return false
		}
		select {
		case <-at.admitted:
			return true
		case <-tick.C:
		}
	}
}

// take gives work a place. The caller holds mu.
func (p *Places) take(at *Place) {
	p.busy++
	if p.all == 0 {
		return
	}
	for _, name := range at.ways {
		if m := p.system(name); p.left[m.dev] > 0 && !p.alive(m.dev) {
			at.trying = append(at.trying, m.dev)
			p.trying[m.dev]++
		}
	}
}

// tried ends what take began. The caller holds mu.
func (p *Places) tried(at *Place) {
	for _, dev := range at.trying {
		if p.trying[dev]--; p.trying[dev] == 0 {
			delete(p.trying, dev)
		}
	}
	at.trying = nil
}

// alive says that a file system has just answered. The caller holds mu.
func (p *Places) alive(dev string) bool { return time.Since(p.answered[dev]) < StepWait }

// drop takes work out of the line; false: it has a place already.
func (p *Places) drop(at *Place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.line)
	p.line = slices.DeleteFunc(p.line, func(o *Place) bool { return o == at })
	return len(p.line) < n
}

// limit is how much may be done at once. The caller holds mu.
func (p *Places) limit() int {
	if p.all > 0 {
		return MaxInTrouble
	}
	return MaxWorking
}

// may says why a file system must not be entered. The caller holds mu.
func (p *Places) may(at *Place) error {
	if p.all == 0 {
		return nil
	}
	for _, name := range at.ways {
		m := p.system(name)
		n := p.left[m.dev]
		switch {
		case n > 0 && n+p.trying[m.dev] >= MaxPerSystem && !p.alive(m.dev),
			p.all >= MaxLeft && time.Since(p.answered[m.dev]) >= recently && (n > 0 || !m.own):
			return fmt.Errorf("%w: that of %s, mounted at %s", ErrStalled, name, m.point)
		}
	}
	return nil
}

// admit gives places to those who have waited longest. The caller holds mu.
func (p *Places) admit() {
	limit := p.limit()
	p.line = slices.DeleteFunc(p.line, func(at *Place) bool {
		if p.busy >= limit || p.may(at) != nil {
			return false
		}
		p.take(at)
		close(at.admitted)
		return true
	})
}

// look decides about work that may hang: whether it is left behind, when to look
// again, and why everybody who waits for it is refused, if they are.
func (p *Places) look(at *Place, w Work) (wait time.Duration, refuse error) {
	hangs := time.Since(time.Unix(0, at.last.Load()))
	if hangs < StepWait {
		return StepWait - hangs, nil
	}
	stage := int(at.stage.Load())
	name := at.ways[stage]
	p.mu.Lock()
	m := p.system(name)
	alive := p.alive(m.dev)
	behind := at.left == "" && (!alive || p.left[m.dev] < MaxPerSystem)
	if behind {
		at.left, p.hung = m.dev, stage
		p.left[m.dev]++
		if p.all++; p.all == 1 {
			p.since = time.Now()
		}
		p.busy--
		p.tried(at)
		p.trouble.Store(true)
		p.admit()
	}
	p.mu.Unlock()
	if behind && w.Left != nil {
		w.Left()
	}
	if hangs >= LongWait || !alive && hangs >= StepWait+lookWait && w.Crowded() {
		refuse = fmt.Errorf("%w for %v: that of %s, mounted at %s", ErrStalled, hangs.Round(time.Second), name, m.point)
	}
	return lookWait, refuse
}

// leave gives a place back.
func (p *Places) leave(at *Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried(at)
	if at.left == "" {
		p.busy--
		if p.all > 0 {
			p.answered[p.system(at.ways[at.stage.Load()]).dev] = time.Now()
		}
	} else {
		if p.left[at.left]--; p.left[at.left] == 0 {
			delete(p.left, at.left)
		}
		p.all--
		p.answered[at.left] = time.Now()
	}
	if p.all == 0 && p.trouble.Load() {
		p.trouble.Store(false)
		clear(p.answered)
	}
	if len(p.line) > 0 {
		p.admit()
	}
}
