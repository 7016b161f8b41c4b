package crashfs

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"postoffice/internal/disk"
)

// EveryError runs the scenario with its first call failing, then its second,
// and so on until no call is left that could; so for every errno, once and
// from then on, and for writes cut short. What the scenario returns does not
// matter. Then the process dies, the fault with it, and check sees the disk
// as the process left it, and after a power cut that left nothing, everything
// and two random parts of what was pending.
func EveryError(t testing.TB, scenario Scenario, check Check) Stats {
	t.Helper()
	return Run{}.EveryError(t, scenario, check)
}

// EveryError is the function of that name with o's settings.
func (o Run) EveryError(t testing.TB, scenario Scenario, check Check) Stats {
	t.Helper()
	o = o.defaults()
	r := newRunner(t, o, check)
	var faults []fault
	for _, errno := range errnos {
		keeps := []int{0}
		if errno == io.ErrShortWrite {
			keeps = []int{1, 7, -1}
		}
		for _, keep := range keeps {
			faults = append(faults, fault{errno: errno, keep: keep}, fault{errno: errno, keep: keep, forever: true})
		}
	}
	injected := make([]int, len(faults))
	r.all(len(faults), func(i int) {
		for at := 1; !r.enough(); at++ {
			one := faults[i]
			one.at = at
			f := o.disk()
			f.w.fault = &one
			r.run(f, scenario, func() string { return one.String() })
			if !one.fired {
				return
			}
			injected[i]++
		}
	})
	n := 0
	for _, i := range injected {
		n += i
	}
	return r.finish(n)
}

// run runs a scenario that may fail, ends its process and checks what it left.
func (r *runner) run(f *FS, scenario Scenario, what func() string) {
	rec := examine(r.t, func(testing.TB) { _ = scenario(f, f.ack) })
	f.w.mu.Lock()
	calls := strings.Join(f.w.recent(), "\n    ")
	f.w.mu.Unlock()
	points, acked := f.recorded()
	describe := func(left string) func() string {
		return func() string {
			return fmt.Sprintf("%s: %s\n  the scenario's last calls:\n    %s", what(), left, calls)
		}
	}
	if rec.Failed() {
		r.fail(f, acked, describe("the scenario broke off")(), rec.said())
		return
	}
	last := &points[len(points)-1]
	for _, i := range r.few(last, len(points), 2) {
		if r.fresh(&i.disk, acked) {
			r.try(newFS(i.disk, f.w.now), acked, describe(i.name))
		}
	}
}

// EveryRoom runs the scenario on a disk with room for no octet, for one more,
// and so on up to what it needs, in at most 200 steps, and the same for new
// files; otherwise it is as EveryError. When check comes there is room again.
func (o Run) EveryRoom(t testing.TB, scenario Scenario, check Check) Stats {
	t.Helper()
	o = o.defaults()
	r := newRunner(t, o, check)
	const plenty = 1 << 40
	f := o.disk()
	f.SetSpace(disk.Space{Octets: plenty, Inodes: plenty})
	f.w.low = disk.Space{Octets: plenty, Inodes: plenty}
	if err := scenario(f, f.ack); err != nil {
		t.Fatalf("crashfs: with room for all: %v", err)
	}
	octets, inodes := plenty-f.w.low.Octets, plenty-f.w.low.Inodes
	var rooms []disk.Space
	for step, n := max(octets/200, 1), int64(0); n < octets; n += step {
		rooms = append(rooms, disk.Space{Octets: n, Inodes: plenty})
	}
	for n := range inodes {
		rooms = append(rooms, disk.Space{Octets: plenty, Inodes: n})
	}
	r.all(len(rooms), func(i int) {
		f := o.disk()
		f.SetSpace(rooms[i])
		r.run(f, scenario, func() string {
			return fmt.Sprintf("room for %d octets and %d files", rooms[i].Octets, rooms[i].Inodes)
		})
	})
	return r.finish(len(rooms))
}
