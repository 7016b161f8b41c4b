package vhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/vhost/index"
)

const (
	maxPasswd = 1 << 30   // octets of a passwd file
	maxUsers  = 4_000_000 // of one domain
	readSize  = 256 << 10 // octets of a passwd file that are looked at at a time
)

// A userIndex says where users may stand in one reading of a passwd file: a hash of the
// name in the upper 32 bits and the offset of the line in the lower ones, sorted.
// It takes eight octets a user, in memory or in a file, and never changes.
type userIndex struct {
	seen   disk.Version
	key    index.Key // keeps whoever writes the file from choosing names that hash alike
	at     *index.Table
	broken error // the first line that names nobody who can be told; nil: none
}

// hashOf is what an index has of a name in small letters.
func hashOf(key index.Key, name []byte) uint64 { return key.Sum(name) >> 32 << 32 }

// find reads the first line that is name's. ok is false where there is none. With
// an error, ok says whether it is of the line of that name.
func (x *userIndex) find(f io.ReaderAt, name string) (u User, ok bool, err error) {
	hash := hashOf(x.key, []byte(smtp.Fold(name))) // the case of ASCII letters is nothing
	for offset, err := range x.at.Find(uint32(hash >> 32)) {
		if err != nil {
			return u, false, err
		}
		at := int64(offset)
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
