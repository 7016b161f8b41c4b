package spool

import (
	"errors"
	"fmt"
	"iter"

	"postoffice/internal/disk"
	"postoffice/spool/envelope"
)

// Entry is a message's name and where it is.
type Entry struct {
	ID       ID
	Location Location
}

// Entries yields all messages, in no order, with memory for one buffer of
// names. Other programs' files are passed over. A message that moves meanwhile
// may come twice or, rarely, not at all. An error is about one directory.
func (q *Queue) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for at, d := range q.dirs {
			for name, err := range d.Names() {
				id, ok := ParseID(name)
				if err == nil && !ok {
					continue
				}
				if err != nil {
					err = fmt.Errorf("list %s: %w", locationDirs[at], err)
				}
				if !yield(Entry{id, Location(at)}, err) {
					return
				}
			}
		}
	}
}

// EachHead yields the ID, the Envelope.Client and the octets of the file of all messages
// that are not damaged, held ones too, as Entries does, with one read of each file. What
// can't be read is passed over. An error is about a directory.
func (q *Queue) EachHead(yield func(id, client string, octets int64) bool) error {
	var errs []error
	for e, err := range q.Entries() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if e.Location == Corrupt {
			continue
		}
		client, octets, ok := q.headOf(e)
		if ok && !yield(string(e.ID), client, octets) {
			break
		}
	}
	return errors.Join(errs...)
}

func (q *Queue) headOf(e Entry) (client string, octets int64, ok bool) {
	f, err := q.dirs[e.Location].Open(string(e.ID), disk.ReadOnly)
	if err != nil {
		return "", 0, false
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return "", 0, false
	}
	client, err = envelope.ClientOf(f)
	return client, info.Size, err == nil
}

// maxSnapshotNotes bounds the notes that are shown of a message.
const maxSnapshotNotes = 10_000

// Snapshot is a message as it was at one moment, read without claiming it.
type Snapshot struct {
	ID         ID
	Location   Location
	Reason     string // why it is held, damaged, or set aside; else ""
	Damaged    bool   // nothing below is known but Size, which is the file's
	Size       int64  // the message's header and body, in octets
	Envelope   envelope.Envelope
	Recipients []envelope.Recipient // as Message.Recipients
	Notes      []envelope.Note      // oldest first; of more than 10,000 the latest
}

// Read reads a message wherever it is, and all that is known of it, into memory:
// who shows messages takes Look. ErrGone: nowhere. ErrLater: it can't be read now.
// A damaged one is no error.
func (q *Queue) Read(id ID) (*Snapshot, error) {
	l, err := q.Look(id)
	if err != nil {
		return nil, err
	}
	defer l.Close() // only read
	s := &Snapshot{ID: id, Location: l.Location, Reason: l.Reason, Damaged: l.Damaged, Size: l.Size}
	if l.Damaged {
		return s, nil
	}
	s.Envelope = l.Envelope
	for r, err := range l.Recipients() {
		if err != nil {
			return nil, fmt.Errorf("queue %s: %w", id, err)
		}
		if r.Parent == envelope.NoKey {
			s.Envelope.Recipients = append(s.Envelope.Recipients, r.Original())
		}
		s.Recipients = append(s.Recipients, r)
	}
	for n, err := range l.Notes() {
		if err != nil {
			return nil, fmt.Errorf("queue %s: %w", id, err)
		}
		s.Notes = append(s.Notes, n)
	}
	return s, nil
}
