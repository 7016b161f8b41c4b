//go:build !lite

package store

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// damageName is a file that says that something of the store could not be read while it
// was open. Until it is mended nobody opens it: the command that mends it finds it free, and
// whoever looks only whether it opens learns of it too.
const damageName = "damage"

const maxDamage = 4 << 10 // octets of that file that are read: a line

// unread is the error of what can't be read.
func (t *tables) unread(err error) error {
	if pebble.IsCorruptionError(err) {
		t.spoiled(err)
	}
	return t.life.damaged(err)
}

// opened ends the store if damage was found while it was opened: tables are merged then.
func (t *tables) opened() {
	t.noting.Lock()
	t.open = true
	found := t.pending
	t.noting.Unlock()
	if found != nil {
		t.spoiled(found)
	}
}

// spoiled ends the store because something of it can't be read, and notes that.
func (t *tables) spoiled(found error) {
	t.noting.Lock()
	defer t.noting.Unlock()
	if !t.open {
		t.pending = found
		return
	}
	err := t.life.damaged(found)
	if !t.life.end(err) {
		return
	}
	t.life.options.Log.LogAttrs(context.Background(), slog.LevelError, "store damaged", maillog.Err(err))
	if err := t.life.options.As(func() error { return t.mark(found) }); err != nil { // it will be found again
		t.life.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "damage not noted", maillog.File(t.at(damageName)), maillog.Err(err))
	}
}

func (t *tables) mark(found error) error {
	f, err := t.dir.Create(damageName, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(found.Error()))
	return errors.Join(err, f.Sync(), f.Close(), t.dir.Sync())
}

// marked is what was found before, nil where nothing was or it was mended since.
func (t *tables) marked() error {
	var text []byte
	err := t.life.options.As(func() error {
		f, err := t.dir.Open(damageName, disk.ReadOnly)
		if err != nil {
			return err
		}
		defer f.Close()
		text = make([]byte, maxDamage)
		n, err := f.ReadAt(text, 0)
		text = text[:n]
		if n > 0 {
			return nil
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case len(text) == 0:
		return errors.New("it was found damaged while it was open")
	}
	return errors.New(string(text))
}

// unmark forgets what was found, since it is mended.
func (t *tables) unmark() error {
	err := t.life.options.As(func() error { return t.dir.Unlink(damageName) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
