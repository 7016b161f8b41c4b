package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"postoffice/internal/disk"
)

// anywhere are the locations in the order in which a message is looked for: it may be
// moved meanwhile.
var anywhere = [...]Location{Active, Waiting, Held, Corrupt, Waiting, Active}

// claimable are those of messages that can be worked on.
var claimable = [...]Location{Active, Waiting, Held, Waiting, Active}

// ClaimAny is Claim for what an administrator wants done: it takes held messages too, and
// those that wait for filters. A held one stays held; what was recorded of it counts when
// it is released.
func (q *Queue) ClaimAny(id ID) (m *Message, err error) {
	for _, at := range claimable {
		if m, err = q.claim(at, id); !errors.Is(err, ErrGone) {
			break
		}
	}
	q.missed(id, err)
	return m, err
}

// Held reports whether the message is out of the queue until Release.
func (m *Message) Held() bool { return m.at == Held }

// Discard removes a damaged message for good. ErrGone: there is none.
func (q *Queue) Discard(id ID) error {
	if _, ok := ParseID(string(id)); !ok {
		return fmt.Errorf("queue %.20q: %w", string(id), ErrGone)
	}
	err := q.dirs[Corrupt].Unlink(string(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrGone
	}
	if err == nil {
		err = q.dirs[Corrupt].Sync()
	}
	if err != nil {
		return fmt.Errorf("queue %s: %w", id, err)
	}
	return nil
}

// Impound moves a file of another owner's from elsewhere on the spool's file
// system into corrupt/, under the ID that it returns: what is there is listed,
// and never released. With an ID an error says that it may be undone by a crash.
func (q *Queue) Impound(from disk.Dir, name string) (id string, err error) {
	made, err := q.ids.next()
	if err == nil {
		err = from.RenameNoReplace(name, q.dirs[Corrupt], string(made))
	}
	if err != nil {
		return "", err
	}
	return string(made), q.dirs[Corrupt].Sync()
}

// Impounded counts the files in corrupt/ that belong to uid.
func (q *Queue) Impounded(uid int) (files int, octets int64, err error) {
	for name, err := range q.dirs[Corrupt].Names() {
		if err != nil {
			return 0, 0, err
		}
		if info, err := q.dirs[Corrupt].Lstat(name); err == nil && info.UID == uid {
			files++
			octets += info.Size
		}
	}
	return files, octets, nil
}

// Reading is a message's header and body, read without claiming it: nobody is
// kept from working on it, and it can be read to its end also when it is
// delivered and removed meanwhile. A read error in it is the disk's.
type Reading struct {
	*io.SectionReader
	f disk.File
}

// Close ends the reading.
func (r *Reading) Close() error { return r.f.Close() }

// OpenData opens the header and body of a message, wherever it is. ErrGone:
// nowhere. ErrCorrupt: its file can't be understood. ErrLater: it can't be read
// now.
func (q *Queue) OpenData(id ID) (*Reading, error) {
	err := ErrGone
	if _, ok := ParseID(string(id)); !ok {
		return nil, fmt.Errorf("queue %.20q: %w", string(id), err)
	}
	for _, at := range anywhere {
		var r *Reading
		if r, err = q.openData(at, id); err == nil {
			return r, nil
		}
		if !errors.Is(err, ErrGone) {
			break
		}
	}
	return nil, fmt.Errorf("queue %s: %w", id, err)
}

func (q *Queue) openData(at Location, id ID) (*Reading, error) {
	f, err := q.dirs[at].Open(string(id), disk.ReadOnly)
	if err != nil {
		return nil, q.whyUnopened(at, id, err)
	}
	known, _, err := q.read(f, false)
	if err != nil {
		f.Close() // only read
		return nil, err
	}
	begin, size := known.Data()
	return &Reading{io.NewSectionReader(f, begin, size), f}, nil
}
