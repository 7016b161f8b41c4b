package alias

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// ErrNotFound means that the file was read and has no such alias.
var ErrNotFound = errors.New("no such alias")

// maxFile bounds the text that is kept in memory, in octets.
const maxFile = 64 << 20

// Aliases looks names up in the database that newaliases made of an alias
// file, or without one in the file itself. It reads what it needs when it is
// first asked and again when that has changed. Any number of goroutines may
// use it.
type Aliases struct {
	path  string
	named bool // the file must be there
	db    *database

	mu    sync.Mutex
	table *table // nil: not read yet, or the last reading failed
}

// table is what one reading of the file gave.
type table struct {
	file   disk.Version      // of none where there was no file
	names  map[string]record // by Key
	damage error             // the first line without a readable name
}

// Open returns the aliases of the file path, or of its database path.db. They
// are read at the first lookup and need not exist.
func Open(path string) *Aliases { return &Aliases{path: path, db: newDatabase(path)} }

// OpenNamed is Open for a file that somebody has asked for by name: where neither it
// nor its database is there, nothing is known of any name.
func OpenNamed(path string) *Aliases {
	a := Open(path)
	a.named = true
	return a
}

// Missed is what is wrong with a file that isn't there, nil where that is a file without
// aliases: named says that somebody has asked for it, and a link that leads to nothing is
// there.
func Missed(path string, named bool) error {
	if !named && disk.Absent(path) {
		return nil
	}
	return fmt.Errorf("%s is not there, and was asked for (option aliases): make it, if only by touch %[1]s, mount it, or take the option away", path)
}

// Close lets go of the database. Nobody may look anything up any more.
func (a *Aliases) Close() { a.db.close() }

// Usable says why no alias can be looked up now: the database is there and
// damaged, or can't be read.
func (a *Aliases) Usable() error {
	a.db.open()
	return a.db.unusable()
}

// Problem is what a person should mend, in words, nil if nothing: a database
// that is damaged, another program's, or older than its text.
func (a *Aliases) Problem() error { return a.db.problem() }

// Lookup returns what name stands for, without regard to the case of ASCII
// letters. Where a name is defined twice the first counts. ErrNotFound means
// that there is none; any other error means that it isn't known now, and names
// the file.
func (a *Aliases) Lookup(ctx context.Context, name string) ([]Target, error) {
	e, err := a.Find(ctx, name)
	return e.Targets, err
}

// Find is Lookup, and says besides where in the text file the alias stands.
func (a *Aliases) Find(ctx context.Context, name string) (Entry, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, err
	}
	if e, ok, err := a.db.lookup(Key(name)); ok {
		return e, err
	}
	t, err := a.current()
	if err != nil {
		return Entry{}, err
	}
	rec, ok := t.names[Key(name)]
	if !ok {
		return Entry{}, ErrNotFound
	}
	e, err := rec.entry()
	if err != nil {
		return Entry{}, a.toMend(err)
	}
	return e, nil
}

// toMend says what to do about a line of the file.
func (a *Aliases) toMend(err error) error {
	return fmt.Errorf("%s: %w; mend it and run %q", a.path, err, "newaliases")
}

// Path is the text file's.
func (a *Aliases) Path() string { return a.path }

// Damage returns the first line of the file whose name can't be read, nil if
// there is none. While there is one, a name that isn't found may be the one
// that stands there.
func (a *Aliases) Damage() error {
	if a.db.open() {
		return nil // newaliases takes no such text
	}
	t, err := a.current()
	if err == nil && t.damage != nil {
		err = a.toMend(t.damage)
	}
	return err
}

// current returns the table of the file as it is now: an empty one without the
// file, and after a fault none, so that mail waits and follows no old alias.
func (a *Aliases) current() (*table, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	info, err := os.Stat(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		a.table = nil
		err := Missed(a.path, a.named)
		if err == nil {
			a.table = &table{}
		}
		return a.table, err
	}
	if err != nil {
		a.table = nil
		return nil, err
	}
	if t := a.table; t != nil && t.file.Is(disk.InfoOf(info)) {
		return t, nil
	}
	a.table = nil
	t, err := readTable(a.path)
	if err != nil {
		return nil, err
	}
	a.table = t
	return t, nil
}

// readTable reads the file whole. A file that changes meanwhile is an error:
// half of it would be "no such alias" for the rest.
func readTable(path string) (*table, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: larger than %d octets", path, maxFile)
	}
	t := &table{file: disk.VersionOf(disk.InfoOf(info)), names: map[string]record{}}
	if err := t.fill(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !disk.InfoOf(info).Unchanged(disk.InfoOf(after)) {
		return nil, fmt.Errorf("%s: changed while it was read", path)
	}
	return t, nil
}

// fill enters all records. Of a name that is defined twice the first counts.
func (t *table) fill(r io.Reader) error {
	for rec, err := range split(r) {
		var se *SyntaxError
		switch {
		case errors.As(err, &se):
			t.damage = cmp.Or(t.damage, err)
			continue
		case err != nil:
			return err
		}
		if key := Key(rec.name); t.names[key].line == 0 {
			t.names[key] = rec
		}
	}
	return nil
}

// Key is the name as it is compared: ASCII letters made small, every other
// octet as it is.
func Key(s string) string { return smtp.Fold(s) }
