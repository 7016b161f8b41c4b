package vhost

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"postoffice/internal/disk"
)

// lockWait is how long whoever changes a file waits for another who does.
const lockWait = 10 * time.Second

// Edit puts what change makes of a file's text in its place, as a whole, with its mode,
// owner and group, and without a byte order mark; whoever looks meanwhile sees the one or
// the other. Nobody else edits it then. A nil text, without an error, changes nothing.
func Edit(path string, most int64, change func(text []byte) ([]byte, error)) error {
	dir, err := disk.OS().OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() // what is written is synced
	name := filepath.Base(path)
	f, info, err := locked(dir, name)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close() // it was only read
	text, err := contents(f, info, most)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	after, err := change(text)
	if err != nil || after == nil {
		return err
	}
	if err := replace(dir, path, info, after); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// locked opens a file and locks it, as long as it has the name.
func locked(dir disk.Dir, name string) (disk.File, disk.Info, error) {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		f, err := dir.Open(name, disk.ReadOnly)
		if err != nil {
			return nil, disk.Info{}, err
		}
		mine, err := f.TryLock()
		if mine && err == nil {
			mine, err = disk.Named(dir, name, f)
		}
		var info disk.Info
		if mine && err == nil {
			info, err = f.Stat()
		}
		switch {
		case err == nil && mine:
			return f, info, nil
		case err == nil && time.Since(begun) > lockWait:
			err = errors.New("somebody else is changing it: try again")
		}
		f.Close() // it was only read
		if err != nil {
			return nil, disk.Info{}, err
		}
	}
}

// contents reads a file whole.
func contents(f disk.File, info disk.Info, most int64) ([]byte, error) {
	if info.Size > most {
		return nil, fmt.Errorf("it has %d octets, at most %d are read", info.Size, most)
	}
	text := make([]byte, info.Size)
	if n, err := f.ReadAt(text, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(text)) {
		return nil, err
	}
	return bytes.TrimPrefix(text, mark), nil
}

// replace puts a text in the place of a file's.
func replace(dir disk.Dir, path string, as disk.Info, text []byte) error {
	name := filepath.Base(path)
	draft := "." + name + "." + rand.Text()
	f, err := dir.Create(draft, 0o600)
	if err != nil {
		return err
	}
	err = fill(f, as, text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = setLater(filepath.Join(filepath.Dir(path), draft), as.ModTime)
	}
	if err == nil {
		err = dir.Rename(draft, dir, name)
	}
	if err != nil {
		return errors.Join(err, dir.Unlink(draft))
	}
	return dir.Sync()
}

// setLater gives a new file a time that is later in seconds than that of the old one, if
// it has none: Dovecot reads a passwd file again when those have changed, and would let
// somebody in whose account was closed in the second of another change.
func setLater(path string, old time.Time) error {
	if time.Now().Unix() > old.Unix() {
		return nil
	}
	later := old.Add(time.Second)
	return os.Chtimes(path, later, later)
}

// fill writes a new file, which is to be like the old one.
func fill(f disk.File, as disk.Info, text []byte) error {
	info, err := f.Stat()
	if err == nil && (info.UID != as.UID || info.GID != as.GID) {
		if err = f.Chown(as.UID, as.GID); errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("its owner and group can't be kept: chmod g+s the directory, or do this as root: %w", err)
		}
	}
	if err == nil {
		err = f.Chmod(as.Mode.Perm())
	}
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}
