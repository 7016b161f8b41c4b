package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"postoffice/internal/maillog"
	"postoffice/spool/envelope"
)

// HeldEvent is the Event of the note that says why a message is held.
const HeldEvent = "held"

// Hold takes the message out of the queue until Release, and closes it. One
// that is held already gets another reason.
func (m *Message) Hold(reason string) error {
	m.mu.Lock()
	err := m.wrap("hold", m.hold(reason))
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.wrap("hold", m.Close())
}

func (m *Message) hold(reason string) error {
	if err := m.note(envelope.Note{Time: m.q.now(), Event: HeldEvent, Err: reason}); err != nil {
		return err
	}
	if err := m.f.Datasync(); err != nil {
		return m.giveUp(err) // slots may be gone with it
	}
	if m.at == Held {
		return nil
	}
	return m.q.move(m.at, Held, m.id, m.id)
}

// Release puts a held message back into the queue, or where it waits for filters if it
// has not been judged; also one of corrupt/ that has been mended. ErrCorrupt: it is
// damaged still.
func (q *Queue) Release(id ID) error {
	err := ErrGone
	for _, at := range []Location{Held, Corrupt} {
		var m *Message
		if m, err = q.take(at, id, true); err == nil {
			to := Active
			if err = m.prove(); err == nil {
				to, err = m.home()
			}
			if err == nil {
				err = q.move(at, to, id, id)
			}
			if err == nil && at == Corrupt {
				q.tally.Came(string(id), m.known.Head().Client, m.end)
			}
			err = errors.Join(err, m.Close())
		}
		if !errors.Is(err, ErrGone) {
			break
		}
	}
	if err != nil {
		q.missed(id, err)
		return fmt.Errorf("queue %s: release: %w", id, err)
	}
	return nil
}

// move gives a message its name in another location, where name must be free,
// and makes that durable. A move that a crash has left half done, with the
// file under both names, is completed.
func (q *Queue) move(from, to Location, id, name ID) error {
	err := q.dirs[from].RenameNoReplace(string(id), q.dirs[to], string(name))
	if errors.Is(err, fs.ErrExist) {
		twins, terr := q.twins(from, to, id, name)
		if terr == nil && twins {
			if err = q.dirs[to].Sync(); err == nil {
				err = q.dirs[from].Unlink(string(id))
			}
		} else if terr != nil {
			err = terr
		}
	}
	if err == nil {
		err = q.dirs[to].Sync()
	}
	if err == nil {
		err = q.dirs[from].Sync()
	}
	if err != nil {
		return later(err)
	}
	return nil
}

// twins reports whether two names are of one file.
func (q *Queue) twins(from, to Location, id, name ID) (bool, error) {
	a, err := q.dirs[from].Lstat(string(id))
	if err != nil {
		return false, ignoreGone(err)
	}
	b, err := q.dirs[to].Lstat(string(name))
	if err != nil {
		return false, ignoreGone(err)
	}
	return a.Same(b), nil
}

// condemn moves what is no message file to corrupt/ and returns why. If it
// can't be moved it stays, and is met again.
func (q *Queue) condemn(at Location, id ID, why error) error {
	name, err := q.condemned(at, id)
	if err == nil {
		err = q.move(at, Corrupt, id, name)
	}
	for try := 0; errors.Is(err, fs.ErrExist) && try < newIDs; try++ {
		if name, err = q.ids.next(); err == nil {
			err = q.move(at, Corrupt, id, name)
		}
	}
	attrs := []slog.Attr{maillog.QueueID(id), maillog.Reason(why.Error()), maillog.File(locationDirs[Corrupt] + "/" + string(name))}
	if err != nil {
		q.log.LogAttrs(context.Background(), slog.LevelError, "damaged message not set aside", append(attrs, maillog.Err(err))...)
		return fmt.Errorf("%w; it could not be set aside: %w", why, err)
	}
	q.tally.Went(string(id))
	q.log.LogAttrs(context.Background(), slog.LevelError, "damaged message set aside", attrs...)
	return why
}

// condemned is the name to be tried in corrupt/: the file's own, unless a crash
// between link and unlink has left it there under another.
func (q *Queue) condemned(at Location, id ID) (ID, error) {
	info, err := q.dirs[at].Lstat(string(id))
	if err != nil || info.Nlink < 2 {
		return id, err
	}
	for name, err := range q.dirs[Corrupt].Names() {
		if err != nil {
			return id, err
		}
		if twins, err := q.twins(at, Corrupt, id, ID(name)); err != nil || twins {
			return ID(name), err
		}
	}
	return id, nil
}
