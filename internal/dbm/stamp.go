//go:build !lite

package dbm

import (
	"encoding/binary"
	"errors"
	"time"
)

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
