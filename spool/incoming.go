package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"postoffice/internal/disk"
)

// Incoming is a message on its way into the queue. It is used by one goroutine
// at a time, and ends with either Commit or Abort.
//
// A message that fits into its buffer touches the disk in Commit only.
type Incoming struct {
	q     *Queue
	id    ID
	f     disk.File // nil until the first write
	tmp   ID        // its name in tmp/; "": none
	where published
	buf   *[]byte // what is not written yet; begins with the first line until f is there
	first first
	env   uint32 // checksum of the envelope
	err   error  // the first failure: nothing is tried after it
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
func (q *Queue) Create(env Envelope) (*Incoming, error) {
	id, err := q.NewID()
	if err != nil {
		return nil, err
	}
	return q.CreateAs(id, env)
}

// CreateAs is Create with an ID that NewID made, once.
func (q *Queue) CreateAs(id ID, env Envelope) (*Incoming, error) {
	if _, ok := ParseID(string(id)); !ok {
		return nil, fmt.Errorf("%w: queue ID %q", ErrInvalid, string(id))
	}
	in := &Incoming{q: q, id: id, buf: buffers.Get().(*[]byte)}
	b, err := appendEnvelope(append((*in.buf)[:0], blankFirst()...), &env)
	*in.buf = b
	if err != nil {
		in.free()
		return nil, err
	}
	in.first.envelope = len(b) - firstLen
	in.env = sum(0, b[firstLen:])
	return in, nil
}

// ID names the message. It may change in Commit, when its name turns out to
// be taken.
func (in *Incoming) ID() ID { return in.id }

// Write adds to the message: lines that end in LF, without CR. Any error is
// the message's end; Commit repeats it.
func (in *Incoming) Write(p []byte) (int, error) {
	if in.ended {
		return 0, ErrClosed
	}
	if in.err == nil && bytes.IndexByte(p, '\r') >= 0 {
		in.err = fmt.Errorf("%w: CR in the message", ErrInvalid)
	}
	if in.err == nil && in.first.data+int64(len(p)) > maxData {
		in.err = ErrFull
	}
	if in.err != nil {
		return 0, in.err
	}
	in.first.data += int64(len(p))
	in.first.dataSum = sum(in.first.dataSum, p)
	if len(*in.buf)+len(p) > in.q.buffer {
		if in.err = in.flush(); in.err != nil {
			return 0, in.err
		}
		if len(p) >= in.q.buffer {
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
	*in.buf = (*in.buf)[:0]
	return err
}

// create makes the file.
func (in *Incoming) create() (err error) {
	in.f, in.id, err = in.q.createTmp(in.id)
	in.tmp = in.id
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
			f.Close() // nothing is in it; who cleans up was faster: it is his
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, id, err
		}
		if id, err = q.ids.next(); err != nil {
			return nil, id, err
		}
	}
	return nil, id, fs.ErrExist
}

// Commit puts the message into the queue and returns nil when it is durable:
// file, name and all. After an error there is nothing left of it.
func (in *Incoming) Commit() error {
	if in.ended {
		return ErrClosed
	}
	err := in.err
	if err == nil {
		err = in.store()
	}
	if err == nil {
		err = in.publish()
	}
	if err != nil {
		in.remove()
		return fmt.Errorf("queue %s: %w", in.id, full(err))
	}
	in.free()
	return nil
}

// store completes the file and syncs it.
func (in *Incoming) store() error {
	line := appendFirst(make([]byte, 0, firstLen), in.first)
	line = appendCheck(line, sum(in.env, line))
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

// publish gives the synced file its name in the queue. The lock is kept until
// the name is durable, so that nobody works on what may have to be refused.
func (in *Incoming) publish() error {
	q := in.q
	in.where = maybePublished
	for try := 0; ; try++ {
		err := q.tmp.RenameNoReplace(string(in.tmp), q.dirs[Active], string(in.id))
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
	if err := q.synced.sync(); err != nil {
		return err
	}
	f := in.f
	in.f = nil
	return f.Close()
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
	active := in.q.dirs[Active]
	if in.where == maybePublished {
		if ours, err := disk.Named(active, string(in.id), in.f); err == nil && ours {
			in.where = isPublished
		}
	}
	if in.where == isPublished {
		errs = append(errs, active.Unlink(string(in.id)))
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
