package spool

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/disk/crashfs"
	"postoffice/spool/envelope"
)

// toBeEdited names a message that filters edit: its copies go into the folder edited.
const (
	toBeEdited = "edit"
	edited     = "edited"
)

// await accepts the token's message, which waits for filters then.
func await(q *Queue, token string, ack func(string)) error {
	_, n, _, list := takeApart(token)
	env := envelopeFor(n)
	if list {
		env.Recipients = append(env.Recipients, envelopeFor(1).Recipients[0])
		env.Recipients[n].Path = path("list@example.org")
	}
	in, err := q.Create(env)
	if err != nil {
		return err
	}
	in.Await()
	if _, err = io.WriteString(in, letterOf(token)); err != nil {
		in.Abort()
	} else {
		err = in.Commit()
	}
	if err == nil {
		ack("kept " + token)
	} else {
		ack("refused " + token)
	}
	return err
}

// judgeAll is a pass of filters.
func judgeAll(q *Queue) error {
	var ids []ID
	errs := []error{q.EachWaiting(func(id ID, _ string) bool { ids = append(ids, id); return true })}
	for _, id := range ids {
		m, judged, err := q.ClaimWaiting(id)
		if err == nil {
			err = judge(m, judged)
		}
		if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrGone) && !errors.Is(err, ErrCorrupt) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func judge(m *Message, judged bool) error {
	defer m.Close()
	if judged {
		return m.Pass()
	}
	b, err := io.ReadAll(m.Data())
	if err != nil {
		return later(err)
	}
	if strings.HasPrefix(string(b), "Token: "+toBeEdited+" ") {
		env := m.Envelope()
		env.Folder = edited
		err = m.Rewrite(env, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	} else {
		_ = m.Judged()
	}
	if err != nil {
		return err
	}
	return m.Pass()
}

// waiting has messages wait, be judged and delivered.
func waiting(tokens ...string) func(*Queue, func(string)) error {
	return func(q *Queue, ack func(string)) error {
		var errs []error
		for _, tok := range tokens {
			errs = append(errs, await(q, tok, ack))
		}
		return errors.Join(append(errs, judgeAll(q), deliverAll(q, ack))...)
	}
}

// holdWaiting holds a message that waits for filters, and releases it: it waits again.
func holdWaiting(q *Queue, ack func(string)) error {
	tok := token(toBeEdited, 1, 100, false)
	if err := await(q, tok, ack); err != nil {
		return err
	}
	for e, err := range q.Entries() {
		if err != nil {
			return err
		}
		m, err := q.ClaimAny(e.ID)
		if err != nil {
			return err
		}
		defer m.Close()
		if err := m.Hold(heldFor); err != nil {
			return err
		}
		ack("held " + tok)
		ack("back " + tok)
		return errors.Join(q.Release(e.ID), judgeAll(q), deliverAll(q, ack))
	}
	return nil
}

// halfPass is what a process does that is killed between link and unlink, and before it
// has synced the link.
func halfPass(q *Queue) error {
	if err := await(q, token("a", 2, 100, false), func(string) {}); err != nil {
		return err
	}
	var one ID
	if err := q.EachWaiting(func(id ID, _ string) bool { one = id; return false }); err != nil {
		return err
	}
	return q.dirs[Waiting].Link(string(one), q.dirs[Active], string(one)) // of the test's, no mutant's
}

func deliverPassed(q *Queue, ack func(string)) error {
	ack("kept " + token("a", 2, 100, false))
	return errors.Join(deliverAll(q, ack), judgeAll(q))
}

// judgesAndRunners are processes that put messages in, judge them and deliver, and one
// that holds and releases what it gets.
func judgesAndRunners(f *crashfs.FS) []crashfs.Actor {
	judges := func() crashfs.Actor {
		q, p := opened(f)
		return crashfs.Actor{FS: p, Do: func(func(string)) { _, _ = judgeAll(q), judgeAll(q) }}
	}
	q, p := opened(f)
	r, rp := opened(f)
	h, hp := opened(f)
	return []crashfs.Actor{
		{FS: p, Do: func(ack func(string)) {
			_ = await(q, token(toBeEdited, 1, 100, false), ack)
			_ = await(q, token("b", 1, large, false), ack)
		}},
		judges(), judges(),
		runner(r, rp, 3),
		{FS: hp, Do: func(func(string)) {
			for e := range h.Entries() {
				if m, err := h.ClaimAny(e.ID); err == nil {
					_ = m.Hold(heldFor)
					m.Close()
					_ = h.Release(e.ID)
				}
			}
		}},
	}
}

// TestWaiting: nobody delivers what waits for filters; who looks finds it, and what they
// made of it counts.
func TestWaiting(t *testing.T) {
	q, _ := tempQueue(t)
	for _, tok := range []string{token("a", 1, 100, false), token(toBeEdited, 2, large, false)} {
		if err := await(q, tok, func(string) {}); err != nil {
			t.Fatal(err)
		}
	}
	var ids []ID
	if err := q.EachWaiting(func(id ID, _ string) bool { ids = append(ids, id); return true }); err != nil || len(ids) != 2 {
		t.Fatalf("%v, %v wait, want two", ids, err)
	}
	slices.Sort(ids)
	if m, err := q.Claim(ids[0]); !errors.Is(err, ErrGone) {
		t.Errorf("claimed: %v, %v, want ErrGone", m, err)
	}
	m, judged, err := q.ClaimWaiting(ids[0])
	if err != nil || judged {
		t.Fatalf("%v, %v, %v", m, judged, err)
	}
	if _, _, err := q.ClaimWaiting(ids[0]); !errors.Is(err, ErrBusy) {
		t.Errorf("claimed twice: %v, want ErrBusy", err)
	}
	next := arrived.AddDate(0, 0, 1)
	if err := errors.Join(m.Note(envelope.Note{Time: arrived, Event: WaitsEvent, Err: "the program is away", Next: next}), m.Close()); err != nil {
		t.Fatal(err)
	}
	l, err := q.Look(ids[0])
	if err != nil || l.Location != Waiting || l.Reason != "the program is away" || !l.Next.Equal(next) {
		t.Errorf("%+v, %v", l, err)
	}
	l.Close()
	if err := judgeAll(q); err != nil {
		t.Fatal(err)
	}
	if n := entries(t, q); n[Active] != 2 || n[Waiting] != 0 {
		t.Errorf("%v are there, want two in the queue", n)
	}
	for i, want := range []string{"", edited} {
		m := claim(t, q, ids[i])
		if got := m.Envelope().Folder; got != want {
			t.Errorf("message %d goes to %q, want %q", i, got, want)
		}
	}
}

// TestRewriteFails: what can't be written changes nothing, and nothing stays of it.
func TestRewriteFails(t *testing.T) {
	q, dir := tempQueue(t)
	tok := token("a", 1, 100, false)
	if err := await(q, tok, func(string) {}); err != nil {
		t.Fatal(err)
	}
	var id ID
	_ = q.EachWaiting(func(i ID, _ string) bool { id = i; return false })
	m, _, err := q.ClaimWaiting(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	broken := errors.New("broken")
	err = m.Rewrite(m.Envelope(), func(w io.Writer) error {
		_, err := w.Write(make([]byte, 2*bufferSize))
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("rewritten: %v, want %v", err, broken)
	}
	if got := body(t, m); got != letterOf(tok) || len(pendingKeys(m)) != 1 {
		t.Errorf("the message is %q for %v", got, pendingKeys(m))
	}
	for name, err := range q.tmp.Names() {
		t.Errorf("%s is left in tmp/ of %s, %v", name, dir, err)
	}
}
