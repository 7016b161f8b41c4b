package crashfs

import (
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Kind is what a line of code does for durability, and what a mutant leaves
// out.
type Kind string

// The kinds of places.
const (
	Sync      Kind = "sync"        // of a file: not done
	DirSync   Kind = "dirsync"     // not done
	Exclusive Kind = "exclusive"   // create, link, rename without replacing: they replace
	Lock      Kind = "lock"        // always got
	Look      Kind = "second look" // after a lock: Lstat says that the name still is the file, Stat what it was when opened
)

// Site is a place in the code under test.
type Site struct {
	Kind  Kind
	Where string // package/file.go:line of the innermost frame that is neither disk nor a test
}

func (s Site) String() string { return fmt.Sprintf("%s at %s", s.Kind, s.Where) }

// mutant is a program with one line missing, or, while sites is set, the
// program itself, watched.
type mutant struct {
	drop  Site
	mu    sync.Mutex
	sites map[Site]int // calls; nil: not watching
}

// active is the mutant that every disk made from now on belongs to. Mutants
// run one at a time, and no other test beside them.
var active atomic.Pointer[mutant]

// Mutate leaves out one place in all disks made until restore is called.
func Mutate(s Site) (restore func()) {
	active.Store(&mutant{drop: s})
	return func() { active.Store(nil) }
}

// watch notes the places that a run passes.
func watch() (sites func() []Site) {
	m := &mutant{sites: map[Site]int{}}
	active.Store(m)
	return func() []Site {
		active.Store(nil)
		m.mu.Lock()
		defer m.mu.Unlock()
		var out []Site
		for s := range m.sites {
			out = append(out, s)
		}
		slices.SortFunc(out, func(a, b Site) int { return strings.Compare(a.Where+string(a.Kind), b.Where+string(b.Kind)) })
		return out
	}
}

// hit notes a call of that kind, and reports whether it is to be left out.
func (m *mutant) hit(k Kind) bool {
	if m == nil || m.sites == nil && m.drop.Kind != k {
		return false
	}
	where := m.where()
	if where == "" {
		return false
	}
	if m.sites == nil {
		return m.drop.Where == where
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sites[Site{k, where}]++
	return false
}

// lies returns the open file that an Lstat of name is to find whatever the
// name is now: one that this process opened by that name and has locked.
func (m *mutant) lies(d *dir, name string) *file {
	if m == nil || m.sites == nil && m.drop.Kind != Look {
		return nil
	}
	f := d.fs.lockedAs(d.id, name)
	if f == nil || !m.hit(Look) {
		return nil
	}
	return f
}

// lockedAs finds the process's locked file that it opened as name.
func (f *FS) lockedAs(dir int, name string) *file {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for _, locks := range []map[int]*file{f.w.flock, f.w.fcntl} {
		for _, h := range locks {
			if h.fs == f && h.dir == dir && h.name == name {
				return h
			}
		}
	}
	return nil
}

// stale reports whether a Stat of a locked file is to tell what the file was
// when it was opened. A place counts only once that made a difference.
func (m *mutant) stale(f *file) bool {
	if m == nil || m.sites == nil && m.drop.Kind != Look {
		return false
	}
	f.fs.w.mu.Lock()
	now := f.info(f.fs.w, f.id)
	differs := f.locked(f.fs.w) && (now.Size != f.opened.Size || now.Nlink != f.opened.Nlink || now.Mode != f.opened.Mode || now.UID != f.opened.UID)
	f.fs.w.mu.Unlock()
	return differs && m.hit(Look)
}

// where is the caller's place, "" if only tests and this package are on the
// stack.
func (m *mutant) where() string {
	var pcs [24]uintptr
	n := runtime.Callers(3, pcs[:])
	frames := runtime.CallersFrames(pcs[:n])
	for {
		f, more := frames.Next()
		if place := product(f); place != "" {
			return place
		}
		if !more {
			return ""
		}
	}
}

// product is the place of a frame in shipped code. Package disk's own frames
// are part of the seam; the programs of this package's tests count as shipped.
func product(f runtime.Frame) string {
	function, _, _ := strings.Cut(f.Function, "[") // of generics
	pkg, _, _ := strings.Cut(path.Base(function), ".")
	dir := path.Dir(function)
	switch {
	case dir == "postoffice/internal/disk" && pkg == "crashfs_test":
	case dir == "postoffice/internal" && pkg == "disk", dir == "postoffice/internal/disk":
		return ""
	case !strings.HasPrefix(function, "postoffice/"), strings.HasSuffix(f.File, "_test.go"):
		return ""
	}
	return fmt.Sprintf("%s/%s:%d", strings.TrimPrefix(path.Join(dir, pkg), "postoffice/"), path.Base(f.File), f.Line)
}

// Allowed is a place whose mutant may live, with the reason why nothing is
// lost without it.
type Allowed struct {
	Kind   Kind   // "" is any
	Where  string // part of Site.Where, as "spool/clean.go"
	Reason string
}

// mutantLimit ends a mutant that waits for ever; it counts as found.
const mutantLimit = 2 * time.Minute

// Sites runs the suites and returns each place in shipped code that does
// something for durability, in order.
func Sites(t testing.TB, run func(testing.TB)) []Site {
	t.Helper()
	sites := watch()
	rec := examine(t, run)
	found := sites()
	if rec.Failed() {
		t.Fatalf("crashfs: the suites fail before anything is left out:\n%s", rec.said())
	}
	return found
}

// Mutants runs the suites once for each place that Sites finds, with that one
// left out, and fails for every mutant that the suites don't notice: then they
// prove nothing about that line. Suites are functions that call EveryStep,
// EveryError, Interleave or New with the testing.TB they are given.
func Mutants(t testing.TB, run func(testing.TB), allowed ...Allowed) {
	t.Helper()
	sites := Sites(t, run)
	if len(sites) == 0 {
		t.Fatal("crashfs: the suites pass no place that could be left out")
	}
	for _, s := range sites {
		begun := time.Now()
		said, found := s.found(t, run)
		took := time.Since(begun).Round(time.Millisecond)
		reason := s.allowed(allowed)
		switch {
		case found:
			t.Logf("crashfs: without the %v: found in %v: %s", s, took, said)
		case reason != "":
			t.Logf("crashfs: without the %v: not found, as it may be: %s", s, reason)
		default:
			t.Errorf("crashfs: without the %v no suite fails", s)
		}
	}
	t.Logf("crashfs: %d mutants", len(sites))
}

// found runs the suites without the place.
func (s Site) found(t testing.TB, run func(testing.TB)) (said string, found bool) {
	restore := Mutate(s)
	defer restore()
	done := make(chan *recorder, 1)
	go func() { done <- examine(t, run) }()
	timer := time.NewTimer(mutantLimit)
	defer timer.Stop()
	select {
	case rec := <-done:
		line, _, _ := strings.Cut(rec.said(), "\n")
		return line, rec.Failed()
	case <-timer.C:
		return "it did not end in " + mutantLimit.String(), true
	}
}

// allowed is the reason why the mutant may live, "" for none.
func (s Site) allowed(list []Allowed) string {
	for _, a := range list {
		if (a.Kind == "" || a.Kind == s.Kind) && strings.Contains(s.Where, a.Where) {
			return a.Reason
		}
	}
	return ""
}
