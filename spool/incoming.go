package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"postoffice/internal/disk"
	"postoffice/spool/envelope"
)

// Incoming is a message on its way into the queue. It is used by one goroutine
// at a time, and ends with either Commit or Abort.
//
// A message that fits into its buffer touches the disk in Commit only.
type Incoming struct {
	q     *Queue
	id    ID
	from  string    // Envelope.Client
	size  int64     // octets that were written
	head  int       // octets in front of the message: first line and envelope
	f     disk.File // nil until the first write
	tmp   ID        // its name in tmp/; "": none
	takes bool      // it takes another's place, and so its ID, whatever its name in tmp/
	to    Location  // where it goes: Active, Held or Waiting
	why   string    // why it is held
	notes []string  // events that are written behind it
	where published
	buf   *[]byte // what is not written yet; begins with the first line until f is there
	enc   envelope.Encoder
	err   error // the first failure: nothing is tried after it
	ended bool
}

// published says whether the message has its name in the queue.
type published int

const (
	notPublished   published = iota
	maybePublished           // the call failed, and may have done half
	isPublished
)

const (
	bufferSize = 32 << 10 // octets written at once
	newIDs     = 10       // tries for a name that is free
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize)
	return &b
}}

// NewID makes an ID for CreateAs. One that is never used costs nothing.
func (q *Queue) NewID() (ID, error) {
	id, err := q.ids.next()
	if err != nil {
		return "", fmt.Errorf("queue ID: %w", err)
	}
	return id, nil
}

// Create begins a message with a new ID. ErrInvalid: the envelope can't be
// written.
func (q *Queue) Create(env envelope.Envelope) (*Incoming, error) {
	id, err := q.NewID()
	if err != nil {
		return nil, err
	}
	return q.CreateAs(id, env)
}

// CreateAs is Create with an ID that NewID made, once.
func (q *Queue) CreateAs(id ID, env envelope.Envelope) (*Incoming, error) {
	if _, ok := ParseID(string(id)); !ok {
		return nil, fmt.Errorf("%w: queue ID %q", envelope.ErrInvalid, string(id))
	}
	in := &Incoming{q: q, id: id, from: env.Client, buf: buffers.Get().(*[]byte)}
	b, err := in.enc.Begin((*in.buf)[:0], &env)
	*in.buf, in.head = b, len(b)
	if err != nil {
		in.free()
		return nil, err
	}
	return in, nil
}

// Instead begins a message that takes the place of this one, which is aborted before
// the new one's Commit: it has the same ID.
func (in *Incoming) Instead(env envelope.Envelope) (*Incoming, error) {
	other, err := in.q.CreateAs(in.id, env)
	if err == nil {
		other.takes = true
	}
	return other, err
}

