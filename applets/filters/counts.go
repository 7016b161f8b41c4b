package filters

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"postoffice/internal/maillog"
)

// Counts are what a filter has done since the server began, or has its line.
type Counts struct {
	Messages, Refused, Edited, Failed int64
}

// State is how a filter is.
type State struct {
	Name string
	Counts
	Connections int       // that are open
	Why         string    // it failed the last time that it was asked; "": it didn't
	Until       time.Time // it is left alone; zero where it is asked
}

// States are those of all, in their order.
func (s *Set) States() (all []State) {
	if s == nil {
		return nil
	}
	for _, f := range s.all {
		all = append(all, f.state())
	}
	return all
}

func (f *filter) state() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	is := State{Name: f.Name, Counts: f.counts, Connections: f.room.Inside()}
	if f.away.n == 0 && len(f.doubts.of) == 0 {
		return is
	}
	is.Why = f.why
	for _, r := range []rest{f.away, f.doubts.fresh} {
		if r.lasts(time.Now()) && r.until.After(is.Until) {
			is.Until = r.until
		}
	}
	return is
}

// Lines show each filter and how it is, for people: where filters listen is for this
// machine alone.
func (s *Set) Lines(inside bool) (lines []string) {
	if !inside {
		return nil
	}
	for _, is := range s.States() {
		lines = append(lines, fmt.Sprintf("filter:[%s] %s", is.Name, is))
	}
	return lines
}

func (is State) String() string {
	numbers := fmt.Sprintf("%d messages, %d refused, %d edited, %d failures, %d connections", is.Messages, is.Refused, is.Edited, is.Failed, is.Connections)
	switch {
	case is.Why == "":
		return "ok " + numbers
	case is.Until.IsZero():
		return fmt.Sprintf("failed (%s) %s", is.Why, numbers)
	}
	return fmt.Sprintf("failed for %v more (%s) %s", time.Until(is.Until).Round(time.Second), is.Why, numbers)
}

// count adds to the filter's numbers.
func (f *filter) count(add func(c *Counts)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add(&f.counts)
}

// LogCounts writes down what those filters have done that are not in other, if they have
// done anything.
func (s *Set) LogCounts(ctx context.Context, other *Set) {
	if s == nil {
		return
	}
	for _, f := range s.all {
		is := f.state()
		if is.Counts == (Counts{}) || other != nil && slices.Contains(other.all, f) {
			continue
		}
		s.o.Log.LogAttrs(ctx, slog.LevelInfo, "filter counted", maillog.Filter(f.Name),
			slog.Int64("messages", is.Messages), slog.Int64("refused", is.Refused), slog.Int64("edited", is.Edited), slog.Int64("failures", is.Failed))
	}
}
