package spool

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"postoffice/internal/disk"
)

// Entry is a message's name and where it is.
type Entry struct {
	ID    ID
	Place Place
}

// Entries yields all messages, in no order, with memory for one buffer of
// names. Other programs' files are passed over. A message that moves meanwhile
// may come twice or, rarely, not at all. An error is about one directory.
func (q *Queue) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for p, d := range q.dirs {
			for name, err := range d.Names() {
				id, ok := ParseID(name)
				if err == nil && !ok {
					continue
				}
				if err != nil {
					err = fmt.Errorf("list %s: %w", placeDirs[p], err)
				}
				if !yield(Entry{id, Place(p)}, err) {
					return
				}
			}
		}
	}
}

// maxSnapshotNotes bounds a snapshot's notes.
const maxSnapshotNotes = 10_000

// Snapshot is a message as it was at one moment, read without claiming it.
type Snapshot struct {
	ID         ID
	Place      Place
	Reason     string // why it is held, damaged, or set aside; else ""
	Damaged    bool   // nothing below is known but Size, which is the file's
	Size       int64  // the message's header and body, in octets
	Envelope   Envelope
	Recipients []Recipient // as Message.Recipients
	Notes      []Note      // oldest first; of more than 10,000 the latest
}

// Read reads a message wherever it is. ErrGone: nowhere. ErrLater: it can't be
// read now. A damaged one is no error: mailq shows it.
func (q *Queue) Read(id ID) (*Snapshot, error) {
	err := ErrGone
	if _, ok := ParseID(string(id)); !ok {
		return nil, fmt.Errorf("queue %.20q: %w", string(id), err)
	}
	for _, p := range []Place{Active, Held, Corrupt, Active} { // it may be moved meanwhile
		var s *Snapshot
		if s, err = q.snapshot(p, id); err == nil {
			return s, nil
		}
		if !errors.Is(err, ErrGone) {
			break
		}
	}
	return nil, fmt.Errorf("queue %s: %w", id, err)
}

func (q *Queue) snapshot(p Place, id ID) (*Snapshot, error) {
	s := &Snapshot{ID: id, Place: p}
	f, err := q.dirs[p].Open(string(id), disk.ReadOnly)
	if err != nil {
		err = q.whyUnopened(p, id, err)
	} else {
		defer f.Close() // only read
		err = q.fill(s, f)
	}
	if errors.Is(err, ErrCorrupt) {
		s.Damaged, s.Reason = true, err.Error()
		if info, err := q.dirs[p].Lstat(string(id)); err == nil {
			s.Size = info.Size
		}
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if aside := q.setAside(id); aside != nil && p == Active {
		s.Reason = "set aside until the next start: " + aside.Error()
	}
	return s, nil
}

// fill reads f into s.
func (q *Queue) fill(s *Snapshot, f disk.File) error {
	c, err := q.read(f, s.Place == Corrupt) // elsewhere Claim reads the data
	if err != nil {
		return err
	}
	s.Size, s.Envelope = c.first.data, c.envelope()
	for i := range c.rcpts {
		if c.counts(i) {
			s.Recipients = append(s.Recipients, c.recipient(i))
		}
	}
	for n, err := range notes(f, c.first.check, c.tailAt(), c.end) {
		if err != nil {
			return later(err)
		}
		if len(s.Notes) == 2*maxSnapshotNotes {
			s.Notes = slices.Delete(s.Notes, 0, maxSnapshotNotes)
		}
		s.Notes = append(s.Notes, n)
		if s.Place == Held && n.Event == HeldEvent {
			s.Reason = n.Err
		}
	}
	s.Notes = s.Notes[max(0, len(s.Notes)-maxSnapshotNotes):]
	return nil
}
