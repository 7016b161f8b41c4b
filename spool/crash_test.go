package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/spool/envelope"
)

// scene is something that happens to a spool, on a disk that is prepared.
type scene struct {
	name    string
	prepare func(*crashfs.FS)    // nil: an empty disk
	before  func(q *Queue) error // nil: nothing
	do      func(q *Queue, ack func(string)) error
	again   bool // a second process goes on where the first stopped
	wide    int  // recipients of one delivery, beyond the first
	damaged map[string]string
}

// scenario makes a crashfs scenario of a scene. Like a server, it takes the
// queue lock and cleans up first.
func (s scene) scenario() crashfs.Scenario {
	return func(d disk.FS, ack func(string)) error {
		if err := s.dead(d); err != nil {
			return err
		}
		q, err := recoverAll(d, still)
		if err != nil {
			return err
		}
		defer q.Close()
		err = s.do(q, ack)
		if !s.again {
			return err
		}
		// What the first failed to sync is seen, but is not on the disk.
		next, nerr := reopen(d, still)
		if nerr != nil {
			return errors.Join(err, nerr)
		}
		defer next.Close()
		return errors.Join(err, deliverAll(next, ack))
	}
}

// dead does what a process has done that is not there any more.
func (s scene) dead(d disk.FS) error {
	if s.before == nil {
		return nil
	}
	q, err := reopen(d, still)
	if err != nil {
		return err
	}
	defer q.Close()
	return s.before(q)
}

func (s scene) oracle(kills int) crashfs.Check {
	return oracle{kills: kills, wide: s.wide, damaged: s.damaged}.check
}

// on is the scene's run on a file system.
func (s scene) on(fs func(*crashfs.FS)) crashfs.Run {
	return crashfs.Run{Prepare: func(f *crashfs.FS) {
		fs(f)
		if s.prepare != nil {
			s.prepare(f)
		}
	}}
}

// fileSystems are what the suites run on.
var fileSystems = []struct {
	name string
	set  func(*crashfs.FS)
}{
	{"renameat2", func(f *crashfs.FS) { f.SetClock(still) }},
	{"link and unlink", func(f *crashfs.FS) { f.SetClock(still); f.SetPortable(true) }},
}

func accepting(tokens ...string) func(*Queue, func(string)) error {
	return func(q *Queue, ack func(string)) error {
		for _, t := range tokens {
			if err := keep(q, t, ack); err != nil {
				return err
			}
		}
		return nil
	}
}

func delivering(tokens ...string) func(*Queue, func(string)) error {
	return func(q *Queue, ack func(string)) error {
		return errors.Join(accepting(tokens...)(q, ack), deliverAll(q, ack))
	}
}

var scenes = []scene{
	{name: "accept 1", do: accepting(token("a", 1, 100, false))},
	{name: "accept 3", do: accepting(token("a", 3, 100, false))},
	{name: "accept 50", do: accepting(token("a", 50, 100, false))},
	{name: "accept large", do: accepting(token("a", 2, large, false))},
	{name: "accept two", do: accepting(token("a", 1, 100, false), token("b", 2, 100, false))},
	{name: "abort", do: abort},
	{name: "record", do: delivering(token("a", 3, 100, false))},
	{name: "record several at once", do: deliverBatch, wide: 2},
	{name: "expand", do: delivering(token("a", 1, 100, true))},
	{name: "remove", do: delivering(token("a", 1, 100, false), token("b", 1, 100, false))},
	{name: "hold and release", do: holdRelease},
	{name: "accept together", do: acceptTogether},
	{name: "accept held", do: acceptHeld},
	{name: "accept edited", do: acceptEdited(100)},
	{name: "accept edited, large", do: acceptEdited(large)},
	{name: "wait for filters", do: waiting(token("a", 2, large, false))},
	{name: "wait for filters that edit", do: waiting(token(toBeEdited, 2, 100, true), token("b", 1, 100, false))},
	{name: "wait, hold and release", do: holdWaiting},
	{name: "wait, half passed", before: halfPass, do: deliverPassed},
	{name: "corrupt", do: delivering(token("a", 1, 100, false)), prepare: plantDamaged, damaged: planted},
	{name: "corrupt, half moved", before: halfMove, do: delivering(), prepare: plantDamaged, damaged: planted},
	{name: "orphan cleaning", do: cleanUp, prepare: plantOrphan},
	{name: "the next process", do: delivering(token("a", 1, 100, true)), again: true},
	{name: "torn notes", do: delivering(token("a", 1, 100, false)), prepare: plantTorn},
}

