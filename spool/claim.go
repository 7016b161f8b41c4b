package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"
	"syscall"

	"postoffice/internal/disk"
	"postoffice/spool/envelope"
)

// Message is a claimed message: nobody else works on it until Close or Finish.
// Its methods may be called by several goroutines at once.
type Message struct {
	q  *Queue
	id ID
	at Location
	f  disk.File

	mu    sync.Mutex
	known *envelope.File // what is in the file; its Envelope and Data never change
	end   int64          // the file's length
	stale bool           // an append failed: end is not known, nor what stands before it
	tried int            // the number of the last block that was appended: also of one that failed, and may be whole
	err   error          // why nothing more is recorded or handed out
}

// Claim locks a message and reads it. What it returns besides: ErrBusy,
// ErrGone, ErrCorrupt (the file has been moved to corrupt/) and ErrLater (a
// read error, a file that can't be written, a record that failed).
func (q *Queue) Claim(id ID) (*Message, error) {
	m, err := q.claim(Active, id)
	q.missed(id, err)
	return m, err
}

// missed tells the tally of a message that somebody else has removed: err says that it
// isn't where it was looked for.
func (q *Queue) missed(id ID, err error) {
	if errors.Is(err, ErrGone) && !q.has(Held, id) && !q.has(Waiting, id) && !q.has(Active, id) {
		q.tally.Went(string(id))
	}
}

// has reports whether a message may be there.
func (q *Queue) has(at Location, id ID) bool {
	_, err := q.dirs[at].Lstat(string(id))
	return !errors.Is(err, fs.ErrNotExist)
}

func (q *Queue) claim(at Location, id ID) (*Message, error) {
	if err := q.setAside(id); err != nil {
		return nil, fmt.Errorf("queue %s: %w: %w", id, ErrLater, err)
	}
	m, err := q.take(at, id, true)
	if err == nil {
		if err = m.prove(); err == nil {
			return m, nil
		}
		m.Close()
	}
	return nil, fmt.Errorf("queue %s: %w", id, err)
}

// take opens, locks and reads a message that is there; verify says whether also
// its data. A damaged one goes to corrupt/, unless it is there.
func (q *Queue) take(at Location, id ID, verify bool) (*Message, error) {
	if _, ok := ParseID(string(id)); !ok {
		return nil, ErrGone
	}
	f, err := q.dirs[at].Open(string(id), disk.ReadWrite)
	if err != nil {
		if err = q.whyUnopened(at, id, err); errors.Is(err, ErrCorrupt) && at != Corrupt {
			err = q.condemn(at, id, err)
		}
		return nil, err
	}
	known, size, err := q.lock(at, id, f, verify)
	if errors.Is(err, ErrCorrupt) && at != Corrupt {
		err = q.condemn(at, id, err)
	}
	if err != nil {
		f.Close() // nothing was written to it
		return nil, err
	}
	return &Message{q: q, id: id, at: at, f: f, known: known, end: size}, nil
}

// lock locks f and reads it.
func (q *Queue) lock(at Location, id ID, f disk.File, verify bool) (*envelope.File, int64, error) {
	got, err := lockNamed(q.dirs[at], string(id), f)
	switch {
	case err != nil:
		return nil, 0, later(err)
	case got == busy:
		return nil, 0, ErrBusy
	case got == unnamed:
		return nil, 0, ErrGone
	}
	return q.read(f, verify)
}

// read checks whose f is and reads it. It returns the length that f had too.
func (q *Queue) read(f disk.File, verify bool) (*envelope.File, int64, error) {
	info, err := q.checked(f)
	if err != nil {
		return nil, 0, err
	}
	known, err := parsed(envelope.Parse(f, info.Size, verify))
	return known, info.Size, err
}

// checked returns what f is, if the spool can have made it.
func (q *Queue) checked(f disk.File) (disk.Info, error) {
	info, err := f.Stat()
	if err != nil {
		return info, later(err)
	}
	return info, q.owned(info)
}

