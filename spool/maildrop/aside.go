package maildrop

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// Corrupt is where the queue keeps what is damaged.
type Corrupt interface {
	// Impound moves a file there and returns its queue ID: it is listed, and can
	// never be released.
	Impound(from disk.Dir, name string) (id string, err error)
	// Impounded counts what there is of a uid's.
	Impounded(uid int) (files int, octets int64, err error)
}

// What one owner may have there.
const (
	maxAside       = 100      // files
	maxAsideOctets = 64 << 20 // octets of them
)

// ErrNever is a file, or a message, that will never get into the queue.
var ErrNever = errors.New("not to be picked up")

// unfitFile says why a file is ErrNever.
type unfitFile struct{ reason string }

func (u unfitFile) Error() string { return u.reason }

func (unfitFile) Is(target error) bool { return target == ErrNever }

func unfit(format string, args ...any) error { return unfitFile{fmt.Sprintf(format, args...)} }

// setAside moves a file that is no message out of the way. Beyond what one owner
// may have there it stays where it is.
func (m *Maildrop) setAside(d *Dropped, why error) (bool, error) {
	if err := m.roomAside(d.info); err != nil {
		return false, fmt.Errorf("%w; it stays here, since %v", err, why)
	}
	id, err := m.corrupt.Impound(m.dir, d.Name)
	if id == "" {
		return false, err
	}
	m.event(slog.LevelError, "drop set aside", d.Name, d.Owner, why, maillog.QueueID(id))
	return true, err
}

// roomAside says why there is no room for one more file.
func (m *Maildrop) roomAside(file disk.Info) error {
	files, octets, err := m.corrupt.Impounded(file.UID)
	if err != nil {
		return err
	}
	if files >= maxAside || octets+file.Size > maxAsideOctets {
		return fmt.Errorf("corrupt/ has %d files of uid %d already, remove them (postoffice queue remove)", files, file.UID)
	}
	return nil
}

// remove removes a file that may be gone.
func remove(d disk.Dir, name string) error { return present(d.Unlink(name)) }

// present is err unless it says that something is not there.
func present(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
