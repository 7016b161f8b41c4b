package spool

import (
	"errors"
	"fmt"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// scenario makes a crashfs scenario of what is done with an opened spool.
func scenario(do func(q *Queue, ack func(string)) error) crashfs.Scenario {
	return func(d disk.FS, ack func(string)) error {
		q, err := reopen(d, still)
		if err != nil {
			return err
		}
		defer q.Close()
		return do(q, ack)
	}
}

// scenarios are what happens to a spool, one by one.
var scenarios = []struct {
	name string
	do   func(q *Queue, ack func(string)) error
	wide int // recipients of one delivery, more than one
}{
	{name: "accept 1", do: func(q *Queue, ack func(string)) error { return keep(q, token("a", 1, 100, false), ack) }},
	{name: "accept 3", do: func(q *Queue, ack func(string)) error { return keep(q, token("a", 3, 100, false), ack) }},
	{name: "accept 50", do: func(q *Queue, ack func(string)) error { return keep(q, token("a", 50, 100, false), ack) }},
	{name: "accept large", do: func(q *Queue, ack func(string)) error { return keep(q, token("a", 2, 3*bufferSize, false), ack) }},
	{name: "accept two", do: func(q *Queue, ack func(string)) error {
		return errors.Join(keep(q, token("a", 1, 100, false), ack), keep(q, token("b", 2, 100, false), ack))
	}},
	{name: "abort", do: func(q *Queue, ack func(string)) error {
		in, err := q.Create(envelope(1))
		if err != nil {
			return err
		}
		if _, err := in.Write([]byte(letterOf(token("a", 1, 2*bufferSize, false)))); err != nil {
			return errors.Join(err, in.Abort())
		}
		return in.Abort()
	}},
	{name: "record", do: func(q *Queue, ack func(string)) error {
		return errors.Join(keep(q, token("a", 3, 100, false), ack), deliverAll(q, ack))
	}},
	{name: "record several at once", do: func(q *Queue, ack func(string)) error {
		return errors.Join(keep(q, token("a", 3, 100, false), ack), deliverBatch(q, ack))
	}, wide: 2},
	{name: "expand", do: func(q *Queue, ack func(string)) error {
		return errors.Join(keep(q, token("a", 1, 100, true), ack), deliverAll(q, ack))
	}},
	{name: "remove", do: func(q *Queue, ack func(string)) error {
		return errors.Join(keep(q, token("a", 1, 100, false), ack), keep(q, token("b", 1, 100, false), ack), deliverAll(q, ack))
	}},
	{name: "hold and release", do: holdRelease},
}

// deliverBatch delivers to all recipients in one transaction and records them
// with one sync.
func deliverBatch(q *Queue, ack func(string)) error {
	for e, err := range q.Entries() {
		if err != nil {
			return err
		}
		m, err := q.Claim(e.ID)
		if err != nil {
			return err
		}
		defer m.Close()
		tok := token("a", 3, 100, false)
		for _, who := range awaited(tok) {
			ack("took " + tok + "|" + who)
		}
		if err := m.Record(pendingKeys(m), Delivered); err != nil {
			for range awaited(tok) {
				ack("fail " + tok)
			}
			return err
		}
		for _, who := range awaited(tok) {
			ack("done " + tok + "|" + who)
		}
		if err := m.Finish(); err != nil {
			return err
		}
	}
	return nil
}

func holdRelease(q *Queue, ack func(string)) error {
	tok := token("a", 2, 100, false)
	in, err := q.Create(envelope(2))
	if err != nil {
		return err
	}
	if _, err := in.Write([]byte(letterOf(tok))); err != nil {
		return errors.Join(err, in.Abort())
	}
	if err := in.Commit(); err != nil {
		return err
	}
	ack("kept " + tok)
	m, err := q.Claim(in.ID())
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Hold("to be looked at"); err != nil {
		return err
	}
	ack("held " + tok)
	ack("back " + tok)
	if err := q.Release(in.ID()); err != nil {
		return err
	}
	return deliverAll(q, ack)
}

// disks are the file systems that the suites run on.
var disks = []struct {
	name    string
	prepare func(*crashfs.FS)
}{
	{"renameat2", func(f *crashfs.FS) { f.SetClock(still) }},
	{"link and unlink", func(f *crashfs.FS) { f.SetClock(still); f.SetPortable(true) }},
}

func run(prepare func(*crashfs.FS)) crashfs.Run {
	return crashfs.Run{Prepare: func(f *crashfs.FS) { prepare(f) }}
}

// TestCrashEveryStep cuts the power, and kills the process, at every call of
// every scenario (A28, A31, R32).
func TestCrashEveryStep(t *testing.T) {
	for _, d := range disks {
		for _, s := range scenarios {
			t.Run(d.name+"/"+s.name, func(t *testing.T) {
				run(d.prepare).EveryStep(t, scenario(s.do), oracle(1+s.wide))
			})
		}
	}
}

// TestCrashEveryError makes every call of every scenario fail with every
// errno, once and from then on (A29).
func TestCrashEveryError(t *testing.T) {
	for _, d := range disks {
		for _, s := range scenarios {
			t.Run(d.name+"/"+s.name, func(t *testing.T) {
				run(d.prepare).EveryError(t, scenario(s.do), oracle(0))
				run(d.prepare).EveryRoom(t, scenario(s.do), oracle(0))
			})
		}
	}
}

// TestCrashTwice crashes the recovery from a crash.
func TestCrashTwice(t *testing.T) {
	recovery := func(d disk.FS, acked []string, ack func(string)) error {
		q, err := recoverAll(d, twoDaysOn)
		if err != nil {
			return err
		}
		defer q.Close()
		return deliverAll(q, ack)
	}
	for _, s := range scenarios {
		if s.name == "hold and release" {
			continue // its ledger says where the message is, and a recovery moves it
		}
		t.Run(s.name, func(t *testing.T) {
			run(disks[1].prepare).EveryStepTwice(t, scenario(s.do), recovery, oracle(2+s.wide), 500)
		})
	}
}

// TestInterleavings lets three writers of one process and two runners work at
// the same time, in random orders (A34).
func TestInterleavings(t *testing.T) {
	stats := run(disks[0].prepare).Interleave(t, 300, crew, oracle(2))
	t.Log(stats)
}

// crew are three writers in one process and two runners, each in its own.
func crew(f *crashfs.FS) []crashfs.Actor {
	var actors []crashfs.Actor
	server := f.Process()
	q, err := reopen(server, still)
	if err != nil {
		panic(err)
	}
	for i := range 3 {
		actors = append(actors, crashfs.Actor{FS: server, Do: func(ack func(string)) {
			_ = keep(q, token(fmt.Sprint("w", i), 1+i%2, 100, i == 1), ack)
		}})
	}
	for range 2 {
		p := f.Process()
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) {
			q, err := reopen(p, still)
			if err != nil {
				return
			}
			for range 2 {
				_ = deliverAll(q, ack)
			}
		}})
	}
	return actors
}
