package dbm

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// Source tells which text a database was made from, so that a text that has
// changed since can be noticed.
type Source struct {
	Size    int64     // octets; -1: there was no such file
	ModTime time.Time // zero: no source
}

// SourceOf looks at the file path.
func SourceOf(path string) (Source, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Source{Size: -1, ModTime: time.Unix(0, 0)}, nil
	}
	if err != nil {
		return Source{}, err
	}
	return Source{Size: info.Size(), ModTime: info.ModTime()}, nil
}

// IsZero reports whether the database was made from no text.
func (s Source) IsZero() bool { return s.ModTime.IsZero() }

// Equal reports whether nothing shows a difference between two texts.
func (s Source) Equal(o Source) bool { return s.Size == o.Size && s.ModTime.Equal(o.ModTime) }
