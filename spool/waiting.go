package spool

import (
	"errors"
	"fmt"
	"io"

	"postoffice/internal/disk"
	"postoffice/spool/envelope"
)

// The Events of notes about filters.
const (
	WaitsEvent  = "waits"  // the message waits for filters; Err says why longer than others
	JudgedEvent = "judged" // they have judged it
)

// EachWaiting yields the messages that wait for filters, in no order, with the client of
// their envelope, "" where that can't be read.
func (q *Queue) EachWaiting(yield func(id ID, client string) bool) error {
	for name, err := range q.dirs[Waiting].Names() {
		if err != nil {
			return fmt.Errorf("list %s: %w", locationDirs[Waiting], err)
		}
		id, ok := ParseID(name)
		if !ok {
			continue
		}
		if client, _, _ := q.headOf(Entry{id, Waiting}); !yield(id, client) {
			break
		}
	}
	return nil
}

// ClaimWaiting is Claim of a message that waits for filters. judged says that they have
// judged it, and a crash came before Pass. What may be in the queue too, since a crash has
// left the file under both names, is passed on here, and ErrGone then.
func (q *Queue) ClaimWaiting(id ID) (m *Message, judged bool, err error) {
	m, judged, err = q.claimWaiting(id)
	q.missed(id, err)
	if err != nil {
		return nil, false, fmt.Errorf("queue %s: %w", id, err)
	}
	return m, judged, nil
}

func (q *Queue) claimWaiting(id ID) (*Message, bool, error) {
	if err := q.setAside(id); err != nil {
		return nil, false, later(err)
	}
	m, err := q.take(Waiting, id, true)
	if err != nil {
		return nil, false, err
	}
	twins, err := q.twins(Waiting, Active, id, id)
	if err == nil && twins {
		if err = q.move(Waiting, Active, id, id); err == nil {
			err = ErrGone
		}
	}
	home := Waiting
	if err == nil {
		home, err = m.home()
	}
	if err != nil {
		return nil, false, errors.Join(err, m.Close())
	}
	return m, home == Active, nil
}

// home is where a message belongs that nobody holds: it waits for filters until the
// note that they have judged it.
func (m *Message) home() (Location, error) {
	at := Active
	for n, err := range m.Notes() {
		switch {
		case err != nil:
			return at, later(err)
		case n.Event == WaitsEvent:
			at = Waiting
		case n.Event == JudgedEvent:
			at = Active
		}
	}
	return at, nil
}

// Judged notes that filters have judged the message. Whatever a crash leaves of that,
// the message is where it was.
func (m *Message) Judged() error {
	return m.Note(envelope.Note{Time: m.q.now(), Event: JudgedEvent})
}

// Pass puts a message that has waited for filters into the queue, and closes it.
func (m *Message) Pass() error {
	m.mu.Lock()
	err := m.err
	if err == nil {
		err = m.q.move(m.at, Active, m.id, m.id)
	}
	m.mu.Unlock()
	if err != nil {
		return m.wrap("pass", err)
	}
	return m.wrap("pass", m.Close())
}

// Rewrite puts an edited copy in the place of a message that waits for filters, which is
// judged then: with another envelope, and with the data that write writes. After nil
// the Message is the copy. After an error the one or the other is there, whole, and the
// Message is of no use any more unless Pending yields somebody still.
func (m *Message) Rewrite(env envelope.Envelope, write func(w io.Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrap("rewrite", m.rewrite(env, write))
}

func (m *Message) rewrite(env envelope.Envelope, write func(w io.Writer) error) error {
	if m.err != nil {
		return m.err
	}
	in, err := m.q.CreateAs(m.id, env)
	if err != nil {
		return err
	}
	in.notes = []string{JudgedEvent}
	if err = write(in); err == nil {
		err = in.err
	}
	if err == nil {
		err = in.store()
	}
	if err != nil {
		return errors.Join(full(err), in.Abort())
	}
	f, known, err := m.replace(in)
	if err != nil {
		return err
	}
	// A folder that could not be synced may have the old file still, when the power is
	// back: then all in it is done.
	err = m.writeSlots(m.slots(), envelope.Cancelled)
	old := m.f
	m.f, m.known, m.end, m.stale, m.tried = f, known, in.size, false, 0
	m.q.tally.Grew(string(m.id), in.size)
	if err = errors.Join(err, old.Close()); err != nil {
		return m.giveUp(err)
	}
	return nil
}

// replace gives a synced file the message's name. Whoever has the old file open finds,
// once they have its lock, that the name leads elsewhere.
func (m *Message) replace(in *Incoming) (disk.File, *envelope.File, error) {
	q := m.q
	known, _, err := q.read(in.f, false)
	if err != nil { // nothing has happened to the message
		return nil, nil, errors.Join(err, in.Abort())
	}
	if err := q.tmp.Rename(string(in.tmp), q.dirs[Waiting], string(m.id)); err != nil {
		err = later(err)
		if ours, nerr := disk.Named(q.dirs[Waiting], string(m.id), in.f); nerr != nil || ours {
			m.err = err // it may be the copy by now
			in.tmp = ""
		}
		return nil, nil, errors.Join(err, in.Abort())
	}
	f := in.f
	in.tmp = ""
	in.free()
	if err := q.dirs[Waiting].Sync(); err != nil {
		m.err = later(err)
		return nil, nil, errors.Join(m.err, f.Close())
	}
	return f, known, nil
}
