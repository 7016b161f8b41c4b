package crashfs

import (
	"strings"
	"testing"
	"time"
)

// Allowed is a place whose mutant may live, with the reason why nothing is
// lost without it.
type Allowed struct {
	Kind   Kind
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
		if a.Kind == s.Kind && strings.Contains(s.Where, a.Where) {
			return a.Reason
		}
	}
	return ""
}
