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
)

// Message is a claimed message: nobody else works on it until Close or Finish.
// Its methods may be called by several goroutines at once.
type Message struct {
	q     *Queue
	id    ID
	place Place
	f     disk.File

	mu    sync.Mutex
	c     *contents // env, first and data never change
	stale bool      // an append failed: c.end is not known, nor what stands before it
	tried int       // the number of the last block that was appended: also of one that failed, and may be whole
	err   error     // why nothing more is recorded or handed out
}

// Claim locks a message and reads it. What it returns besides: ErrBusy,
// ErrGone, ErrCorrupt (the file has been moved to corrupt/) and ErrLater (a
// read error, a file that can't be written, a record that failed).
func (q *Queue) Claim(id ID) (*Message, error) { return q.claim(Active, id) }

func (q *Queue) claim(p Place, id ID) (*Message, error) {
	if err := q.setAside(id); err != nil {
		return nil, fmt.Errorf("queue %s: %w: %w", id, ErrLater, err)
	}
	m, err := q.take(p, id, true)
	if err == nil {
		if err = m.prove(); err == nil {
			return m, nil
		}
		m.Close()
	}
	return nil, fmt.Errorf("queue %s: %w", id, err)
}

// take opens, locks and reads a message of place p; verify says whether also
// its data. A damaged one goes to corrupt/, unless it is there.
func (q *Queue) take(p Place, id ID, verify bool) (*Message, error) {
	if _, ok := ParseID(string(id)); !ok {
		return nil, ErrGone
	}
	f, err := q.dirs[p].Open(string(id), disk.ReadWrite)
	if err != nil {
		if err = q.whyUnopened(p, id, err); errors.Is(err, ErrCorrupt) && p != Corrupt {
			err = q.condemn(p, id, err)
		}
		return nil, err
	}
	c, err := q.lock(p, id, f, verify)
	if errors.Is(err, ErrCorrupt) && p != Corrupt {
		err = q.condemn(p, id, err)
	}
	if err != nil {
		f.Close() // nothing was written to it
		return nil, err
	}
	return &Message{q: q, id: id, place: p, f: f, c: c}, nil
}

// lock locks f and reads it.
func (q *Queue) lock(p Place, id ID, f disk.File, verify bool) (*contents, error) {
	got, err := lockNamed(q.dirs[p], string(id), f)
	switch {
	case err != nil:
		return nil, later(err)
	case got == busy:
		return nil, ErrBusy
	case got == unnamed:
		return nil, ErrGone
	}
	return q.read(f, verify)
}

// read checks whose f is and reads it.
func (q *Queue) read(f disk.File, verify bool) (*contents, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, later(err)
	}
	if err := q.owned(info); err != nil {
		return nil, err
	}
	c, err := decode(f, info.Size, verify)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return nil, later(err)
	}
	return c, err
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
func (q *Queue) whyUnopened(p Place, id ID, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	unusable := errors.Is(err, disk.ErrNotRegular) || errors.Is(err, syscall.ELOOP)
	if !unusable && !errors.Is(err, fs.ErrPermission) {
		return later(err)
	}
	info, lerr := q.dirs[p].Lstat(string(id))
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
func (m *Message) Envelope() Envelope { return m.c.envelope() }

// Size is the message's header and body, in octets.
func (m *Message) Size() int64 { return m.c.first.data }

// Data reads the message's header and body; each call starts anew. A read
// error in it is the disk's.
func (m *Message) Data() *io.SectionReader {
	return io.NewSectionReader(m.f, m.c.data, m.c.first.data)
}

// Recipients yields all recipients that count: the envelope's, and those of
// expansions that have been recorded and not superseded. Of an expanded
// recipient both it and what it stands for.
func (m *Message) Recipients() iter.Seq[Recipient] { return m.each(false) }

// Recipient returns the one at k; false if there is none that counts.
func (m *Message) Recipient(k Key) (Recipient, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.c.find(k)
	if !m.c.counts(i) {
		return Recipient{}, false
	}
	return m.c.recipient(i), true
}

// Pending yields the recipients to be worked on.
func (m *Message) Pending() iter.Seq[Recipient] { return m.each(true) }

// each goes by index, since the loop's body may record and expand.
func (m *Message) each(pending bool) iter.Seq[Recipient] {
	return func(yield func(Recipient) bool) {
		for i := 0; ; i++ {
			r, ok, end := m.at(i, pending)
			if end || ok && !yield(r) {
				return
			}
		}
	}
}

// at is the recipient number i; ok says whether it counts, end that there is
// none.
func (m *Message) at(i int, pending bool) (r Recipient, ok, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i >= len(m.c.rcpts) || pending && m.err != nil {
		return r, false, true
	}
	if !m.c.counts(i) || pending && m.c.rcpts[i].State != Pending {
		return r, false, false
	}
	return m.c.recipient(i), true, false
}

// Notes yields the notes, oldest first. A read error ends it.
func (m *Message) Notes() iter.Seq2[Note, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return notes(m.f, m.c.first.check, m.c.tailAt(), m.c.end)
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
