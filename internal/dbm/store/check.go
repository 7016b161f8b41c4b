//go:build !lite

package store

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"postoffice/internal/disk"
)

// Check says why a store can't be opened, and changes nothing. One that isn't there can,
// and what another process has open isn't looked at.
func Check(dir string, o Options) (err error) {
	if !Is(dir) {
		return nil
	}
	s := newStore(dir, o)
	t := &tables{life: &life{dir: s.dir, options: s.options, down: make(chan struct{})}}
	if err := t.openDir(false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.letGo()) }()
	if err := t.marked(); err != nil && disk.Absent(t.at(mendedName)) {
		return t.openError(err)
	}
	switch err := s.options.As(t.takeLock); {
	case errors.Is(err, ErrLocked):
		return nil
	case err != nil:
		return err
	}
	t.files = newFiles(t.dir, s.options)
	if disk.Absent(t.at(dbName)) {
		return nil // mended, but for the last step
	}
	err = t.guarded(func() error {
		if err := t.listed(); err != nil {
			return err
		}
		options := t.options()
		options.ReadOnly = true
		db, err := pebble.Open(t.at(dbName), options)
		if err != nil {
			return err
		}
		return db.Close()
	})
	if errors.Is(err, pebble.ErrDBDoesNotExist) { // it was being made
		return nil
	}
	return t.openError(err)
}
