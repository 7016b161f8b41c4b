package alias

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"postoffice/internal/dbm"
)

// database is what newaliases makes of the text: while it is there it is what
// counts, so that nobody sees a text that is being edited. One that is damaged or
// can't be read is an error of every lookup, never "not there" (A36). Another
// program's, left by the mail server that was here before, is told, and the text
// read instead.
type database struct {
	text string // the alias file
	path string

	mu   sync.RWMutex // guards what follows; Fetch holds it for reading
	file *dbm.File    // nil: there is none that can be used
	bad  error        // why the one that is there can't
	mark dbm.Source   // the bad one, so that it is looked at again when it changes
}

func newDatabase(text string) *database { return &database{text: text, path: text + ".db"} }

// lookup returns what key stands for. ok is false where the text decides.
func (d *database) lookup(key string) (e Entry, ok bool, err error) {
	if key == cookie {
		return e, false, nil
	}
	if !d.open() {
		err := d.unusable()
		return e, err != nil, err
	}
	value, err := d.fetch(key)
	switch {
	case errors.Is(err, dbm.ErrNotFound):
		return e, true, ErrNotFound
	case errors.Is(err, fs.ErrClosed):
		return e, false, nil
	case err != nil:
		d.spoilt(err)
		return e, true, err
	}
	text, line, _ := strings.Cut(string(value), "\x00")
	targets, err := ParseValue(text)
	if err != nil {
		return e, true, fmt.Errorf("%s: line %s of %s: %w; mend it and run %q", d.path, line, d.text, err, "newaliases")
	}
	n, _ := strconv.Atoi(line) // 0 where a database doesn't say
	return Entry{Name: key, Line: n, Targets: targets}, true, nil
}

// cookie is the key of the record that every alias database has.
const cookie = "@"

func (d *database) fetch(key string) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.file == nil {
		return nil, fs.ErrClosed // another goroutine found it gone
	}
	return d.file.Fetch([]byte(key))
}

// spoilt gives the file up if err is damage.
func (d *database) spoilt(err error) {
	if !errors.As(err, new(*dbm.DamageError)) {
		return
	}
	mark, _ := dbm.SourceOf(d.path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		d.file.Close()
	}
	d.file, d.bad, d.mark = nil, err, mark
}

// unusable says why the database that is there can't be used; nil if it isn't
// there, or another program's.
func (d *database) unusable() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if errors.Is(d.bad, dbm.ErrForeign) {
		return nil
	}
	return d.bad
}

// open sees to it that file is the database that the name leads to now.
func (d *database) open() bool {
	d.mu.RLock()
	file, bad := d.file, d.bad
	current := false
	if file != nil {
		current, _ = file.Current()
	}
	d.mu.RUnlock()
	if current {
		return true
	}
	mark, err := dbm.SourceOf(d.path)
	if err == nil && mark.Size < 0 && file == nil && bad == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil && d.file == file {
		d.file.Close()
		d.file = nil
	}
	if errors.As(d.bad, new(*dbm.DamageError)) && err == nil && d.mark.Equal(mark) {
		return false
	}
	d.file, d.bad, d.mark = nil, nil, mark
	f, err := dbm.Open(d.path, dbm.Options{Mend: "newaliases"})
	switch {
	case err == nil:
		d.file = f
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, dbm.ErrLite):
	default:
		d.bad = err
	}
	return d.file != nil
}

// problem is what a person should mend, nil if nothing: a database that can't
// be used, or one that is older than its text.
func (d *database) problem() error {
	d.open()
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case errors.Is(d.bad, dbm.ErrForeign):
		return fmt.Errorf("%w; until then %s is read itself", d.bad, d.text)
	case d.bad != nil:
		return fmt.Errorf("%w; until then mail for names of this machine waits", d.bad)
	}
	if d.file == nil || d.file.Source().IsZero() {
		return nil
	}
	if now, err := dbm.SourceOf(d.text); err == nil && !now.Equal(d.file.Source()) {
		return fmt.Errorf("%s is not made from %s as it is now, and counts; run %q", d.path, d.text, "newaliases")
	}
	return nil
}

// close lets go of the file.
func (d *database) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		d.file.Close() // it was only read
	}
	d.file = nil
}
