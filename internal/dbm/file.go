package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"syscall"

	"postoffice/internal/disk"
)

// File is a database open for reading. Any number of goroutines may use it.
type File struct {
	path   string
	o      Options
	file   disk.File
	info   disk.Info // as it was opened
	table  tableReader
	source Source
}

var _ Reader = (*File)(nil)

// Open opens the database at path. fs.ErrNotExist: there is no file; any other
// error means that what is in it isn't known now.
func Open(path string, o Options) (*File, error) {
	if !available {
		return nil, ErrLite
	}
	t, err := openTarget(path, o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	f, err := t.dir.Open(t.name, disk.ReadOnly)
	if err != nil {
		return nil, err // it names the file
	}
	return newFile(t.path, f, o)
}

// newFile takes over f, also where it returns an error.
func newFile(path string, f disk.File, o Options) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := &File{path: path, o: o, file: f, info: info}
	if d.table, d.source, err = openTable(f, info.Size); err != nil {
		err = d.damage(err)
		f.Close()
		return nil, err
	}
	return d, nil
}

// Source returns what the database was made from.
func (d *File) Source() Source { return d.source }

// Fetch returns the value of key.
func (d *File) Fetch(key []byte) ([]byte, error) {
	value, found, err := d.table.fetch(key)
	if err != nil {
		return nil, d.damage(err)
	}
	if !found {
		return nil, ErrNotFound
	}
	return value, nil
}

// All yields every record in order.
func (d *File) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		stopped := false
		err := d.table.all(func(r Record) bool {
			stopped = !yield(r, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(Record{}, d.damage(err))
		}
	}
}

// Current reports whether the database's name still leads to what was opened,
// unchanged. After false, or after an error of another method, open it anew.
func (d *File) Current() (bool, error) {
	dir, err := d.o.disk().OpenDir(filepath.Dir(d.path))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	info, err := dir.Lstat(filepath.Base(d.path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", d.path, err)
	}
	return info.Unchanged(d.info), nil
}

// Close ends the use of the database.
func (d *File) Close() error {
	err := d.table.close()
	return errors.Join(err, d.file.Close())
}

// damage says that the file is at fault, unless the system is.
func (d *File) damage(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) || errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	e := &DamageError{File: d.path, Kind: ErrDamaged, Mend: d.o.Mend, Err: err}
	head := make([]byte, 20)
	n, _ := d.file.ReadAt(head, 0)
	if name := foreign(head[:n]); name != "" {
		e.Kind, e.Err = ErrForeign, errors.New("it is "+name)
	}
	return e
}

// foreign names the kind of another program's file that begins with head, ""
// for none that is known. The numbers are in either order of octets.
func foreign(head []byte) string {
	for _, f := range []struct {
		at    int
		magic uint32
		name  string
	}{
		{12, 0x00061561, "a Berkeley DB file, as Postfix's or sendmail's newaliases makes"},
		{12, 0x00053162, "a Berkeley DB file"},
		{0, 0x00061561, "an old Berkeley DB file"},
		{0, 0x13579ace, "a GNU dbm file"},
		{0, 0x13579acd, "a GNU dbm file"},
		{0, 0x13579acf, "a GNU dbm file"},
		{16, 0xbeefc0de, "an LMDB file"},
	} {
		if len(head) < f.at+4 {
			continue
		}
		if four := head[f.at:]; binary.LittleEndian.Uint32(four) == f.magic || binary.BigEndian.Uint32(four) == f.magic {
			return f.name
		}
	}
	return ""
}