// TestCrashEveryStep cuts the power, and kills the process, at every call of
// every scene (A28, A31, R32).
func TestCrashEveryStep(t *testing.T) {
	for _, fs := range fileSystems {
		for _, s := range scenes {
			t.Run(fs.name+"/"+s.name, func(t *testing.T) {
				s.on(fs.set).EveryStep(t, s.scenario(), s.oracle(1))
			})
		}
	}
}

// TestCrashEveryError makes every call of every scene fail with every errno,
// once and from then on, and the disk full at every octet (A29).
func TestCrashEveryError(t *testing.T) {
	for _, fs := range fileSystems {
		for _, s := range scenes {
			t.Run(fs.name+"/"+s.name, func(t *testing.T) {
				s.on(fs.set).EveryError(t, s.scenario(), s.oracle(0))
				s.on(fs.set).EveryRoom(t, s.scenario(), s.oracle(0))
			})
		}
	}
}

// TestCrashTwice crashes the recovery from a crash.
func TestCrashTwice(t *testing.T) {
	for _, s := range scenes {
		if s.name == "hold and release" || s.name == "accept held" || s.name == "wait, hold and release" {
			continue // its ledger says where the message is, and a recovery moves it
		}
		t.Run(s.name, func(t *testing.T) {
			s.on(fileSystems[1].set).EveryStepTwice(t, s.scenario(), resume, s.oracle(2), 1000)
		})
	}
}

// resume is what the next process does.
func resume(d disk.FS, acked []string, ack func(string)) error {
	q, err := recoverAll(d, twoDaysOn)
	if err != nil {
		return err
	}
	defer q.Close()
	return errors.Join(judgeAll(q), deliverAll(q, ack))
}

// abort gives up an arrival that is on the disk in part.
func abort(q *Queue, ack func(string)) error {
	in, err := q.Create(envelopeFor(1))
	if err != nil {
		return err
	}
	_, err = in.Write([]byte(letterOf(token("a", 1, large, false))))
	return errors.Join(err, in.Abort())
}

