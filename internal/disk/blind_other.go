//go:build unix && !linux

package disk

import (
	"errors"
	"io/fs"
)

// OpenBlind is not possible: nothing makes one name durable in a directory that
// the caller can't read.
func OpenBlind(path string) (Dir, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: errors.ErrUnsupported}
}

func (d *osDir) remember(int) error { return errors.ErrUnsupported }

func (d *osDir) syncBlind() error { return errors.ErrUnsupported }
