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

func (osFS) search(path string) (Dir, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
}

func (d *osDir) remember(int) error { return nil }

func (d *osDir) syncBlind() error { return errors.ErrUnsupported }