// ReadAt reads what was written so far, from an offset in the message: from the file,
// and what is not there yet from the buffer. It writes nothing.
func (in *Incoming) ReadAt(p []byte, off int64) (n int, err error) {
	if in.ended {
		return 0, ErrClosed
	}
	if in.err != nil {
		return 0, in.err
	}
	off += int64(in.head)
	if off < in.size {
		n, err = in.f.ReadAt(p[:min(int64(len(p)), in.size-off)], off)
		if err != nil {
			return n, err
		}
		off += int64(n)
	}
	if n < len(p) {
		if at := off - in.size; at < int64(len(*in.buf)) {
			n += copy(p[n:], (*in.buf)[at:])
		}
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// ID names the message. It may change in Commit, when its name turns out to
// be taken.
func (in *Incoming) ID() ID { return in.id }

// Write adds to the message: lines that end in LF, without CR. Any error is
// the message's end; Commit repeats it.
func (in *Incoming) Write(p []byte) (int, error) {
	n, err := in.write(p)
	return n, full(err)
}

func (in *Incoming) write(p []byte) (int, error) {
	if in.ended {
		return 0, ErrClosed
	}
	if in.err == nil {
		in.err = in.enc.Data(p)
	}
	if in.err != nil {
		return 0, in.err
	}
	if len(*in.buf)+len(p) > in.q.buffer {
		if in.err = in.flush(); in.err != nil {
			return 0, in.err
		}
		if len(p) >= in.q.buffer {
			in.size += int64(len(p))
			_, in.err = in.f.Write(p)
			return len(p), in.err
		}
	}
	*in.buf = append(*in.buf, p...)
	return len(p), nil
}

// flush writes the buffer, and makes the file before the first time.
func (in *Incoming) flush() error {
	if in.f == nil {
		if err := in.create(); err != nil {
			return err
		}
	}
	if len(*in.buf) == 0 {
		return nil
	}
	_, err := in.f.Write(*in.buf)
	in.size += int64(len(*in.buf))
	*in.buf = (*in.buf)[:0]
	return err
}

// create makes the file.
func (in *Incoming) create() (err error) {
	in.f, in.tmp, err = in.q.createTmp(in.id)
	if !in.takes {
		in.id = in.tmp
	}
	return err
}

// createTmp makes a file in tmp/, under another name if id is taken (A30), and
// locks it: who cleans up sees that somebody is at work (A33).
func (q *Queue) createTmp(id ID) (disk.File, ID, error) {
	for range newIDs {
		f, err := q.tmp.Create(string(id), fileMode)
		if err == nil {
			var got lockState
			got, err = lockNamed(q.tmp, string(id), f)
			if err == nil && got == locked && q.chown {
				err = f.Chown(q.uid, q.gid)
			}
			if err != nil {
				return nil, id, errors.Join(err, f.Close(), q.tmp.Unlink(string(id)))
			}
			if got == locked {
				return f, id, nil
			}
			f.Close() // nothing is in it; whoever cleans up was faster, and has it
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, id, err
		}
		if id, err = q.ids.next(); err != nil {
			return nil, id, err
		}
	}
	return nil, id, fs.ErrExist
}

// Hold has Commit put the message into hold/, out of the queue until Release.
func (in *Incoming) Hold(reason string) {
	in.to, in.why, in.notes = Held, reason, append(in.notes, HeldEvent)
}

// Await has Commit put the message into filter/, where it waits to be judged. One that
// is held too waits there once it is released.
func (in *Incoming) Await() {
	if in.notes = append(in.notes, WaitsEvent); in.to == Active {
		in.to = Waiting
	}
}

// Commit puts the message into the queue and returns nil when it is durable:
// file, name and all. After an error there is nothing left of it.
func (in *Incoming) Commit() error { return in.CommitWith() }

// CommitWith is Commit of several messages: nil means all of them, and after an
// error there is nothing left of any. A crash may leave some.
func (in *Incoming) CommitWith(others ...*Incoming) error {
	all := append(others, in) // who looks at one of the others finds in itself not yet there
	var err error
	for _, one := range all {
		if one.ended {
			return ErrClosed
		}
		if err == nil {
			err = one.err
		}
	}
	for _, one := range all {
		if err == nil {
			err = one.store()
		}
	}
	if err == nil {
		err = in.q.publish(all)
	}
	if err != nil {
		for _, one := range all {
			one.remove()
		}
		return fmt.Errorf("queue %s: %w", in.id, full(err))
	}
	for _, one := range all {
		one.free()
	}
	return nil
}

// store completes the file and syncs it.
func (in *Incoming) store() error {
	line := in.enc.FirstLine()
	for _, event := range in.notes {
		n := envelope.Note{Time: in.q.now(), Event: event}
		if event == HeldEvent {
			n.Err = in.why
		}
		b, err := in.enc.AppendNote(*in.buf, n)
		if err != nil {
			return err
		}
		*in.buf = b
	}
	if in.f == nil {
		copy(*in.buf, line)
		if err := in.flush(); err != nil {
			return err
		}
	} else {
		if err := in.flush(); err != nil {
			return err
		}
		if _, err := in.f.WriteAt(line, 0); err != nil {
			return err
		}
	}
	return in.f.Sync()
}

// publish gives synced files their names in the queue. The locks are kept until
// the names are durable, so that nobody works on what may have to be refused.
func (q *Queue) publish(all []*Incoming) error {
	var to [numLocations]bool
	for _, in := range all {
		if err := in.rename(); err != nil {
			return err
		}
		to[in.to] = true
	}
	for at, any := range to {
		if any {
			if err := q.syncNames(Location(at)); err != nil {
				return err
			}
		}
	}
	var err error
	for _, in := range all {
		q.tally.Came(string(in.id), in.from, in.size) // before anybody else can have it
		err = errors.Join(err, in.f.Close())
		in.f = nil
	}
	return err
}

// rename gives the file its name in the queue, or another ID where that is taken.
func (in *Incoming) rename() error {
	q := in.q
	in.where = maybePublished
	for try := 0; ; try++ {
		err := q.tmp.RenameNoReplace(string(in.tmp), q.dirs[in.to], string(in.id))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) || try == newIDs {
			return err
		}
		if in.id, err = q.ids.next(); err != nil {
			return err
		}
	}
	in.where, in.tmp = isPublished, ""
	return nil
}

// syncNames makes the names in a location durable.
func (q *Queue) syncNames(at Location) error {
	if at == Active {
		return q.synced.sync()
	}
	return q.dirs[at].Sync()
}

// Abort drops the message. Nothing happens after Commit or a second time.
func (in *Incoming) Abort() error {
	if in.ended {
		return nil
	}
	return in.remove()
}

// remove takes the message's names away.
func (in *Incoming) remove() error {
	var errs []error
	if in.f != nil && in.tmp != "" {
		errs = append(errs, in.q.tmp.Unlink(string(in.tmp)))
	}
	to := in.q.dirs[in.to]
	if in.where == maybePublished {
		if ours, err := disk.Named(to, string(in.id), in.f); err == nil && ours {
			in.where = isPublished
		}
	}
	if in.where == isPublished {
		err := to.Unlink(string(in.id))
		if err == nil {
			in.q.tally.Went(string(in.id))
		} else {
			in.q.tally.Came(string(in.id), in.from, in.size) // whatever its client is told
		}
		errs = append(errs, err)
	}
	if in.f != nil {
		errs = append(errs, in.f.Close())
	}
	in.free()
	return errors.Join(errs...)
}

func (in *Incoming) free() {
	in.ended = true
	if cap(*in.buf) <= 2*bufferSize {
		*in.buf = (*in.buf)[:0]
		buffers.Put(in.buf)
	}
	in.buf, in.f = nil, nil
}