// parsed sorts out why a file can't be understood.
func parsed(known *envelope.File, err error) (*envelope.File, error) {
	switch {
	case errors.Is(err, envelope.ErrDamaged):
		return nil, damage("%v", err)
	case err != nil:
		return nil, later(err)
	}
	return known, nil
}

// owned refuses files that the spool cannot have made.
func (q *Queue) owned(info disk.Info) error {
	switch {
	case !info.Mode.IsRegular():
		return damage("not a regular file (%v)", info.Mode)
	case info.UID != q.uid:
		return damage("belongs to uid %d, not %d", info.UID, q.uid)
	case info.Mode.Perm()&fileMode != fileMode || info.Mode.Perm()&0o022 != 0:
		return damage("has mode %04o, not %04o", info.Mode.Perm(), fileMode)
	}
	return nil
}

// whyUnopened sorts out why a file can't be opened.
func (q *Queue) whyUnopened(at Location, id ID, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	unusable := errors.Is(err, disk.ErrNotRegular) || errors.Is(err, syscall.ELOOP)
	if !unusable && !errors.Is(err, fs.ErrPermission) {
		return later(err)
	}
	info, lerr := q.dirs[at].Lstat(string(id))
	if errors.Is(lerr, fs.ErrNotExist) {
		return ErrGone
	}
	if lerr != nil {
		return later(lerr)
	}
	if wrong := q.owned(info); wrong != nil {
		return wrong
	}
	return later(err) // ours in all that can be seen: the system's doing
}

// later marks what may be otherwise at the next look.
func later(err error) error { return fmt.Errorf("%w: %w", ErrLater, err) }

// ID names the message.
func (m *Message) ID() ID { return m.id }

// Envelope is what the message arrived with.
func (m *Message) Envelope() envelope.Envelope { return m.known.Envelope() }

// Size is the message's header and body, in octets.
func (m *Message) Size() int64 {
	_, size := m.known.Data()
	return size
}

// Data reads the message's header and body; each call starts anew. A read
// error in it is the disk's.
func (m *Message) Data() *io.SectionReader {
	at, size := m.known.Data()
	return io.NewSectionReader(m.f, at, size)
}

// Recipients yields all recipients that count: the envelope's, and those of
// expansions that have been recorded and not superseded. Of an expanded
// recipient both it and what it stands for.
func (m *Message) Recipients() iter.Seq[envelope.Recipient] { return m.each(false) }

// Recipient returns the one at k; false if there is none that counts.
func (m *Message) Recipient(k envelope.Key) (envelope.Recipient, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.known.Find(k)
	if !ok {
		return envelope.Recipient{}, false
	}
	return m.known.Recipient(i)
}

// Pending yields the recipients to be worked on.
func (m *Message) Pending() iter.Seq[envelope.Recipient] { return m.each(true) }

// each goes by index, since the loop's body may record and expand.
func (m *Message) each(pending bool) iter.Seq[envelope.Recipient] {
	return func(yield func(envelope.Recipient) bool) {
		for i := 0; ; i++ {
			r, ok, end := m.number(i, pending)
			if end || ok && !yield(r) {
				return
			}
		}
	}
}

// number is the recipient number i; ok says whether it counts, end that there is
// none.
func (m *Message) number(i int, pending bool) (r envelope.Recipient, ok, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i >= m.known.Len() || pending && m.err != nil {
		return r, false, true
	}
	if _, state := m.known.Slot(i); pending && state != envelope.Pending {
		return r, false, false
	}
	r, ok = m.known.Recipient(i)
	return r, ok, false
}

// Notes yields the notes, oldest first. A read error ends it.
func (m *Message) Notes() iter.Seq2[envelope.Note, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known.Notes(m.f, m.end)
}

// Close gives the message back.
func (m *Message) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f == nil {
		return nil
	}
	if m.err == nil {
		m.err = ErrClosed
	}
	err := m.f.Close()
	m.f = nil
	return err
}
