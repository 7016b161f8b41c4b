package vhost

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

const (
	maxPasswd = 1 << 30   // octets of a passwd file
	maxUsers  = 4_000_000 // of one domain
	readSize  = 256 << 10 // octets of a passwd file that are looked at at a time
)

// An index says where users may stand in one reading of a passwd file: a hash of the
// name in the upper 32 bits and the offset of the line in the lower ones, sorted.
// It takes eight octets a user, and never changes.
type index struct {
	seen   disk.Version
	seed   maphash.Seed // keeps whoever writes the file from choosing names that hash alike
	at     []uint64
	broken error // the first line that names nobody who can be told; nil: none
}

// hash is what the index has of a name, in which the case of ASCII letters is nothing.
func (x *index) hash(name string) uint64 { return hashOf(x.seed, []byte(smtp.Fold(name))) }

// hashOf is that of a name in small letters.
func hashOf(seed maphash.Seed, name []byte) uint64 { return maphash.Bytes(seed, name) >> 32 << 32 }

// candidates are the offsets of the lines that may be name's, in their order.
func (x *index) candidates(name string) []uint64 {
	h := x.hash(name)
	i, _ := slices.BinarySearch(x.at, h)
	n := i
	for n < len(x.at) && x.at[n]>>32 == h>>32 {
		n++
	}
	return x.at[i:n]
}

// find reads the first line that is name's. ok is false where there is none. With
// an error, ok says whether it is of the line of that name.
func (x *index) find(f io.ReaderAt, name string) (u User, ok bool, err error) {
	for _, c := range x.candidates(name) {
		at := int64(c & (1<<32 - 1))
		line, err := lineAt(f, at)
		if err != nil {
			return u, false, err
		}
		u, err := parseUser(line)
		if !smtp.EqualFold(u.Name, name) {
			continue
		}
		if err != nil {
			n, _ := numberOf(f, at)
			return u, true, fmt.Errorf("line %d: %w", n, err)
		}
		return u, true, nil
	}
	return u, false, nil
}

// lineAt returns the line that begins at an offset, cut behind maxLine octets.
func lineAt(f io.ReaderAt, at int64) (string, error) {
	buf := make([]byte, maxLine+2)
	n, err := f.ReadAt(buf, at)
	if err != nil && err != io.EOF {
		return "", err
	}
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// numberOf counts the line that begins at an offset.
func numberOf(f io.ReaderAt, at int64) (int, error) {
	n, buf := 1, make([]byte, readSize)
	for from := int64(0); from < at; {
		k, err := f.ReadAt(buf[:min(int64(len(buf)), at-from)], from)
		if k == 0 {
			return n, err
		}
		n += bytes.Count(buf[:k], []byte("\n"))
		from += int64(k)
	}
	return n, nil
}

// errChanged is what is wrong with a file that was another one before.
var errChanged = errors.New("it changed while it was read")

// unchanged says why what was read of an open file can't be used: it was changed
// meanwhile.
func unchanged(f *os.File, before disk.Info) error {
	after, err := f.Stat()
	if err == nil && !disk.InfoOf(after).Unchanged(before) {
		err = errChanged
	}
	return err
}
