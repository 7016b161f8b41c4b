package spool

import (
	"errors"
	"fmt"
	"iter"
	"time"

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

// A Look is a message that is shown without being claimed. Its file stays open, and
// what it says of recipients and attempts stays there: a message with 100,000
// recipients takes 3.2 MB, whatever other servers have said of them.
type Look struct {
	ID       ID
	Location Location
	Reason   string            // why it is held, damaged, or set aside; else ""
	Damaged  bool              // nothing below is known but Size, which is the file's
	Size     int64             // the message's header and body, in octets
	Envelope envelope.Envelope // without its recipients
	Next     time.Time         // the next attempt; zero: it is due

	f     disk.File // nil: the message is damaged
	known *envelope.File
	end   int64   // of what was read
	notes int     // how many there are
	last  []int64 // by number of the recipient: where the newest note about an attempt stands
	all   int64   // the same of the whole message
}

// Look reads a message wherever it is. ErrGone: nowhere. ErrLater: it can't be
// read now. A damaged one is no error: mailq shows it.
func (q *Queue) Look(id ID) (*Look, error) {
	err := ErrGone
	if _, ok := ParseID(string(id)); !ok {
		return nil, fmt.Errorf("queue %.20q: %w", string(id), err)
	}
	for _, at := range anywhere {
		var l *Look
		if l, err = q.lookAt(at, id); err == nil {
			return l, nil
		}
		if !errors.Is(err, ErrGone) {
			break
		}
	}
	return nil, fmt.Errorf("queue %s: %w", id, err)
}

func (q *Queue) lookAt(at Location, id ID) (*Look, error) {
	l := &Look{ID: id, Location: at}
	f, err := q.dirs[at].Open(string(id), disk.ReadOnly)
	if err != nil {
		err = q.whyUnopened(at, id, err)
	} else if err = l.fill(q, f); err != nil {
		f.Close() // only read
	}
	if errors.Is(err, ErrCorrupt) {
		l = &Look{ID: id, Location: at, Damaged: true, Reason: err.Error()}
		if info, err := q.dirs[at].Lstat(string(id)); err == nil {
			l.Size = info.Size
		}
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if aside := q.setAside(id); aside != nil && at == Active {
		l.Reason = "set aside until the next start: " + aside.Error()
	}
	return l, nil
}

// fill reads f once, which is the Look's then.
func (l *Look) fill(q *Queue, f disk.File) error {
	info, err := q.checked(f)
	if err != nil {
		return err
	}
	known, err := parsed(envelope.Outline(f, info.Size, l.Location == Corrupt)) // elsewhere Claim reads the data
	if err != nil {
		return err
	}
	l.known, l.end = known, info.Size
	_, l.Size = known.Data()
	l.Envelope = known.Head()
	l.last = make([]int64, known.Len())
	for n, err := range known.PlacedNotes(f, l.end) {
		if err != nil {
			return later(err)
		}
		l.take(n)
	}
	l.f = f
	return nil
}

// take takes account of a note.
func (l *Look) take(n envelope.PlacedNote) {
	l.notes++
	switch {
	case l.Location == Held && n.Event == HeldEvent, l.Location == Waiting && n.Event == WaitsEvent:
		l.Reason = n.Err
	}
	if !n.Next.IsZero() {
		l.Next = n.Next
	}
	if n.Event != "" { // held, say, is no attempt
		return
	}
	if len(n.Keys) == 0 {
		l.all = n.At
	}
	for _, k := range n.Keys {
		if i, ok := l.known.Find(k); ok {
			l.last[i] = n.At
		}
	}
}

// Close ends the Look.
func (l *Look) Close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}

// Recipients yields those of Message.Recipients, each read from the file when its
// turn comes. An error is the last.
func (l *Look) Recipients() iter.Seq2[envelope.Recipient, error] {
	return func(yield func(envelope.Recipient, error) bool) {
		for r, err := range l.known.Recipients(l.f) {
			if err != nil {
				err = later(err)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Recipient returns a recipient without its text: what it was expanded by, and
// how far it is.
func (l *Look) Recipient(k envelope.Key) envelope.Recipient {
	i, ok := l.known.Find(k)
	if !ok {
		return envelope.Recipient{Parent: envelope.NoKey}
	}
	r, _ := l.known.Recipient(i)
	return r
}

// Len is the number of recipients, also of those that don't count.
func (l *Look) Len() int { return l.known.Len() }

// Find is the number of the recipient at k, below Len; ok says whether there is one.
func (l *Look) Find(k envelope.Key) (i int, ok bool) { return l.known.Find(k) }

// Attempts returns what finds the newest note about an attempt at a recipient, best
// in the order of Recipients; ok is false where there is none. free is to be called
// at last.
func (l *Look) Attempts() (newest func(envelope.Key) (n envelope.Note, ok bool), free func()) {
	in := l.known.NoteReader(l.f)
	return func(k envelope.Key) (envelope.Note, bool) {
		i, ok := l.known.Find(k)
		if !ok {
			return envelope.Note{}, false
		}
		at := max(l.last[i], l.all)
		if at == 0 {
			return envelope.Note{}, false
		}
		n, err := in.At(at)
		return n, err == nil // a hint
	}, in.Free
}

// ForgetAttempts gives back what Attempts needs.
func (l *Look) ForgetAttempts() { l.last = nil }

// Notes yields the notes as they stand in the file, oldest first; of more than
// 10,000 the latest.
func (l *Look) Notes() iter.Seq2[envelope.Note, error] {
	return func(yield func(envelope.Note, error) bool) {
		skip := l.notes - maxSnapshotNotes
		for n, err := range l.known.Notes(l.f, l.end) {
			if err != nil {
				yield(n, later(err))
				return
			}
			if skip--; skip < 0 && !yield(n, nil) {
				return
			}
		}
	}
}
