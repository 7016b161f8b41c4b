package spool

import (
	"context"
	"fmt"
	"testing"

	"postoffice/internal/disk/crashfs"
)

// crews are programs that work on one spool at the same time.
var crews = []struct {
	name  string
	setup func(*crashfs.FS) []crashfs.Actor
}{
	{"writers and runners", writersAndRunners},
	{"writers and cleaners", writersAndCleaners},
	{"reused names", reusedNames},
	{"runner and holder", runnerAndHolder},
	{"new spool", newSpool},
	{"judges and runners", judgesAndRunners},
}

// TestInterleavings lets them go on in random orders; in every second one a
// process is killed (A30, A33, A34).
func TestInterleavings(t *testing.T) {
	interleave(t, 1000)
}

// interleave runs so many schedules of each crew on each file system.
func interleave(t testing.TB, schedules int) {
	for _, fs := range fileSystems {
		for _, c := range crews {
			// Two runners may be at a delivery each when the power goes.
			crashfs.Run{Prepare: fs.set}.Interleave(t, schedules, c.setup, oracle{kills: 2, smooth: true}.check)
		}
	}
}

// opened is a spool that a process has opened before the schedule begins.
func opened(f *crashfs.FS) (*Queue, *crashfs.FS) {
	p := f.Process()
	q, err := reopen(p, still)
	if err != nil {
		panic(err)
	}
	return q, p
}

// writer accepts messages one after the other.
func writer(q *Queue, p *crashfs.FS, tokens ...string) crashfs.Actor {
	return crashfs.Actor{FS: p, Do: func(ack func(string)) {
		for _, t := range tokens {
			_ = keep(q, t, ack)
		}
	}}
}

// runner makes passes over the queue.
func runner(q *Queue, p *crashfs.FS, passes int) crashfs.Actor {
	return crashfs.Actor{FS: p, Do: func(ack func(string)) {
		for range passes {
			_ = deliverAll(q, ack)
		}
	}}
}

// writersAndRunners are three writers of one process, one of another that
// makes the same IDs, and two runners that know nothing of the queue lock.
func writersAndRunners(f *crashfs.FS) []crashfs.Actor {
	q, p := opened(f)
	q2, p2 := opened(f)
	r, rp := opened(f)
	r2, rp2 := opened(f)
	return []crashfs.Actor{
		writer(q, p, token("a", 1, 100, false)),
		writer(q, p, token("b", 2, 100, true)),
		writer(q, p, token("c", 1, large, false)),
		writer(q2, p2, token("d", 1, 100, false), token("e", 1, 100, false)),
		runner(r, rp, 2),
		runner(r2, rp2, 2),
	}
}

// writersAndCleaners are writers whose files look two days old to those who
// clean up.
func writersAndCleaners(f *crashfs.FS) []crashfs.Actor {
	q, p := opened(f)
	q2, p2 := opened(f)
	c, cp := opened(f)
	c2, cp2 := opened(f)
	return []crashfs.Actor{
		writer(q, p, token("a", 1, large, false), token("b", 1, large, false)),
		writer(q2, p2, token("c", 1, large, false), token("d", 1, large, false)),
		cleaner("1", c, cp),
		cleaner("2", c2, cp2),
	}
}

// cleaner cleans up and delivers under the queue lock.
func cleaner(name string, q *Queue, p *crashfs.FS) crashfs.Actor {
	q.now = twoDaysOn
	return crashfs.Actor{FS: p, Do: func(ack func(string)) {
		unlock, err := q.TryLock()
		if err != nil {
			return
		}
		ack("lock " + name)
		_ = q.Clean(context.Background())
		_ = deliverAll(q, ack)
		_ = q.Clean(context.Background())
		ack("unlock " + name)
		unlock()
	}}
}

// reusedNames are two processes whose messages get the same name, one after
// the other, and two runners.
func reusedNames(f *crashfs.FS) []crashfs.Actor {
	_, _ = opened(f) // takes the first ID, for the lock
	q, p := opened(f)
	q2, p2 := opened(f)
	r, rp := opened(f)
	r2, rp2 := opened(f)
	return []crashfs.Actor{
		writer(q, p, token("a", 1, 100, false)),
		writer(q2, p2, token("b", 1, 100, false)),
		runner(r, rp, 3),
		runner(r2, rp2, 3),
	}
}

// runnerAndHolder are a runner and a person who holds what they get.
func runnerAndHolder(f *crashfs.FS) []crashfs.Actor {
	q, _ := opened(f)
	tok := token("a", 1, 100, false)
	if err := keep(q, tok, func(string) {}); err != nil {
		panic(err)
	}
	r, rp := opened(f)
	h, hp := opened(f)
	return []crashfs.Actor{
		runner(r, rp, 2),
		{FS: hp, Do: func(ack func(string)) {
			for e := range h.Entries() {
				m, err := h.Claim(e.ID)
				if err != nil {
					return
				}
				if m.Hold(heldFor) == nil {
					ack("held " + tok)
				}
				m.Close()
			}
		}},
	}
}

// newSpool are processes that open a spool which is not there, clean and
// deliver, and a person who replaces the lock's file while they have the lock.
func newSpool(f *crashfs.FS) []crashfs.Actor {
	var actors []crashfs.Actor
	for i := range 3 {
		p := f.Process()
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) {
			q, err := reopen(p, still)
			if err != nil {
				return
			}
			defer q.Close()
			if i == 0 {
				replaceLock(q)
			}
			_ = keep(q, token(fmt.Sprint("n", i), 1, 100, false), ack)
			cleaner(fmt.Sprint(i), q, p).Do(ack)
		}})
	}
	return actors
}

// replaceLock makes the lock's file anew, and does nothing else under it.
func replaceLock(q *Queue) {
	unlock, err := q.TryLock()
	if err != nil {
		return
	}
	defer unlock()
	if q.root.Unlink(lockName) == nil {
		_ = q.scheme()
	}
}
