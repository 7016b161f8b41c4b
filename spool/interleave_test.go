package spool

import (
	"context"
	"fmt"
	"testing"

	"postoffice/internal/disk/crashfs"
)

// TestInterleavings lets three writers of one process, one of another that
// makes the same IDs, and two runners work at the same time, in random orders;
// in every second one a process is killed (A30, A34).
func TestInterleavings(t *testing.T) {
	interleave(t, 10_000)
}

func interleave(t testing.TB, schedules int) {
	for _, fs := range fileSystems {
		run := crashfs.Run{Prepare: fs.set}
		run.Interleave(t, schedules/4, crew, oracle{kills: 2, smooth: true}.check)
		run.Interleave(t, schedules/4, cleaners, oracle{kills: 2, smooth: true}.check)
	}
}

// crew are writers and runners.
func crew(f *crashfs.FS) []crashfs.Actor {
	actors := append(writersOf(f.Process(), 3, 100), writersOf(f.Process(), 1, 100)...)
	for range 2 {
		p := f.Process()
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) {
			q, err := reopen(p, still)
			if err != nil {
				return
			}
			defer q.Close()
			for range 2 {
				_ = deliverAll(q, ack)
			}
		}})
	}
	return actors
}

// writersOf are n writers of one process.
func writersOf(p *crashfs.FS, n, size int) []crashfs.Actor {
	q, err := reopen(p, still)
	if err != nil {
		panic(err)
	}
	var actors []crashfs.Actor
	for i := range n {
		tok := token(fmt.Sprintf("w%d-%d", n, i), 1+i%2, size, i == 1)
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) { _ = keep(q, tok, ack) }})
	}
	return actors
}

// cleaners are two writers of large messages, with the same IDs, and two
// processes for which two days have passed, which want to clean up and to
// deliver (A33).
func cleaners(f *crashfs.FS) []crashfs.Actor {
	actors := append(writersOf(f.Process(), 1, large), writersOf(f.Process(), 2, large)...)
	for range 2 {
		p := f.Process()
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) {
			q, err := reopen(p, twoDaysOn)
			if err != nil {
				return
			}
			defer q.Close()
			if unlock, err := q.TryLock(); err == nil {
				_ = q.Clean(context.Background())
				_ = deliverAll(q, ack)
				unlock()
			}
		}})
	}
	return actors
}
