package dbm

import (
	"encoding/binary"
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

// stampVersion is the first octet of a stamp.
const stampVersion = 1

// stamp is what marks a table as a database of this package: a version, and
// size and time of the source in nanoseconds.
func (s Source) stamp() []byte {
	b := []byte{stampVersion}
	if s.IsZero() {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(s.Size))
	return binary.BigEndian.AppendUint64(b, uint64(s.ModTime.UnixNano()))
}

// parseStamp reads a stamp back.
func parseStamp(b string) (Source, error) {
	switch {
	case b == "":
		return Source{}, errors.New("a table without a stamp")
	case b[0] != stampVersion:
		return Source{}, errors.New("made by a newer postoffice")
	case len(b) == 1:
		return Source{}, nil
	case len(b) != 17:
		return Source{}, errors.New("a stamp of the wrong length")
	}
	size := binary.BigEndian.Uint64([]byte(b[1:9]))
	at := binary.BigEndian.Uint64([]byte(b[9:17]))
	return Source{Size: int64(size), ModTime: time.Unix(0, int64(at))}, nil
}
