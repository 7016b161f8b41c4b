package crashfs

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// EveryStepTwice crashes the scenario, lets recovery work on what is left,
// crashes that, and checks what is left then. Of the first crash's images it
// takes the killed process, nothing, everything and four random ones; of the
// second's the same and two. With more than limit second crash points it takes
// that many at random (0: 20,000).
func (o Run) EveryStepTwice(t testing.TB, scenario Scenario, recovery Recover, check Check, limit int) Stats {
	t.Helper()
	o = o.defaults()
	if limit == 0 {
		limit = 20_000
	}
	r := newRunner(t, o, check)
	f := o.disk()
	if err := scenario(f, f.ack); err != nil {
		t.Fatalf("crashfs: without any crash: %v", err)
	}
	points, acked := f.recorded()
	var count atomic.Int64
	share := float64(limit) / float64(max(1, r.estimate(points, acked, recovery)))
	r.all(len(points), func(i int) {
		p := &points[i]
		for j, image := range r.few(p, i, 4) {
			again, acked, ok := r.recover(p, image, acked[:p.acked:p.acked], recovery, f.w.now)
			if !ok {
				continue
			}
			pick := rand.New(rand.NewPCG(o.Seed, uint64(i*100+j)))
			for k := range again {
				if pick.Float64() >= share {
					continue
				}
				count.Add(1)
				r.crashAgain(p, &again[k], k, image.name, acked, f.w.now)
			}
		}
	})
	return r.finish(int(count.Load()))
}

// image is a disk after a crash and the word for it.
type image struct {
	name string
	disk state
}

// few are some images of a point.
func (r *runner) few(p *point, index, random int) []image {
	images := []image{{"the process was killed", p.disk.fork()}}
	cuts := append([]cut{}, fixed[:2]...)
	for i := range random {
		cuts = append(cuts, p.disk.random(r.o.Seed+uint64(index)*1_000_003+uint64(i)))
	}
	for _, c := range cuts {
		images = append(images, image{"power cut, left: " + c.name, p.disk.apply(c)})
	}
	return images
}

// recover runs the recovery on an image and returns the instants at which it
// can be crashed.
func (r *runner) recover(p *point, i image, acked []string, recovery Recover, now func() time.Time) ([]point, []string, bool) {
	f := newFS(i.disk, now)
	f.w.acked = acked
	f.resume()
	rec := examine(r.t, func(t testing.TB) {
		if err := recovery(f, acked, f.ack); err != nil {
			t.Errorf("the recovery failed: %v", err)
		}
	})
	if rec.Failed() {
		r.fail(f, acked, fmt.Sprintf("%v: %s", p, i.name), rec.said())
		return nil, nil, false
	}
	points, acked := f.recorded()
	return points, acked, true
}

// estimate is about how many second crashes there are: the first, the middle
// and the last point's, for all.
func (r *runner) estimate(points []point, acked []string, recovery Recover) int {
	sum, n := 0, 0
	for _, i := range []int{0, len(points) / 2, len(points) - 1} {
		p := &points[i]
		for _, image := range r.few(p, i, 0) {
			if again, _, ok := r.recover(p, image, acked[:p.acked:p.acked], recovery, time.Now); ok {
				sum, n = sum+len(again), n+1
			}
		}
	}
	return sum / max(n, 1) * len(points) * 7
}

func (r *runner) crashAgain(first, p *point, index int, before string, acked []string, now func() time.Time) {
	acked = acked[:p.acked:p.acked]
	for _, i := range r.few(p, index, 2) {
		if r.fresh(&i.disk, acked) {
			r.try(newFS(i.disk, now), acked, func() string {
				return fmt.Sprintf("%v: %s; in the recovery %v: %s", first, before, p, i.name)
			})
		}
	}
}
