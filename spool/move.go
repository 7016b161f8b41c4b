package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"postoffice/internal/maillog"
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
	if err := m.note(Note{Time: m.q.now(), Event: HeldEvent, Err: reason}); err != nil {
		return err
	}
	if err := m.f.Datasync(); err != nil {
		return m.giveUp(err) // slots may be gone with it
	}
	if m.place == Held {
		return nil
	}
	return m.q.move(m.place, Held, m.id, m.id)
}

// Release puts a held message back into the queue; also one of corrupt/ that
// has been mended. ErrCorrupt: it is damaged still.
func (q *Queue) Release(id ID) error {
	err := ErrGone
	for _, p := range []Place{Held, Corrupt} {
		var m *Message
		if m, err = q.take(p, id, true); err == nil {
			if err = m.prove(); err == nil {
				err = q.move(p, Active, id, id)
			}
			err = errors.Join(err, m.Close())
		}
		if !errors.Is(err, ErrGone) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("queue %s: release: %w", id, err)
	}
	return nil
}

// move gives a message its name in another place, where name must be free,
// and makes that durable. A move that a crash has left half done, with the
// file under both names, is completed.
func (q *Queue) move(from, to Place, id, name ID) error {
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
func (q *Queue) twins(from, to Place, id, name ID) (bool, error) {
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
func (q *Queue) condemn(p Place, id ID, why error) error {
	name, err := q.condemned(p, id)
	if err == nil {
		err = q.move(p, Corrupt, id, name)
	}
	for try := 0; errors.Is(err, fs.ErrExist) && try < newIDs; try++ {
		if name, err = q.ids.next(); err == nil {
			err = q.move(p, Corrupt, id, name)
		}
	}
	attrs := []slog.Attr{maillog.QueueID(id), maillog.Reason(why.Error()), maillog.File(placeDirs[Corrupt] + "/" + string(name))}
	if err != nil {
		q.log.LogAttrs(context.Background(), slog.LevelError, "damaged message not set aside", append(attrs, maillog.Err(err))...)
		return fmt.Errorf("%w; it could not be set aside: %w", why, err)
	}
	q.log.LogAttrs(context.Background(), slog.LevelError, "damaged message set aside", attrs...)
	return why
}

// condemned is the name to be tried in corrupt/: the file's own, unless a crash
// between link and unlink has left it there under another.
func (q *Queue) condemned(p Place, id ID) (ID, error) {
	info, err := q.dirs[p].Lstat(string(id))
	if err != nil || info.Nlink < 2 {
		return id, err
	}
	for name, err := range q.dirs[Corrupt].Names() {
		if err != nil {
			return id, err
		}
		if twins, err := q.twins(p, Corrupt, id, ID(name)); err != nil || twins {
			return ID(name), err
		}
	}
	return id, nil
}
