package dbm

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"postoffice/internal/disk"
)

// Reader is a database that is open for reading.
type Reader interface {
	// Fetch returns the value of key, which is the caller's to keep.
	// ErrNotFound: the database was read and has no such key.
	Fetch(key []byte) ([]byte, error)
	// All yields every record in the order of the keys' octets. A record is
	// valid until the next one. After an error it ends.
	All() iter.Seq2[Record, error]
	Close() error
}

// DB is a database that is open for reading and writing.
type DB interface {
	Reader
	// Store enters a record. ErrExists: how is Insert, and the key is there.
	Store(key, value []byte, how How) error
	// Delete takes a record out. ErrNotFound: there is none.
	Delete(key []byte) error
}

// Record is a key and its value.
type Record struct{ Key, Value []byte }

// How says what Store does with a key that is there.
type How int

const (
	Insert  How = iota // refuse
	Replace            // put the new value in the old one's place
)

// Limits of a record, in octets.
const (
	MaxKey   = 64 << 10 // of the key
	MaxValue = 64 << 20 // of the value
)

// Errors of the verbs.
var (
	ErrNotFound = errors.New("no such key")
	ErrExists   = errors.New("the key exists already")
	ErrTooLong  = errors.New("a key or a value is too long")
	ErrBusy     = errors.New("another program is changing the database")
	ErrLite     = errors.New("this build of postoffice has no databases")
)

// Kinds of a DamageError, for errors.Is.
var (
	ErrDamaged = errors.New("damaged")
	ErrForeign = errors.New("not a database of postoffice's")
)

// DamageError is a file that is no database, or no longer.
type DamageError struct {
	File string
	Kind error  // ErrDamaged or ErrForeign
	Mend string // the command that makes the file anew; "" if there is none
	Err  error  // what was found
}

// Error names the file and what to do. What a library found in a damaged file
// is for errors.Is and tests: nobody can do anything with it.
func (e *DamageError) Error() string {
	text := fmt.Sprintf("%s: %v", e.File, e.Kind)
	if e.Kind == ErrForeign {
		text += ": " + e.Err.Error()
	}
	if e.Mend != "" {
		text += fmt.Sprintf("; run %q", e.Mend)
	}
	return text
}

func (e *DamageError) Unwrap() []error { return []error{e.Kind, e.Err} }

// Options are what the caller of Open, Create and Change may choose. The zero
// value is good.
type Options struct {
	FS   disk.FS // nil: the machine's
	Mend string  // the command that makes a damaged file anew, for errors

	// The rest is for writing.

	Mode   fs.FileMode // of a new file; 0: 0644
	Group  *int        // that Mode's bits for the group are for; nil: whatever group the file gets
	New    bool        // refuse with fs.ErrExist to replace a file
	Keep   bool        // give the new file mode and owner of the one it replaces
	Source Source      // what the database is made from; zero: of nothing
	Memory int         // octets of records that are held before they go to a file; 0: 16 MiB
	// KeepLast makes the last record with a key count, else the first does.
	KeepLast bool
	// Duplicate, if not nil, hears of each record that doesn't count. Both
	// are valid until it returns.
	Duplicate func(kept, dropped Record)
}

func (o Options) disk() disk.FS {
	if o.FS == nil {
		return disk.OS()
	}
	return o.FS
}

func (o Options) mode() fs.FileMode {
	if o.Mode == 0 {
		return 0o644
	}
	return o.Mode
}

// checkRecord refuses what is too long to be read again.
func checkRecord(key, value []byte) error {
	if len(key) > MaxKey || len(value) > MaxValue {
		return fmt.Errorf("%w: %d and %d octets, want at most %d and %d", ErrTooLong, len(key), len(value), MaxKey, MaxValue)
	}
	return nil
}
