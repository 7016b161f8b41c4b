package spool

import (
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// ID names a message on this host and is its file's name: the time of arrival
// in microseconds since 1970 as ten digits of base 36, then four random ones.
// IDs of one process sort by time, and none comes twice, whatever the clock
// does; between processes an existing name means a new ID (A30).
//
// Ten digits last until 2085; then sorting starts anew, and nothing else does.
type ID string

const (
	idDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	idTime   = 10
	idLen    = 14
	idTimes  = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 // values of the time
	idRandom = 36 * 36 * 36 * 36
)

// ParseID returns s as an ID; ok says whether it has the form of one.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != idLen {
		return "", false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return "", false
		}
	}
	return ID(s), true
}

// Time is when the ID was made: the message's arrival, but for clocks that
// jump back.
func (id ID) Time() time.Time {
	if _, ok := ParseID(string(id)); !ok {
		return time.Time{}
	}
	var us int64
	for i := range idTime {
		c := id[i]
		d := c - '0'
		if c >= 'A' {
			d = c - 'A' + 10
		}
		us = us*36 + int64(d)
	}
	return time.UnixMicro(us).UTC()
}

// idMaker makes the IDs of one process.
type idMaker struct {
	now  func() time.Time
	rand io.Reader

	mu   sync.Mutex
	last int64 // microseconds of the ID before
}

// next returns an ID later than all before. It fails only when the source of
// random octets does.
func (m *idMaker) next() (ID, error) {
	var random [4]byte
	if _, err := io.ReadFull(m.rand, random[:]); err != nil {
		return "", err
	}
	m.mu.Lock()
	us := max(m.now().UnixMicro(), m.last+1, 0)
	m.last = us
	m.mu.Unlock()

	var id [idLen]byte
	put(id[:idTime], uint64(us)%idTimes)
	put(id[idTime:], uint64(binary.LittleEndian.Uint32(random[:]))%idRandom)
	return ID(id[:]), nil
}

// put writes v in base 36, with zeros in front.
func put(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = idDigits[v%36]
		v /= 36
	}
}