// deliverBatch delivers to all recipients in one transaction and records them
// with one sync.
func deliverBatch(q *Queue, ack func(string)) error {
	tok := token("a", 3, 100, false)
	if err := keep(q, tok, ack); err != nil {
		return err
	}
	for e, err := range q.Entries() {
		if err != nil {
			return err
		}
		m, err := q.Claim(e.ID)
		if err != nil {
			return err
		}
		defer m.Close()
		for _, who := range awaited(tok) {
			ack("took " + tok + "|" + who)
		}
		if err := m.Record(pendingKeys(m), envelope.Delivered); err != nil {
			ack("fail " + tok)
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

// holdRelease holds a message in which one recipient is done already.
func holdRelease(q *Queue, ack func(string)) error {
	tok := token("a", 2, 100, false)
	if err := keep(q, tok, ack); err != nil {
		return err
	}
	for e, err := range q.Entries() {
		if err != nil {
			return err
		}
		m, err := q.Claim(e.ID)
		if err != nil {
			return err
		}
		defer m.Close()
		if err := m.Hold(heldFor); err != nil {
			return err
		}
		ack("held " + tok)
		if _, err := q.Read(e.ID); err != nil {
			return err
		}
		ack("back " + tok)
		return errors.Join(q.Release(e.ID), deliverAll(q, ack))
	}
	return nil
}

// acceptTogether takes several messages in of which the client hears once.
func acceptTogether(q *Queue, ack func(string)) error {
	tokens := []string{token("a", 1, 100, false), token("b", 1, large, false)}
	all := make([]*Incoming, len(tokens))
	for i, tok := range tokens {
		in, err := q.Create(envelopeFor(1))
		if err != nil {
			return err
		}
		defer in.Abort()
		if _, err := in.Write([]byte(letterOf(tok))); err != nil {
			return err
		}
		all[i] = in
	}
	err := all[0].CommitWith(all[1:]...)
	for _, tok := range tokens {
		if err == nil {
			ack("kept " + tok)
		} else {
			ack("refused " + tok)
		}
	}
	return err
}

// acceptHeld takes a message in that is never in the queue before it is released.
func acceptHeld(q *Queue, ack func(string)) error {
	tok := token(neverActive, 1, 100, false)
	in, err := q.Create(envelopeFor(1))
	if err != nil {
		return err
	}
	in.Hold(heldFor)
	if _, err := in.Write([]byte(letterOf(tok))); err != nil {
		return errors.Join(err, in.Abort())
	}
	if err := in.Commit(); err != nil {
		ack("refused " + tok)
		return err
	}
	ack("kept " + tok)
	ack("held " + tok)
	ack("back " + tok)
	return q.Release(in.ID())
}

// acceptEdited reads a message back before it is in the queue, and takes another in
// in its place.
func acceptEdited(octets int) func(q *Queue, ack func(string)) error {
	return func(q *Queue, ack func(string)) error {
		tok := token("a", 2, octets, false)
		first, err := q.Create(envelopeFor(1))
		if err != nil {
			return err
		}
		defer first.Abort()
		letter := letterOf(tok)
		if _, err := io.WriteString(first, "X-Draft: one\n"+letter); err != nil {
			return err
		}
		second, err := first.Instead(envelopeFor(2))
		if err != nil {
			return err
		}
		defer second.Abort()
		if _, err := io.Copy(second, io.NewSectionReader(first, int64(len("X-Draft: one\n")), int64(len(letter)))); err != nil {
			return err
		}
		first.Abort() // what stays in tmp/ is cleaned up
		if err := second.Commit(); err != nil {
			ack("refused " + tok)
			return err
		}
		ack("kept " + tok)
		return nil
	}
}

// planted are damaged files, the second with a name that is taken in corrupt/.
var planted = map[string]string{
	"no message at all\n":        "queue/0000000000AAAA",
	"postoffice 1 envelope=torn": "queue/0000000000BBBB",
	"set aside before":           "corrupt/0000000000BBBB",
	"":                           "queue/0000000000CCCC",
}

func plantDamaged(f *crashfs.FS) {
	f.MkdirAll("/q", 0o700)
	for _, dir := range locationDirs {
		f.MkdirAll("/q/"+dir, 0o700)
	}
	for content, name := range planted {
		f.Plant("/q/"+name, 0o600, []byte(content))
	}
}

// halfMove is what a process does that is killed between link and unlink.
func halfMove(q *Queue) error {
	const name = "0000000000AAAA"
	return ignoreGone(q.dirs[Active].Link(name, q.dirs[Corrupt], name))
}

// plantOrphan leaves what an interrupted arrival does.
func plantOrphan(f *crashfs.FS) {
	f.MkdirAll("/q/tmp", 0o700)
	f.Plant("/q/tmp/0000000000AAAA", 0o600, unfinished())
	f.Plant("/q/tmp/0000000000BBBB", 0o600, nil)
}

// cleanUp cleans two days later, and accepts.
func cleanUp(q *Queue, ack func(string)) error {
	q.now = twoDaysOn
	unlock, err := q.TryLock()
	if err != nil {
		return err
	}
	err = q.Clean(context.Background())
	unlock()
	return errors.Join(err, keep(q, token("a", 1, 100, false), ack))
}

// plantTorn leaves messages whose last append was torn, in all ways that the
// scenes' own crashes may leave one.
func plantTorn(f *crashfs.FS) {
	f.MkdirAll("/q/queue", 0o700)
	for i, tail := range []string{"note 0f54ba35 2026-0", "\x00\x00\x00", "expansion 1 of 0.0 count 2\nto - <a@", "\nend 1 00000000"} {
		tok := token(fmt.Sprint("torn", i), 1, 100, true)
		f.Plant(fmt.Sprintf("/q/queue/000000000%dTORN", i), 0o600, append(fileOf(tok), tail...))
	}
}
