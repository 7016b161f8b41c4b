package index

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"postoffice/internal/disk"
)

// ErrDamaged is a file, or a page of one, that wasn't written so with this key.
var ErrDamaged = errors.New("it is damaged, or not of our making")

// ErrClosed is a Table that was closed.
var ErrClosed = errors.New("the index was closed")

// A file is pages, each sealed: the first has what Made tells and whose numbers the others
// are, which have the entries. All numbers have the low octet first.
//
//	each page    8 octets of its seal: the hash of the page with its number in their place,
//	             by the key below that of the process for the salt of the file
//	the header   16 of salt, form, number of entries, identity, 2 of a length, as many of words
//	the others   511 entries, and zeros behind the last one
const (
	form      = "POindex\x01"
	saltSize  = 16
	madeSize  = 6 * 8
	countAt   = sealSize + saltSize + len(form)
	madeAt    = countAt + 8
	wordsAt   = madeAt + madeSize + 2
	maxWords  = 1 << 10       // octets of what Made says besides
	maxCount  = 1 << 24       // entries of a file
	writeSize = pageSize * 64 // octets that are written at a time
)

// Made is what entries were made of.
type Made struct {
	Of    disk.Info // the file
	Words string    // whatever is to be known of it, of which up to maxWords octets are kept
}

// identity is what an unchanged file has in common with itself.
func identity(i disk.Info) []byte {
	b := make([]byte, 0, madeSize)
	for _, n := range []uint64{i.Dev, i.Ino, uint64(i.Size), uint64(i.Mode), uint64(i.ModTime.UnixNano()), uint64(i.ChangeTime.UnixNano())} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

// file is one that is open.
type file struct {
	f   disk.File
	key Key // of its pages

	mu      sync.Mutex // guards what follows
	readers int
	aside   bool // it is closed by the last of them
}

func (f *file) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.aside {
		return false
	}
	f.readers++
	return true
}

func (f *file) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
	f.closeIdle()
}

func (f *file) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.aside {
		f.aside = true
		f.closeIdle()
	}
}

func (f *file) closeIdle() {
	if f.aside && f.readers == 0 {
		f.f.Close() // nothing is lost with it
	}
}

// read reads a page and returns what is behind its seal.
func (f *file) read(buf *[]byte, number int) ([]byte, error) {
	if *buf == nil {
		*buf = make([]byte, pageSize)
	}
	if _, err := f.f.ReadAt(*buf, int64(number)*pageSize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if !f.key.isSealed(*buf, number) {
		return nil, ErrDamaged
	}
	return (*buf)[sealSize:], nil
}

// seal seals a page.
func (k Key) seal(page []byte, number int) {
	binary.LittleEndian.PutUint64(page, uint64(number))
	binary.LittleEndian.PutUint64(page, k.Sum(page))
}

// isSealed reports whether a page was sealed, and takes the seal away.
func (k Key) isSealed(page []byte, number int) bool {
	seal := binary.LittleEndian.Uint64(page)
	binary.LittleEndian.PutUint64(page, uint64(number))
	return k.Sum(page) == seal
}

// open reads the header of a file, and takes the file over where that is good. ok is false
// where it was made of something else.
func open(f disk.File, size int64, of disk.Info, key Key) (t *Table, words string, ok bool, err error) {
	header := make([]byte, pageSize)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, "", false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	key = key.below(header[sealSize : sealSize+saltSize])
	if !key.isSealed(header, 0) || string(header[sealSize+saltSize:countAt]) != form {
		return nil, "", false, ErrDamaged
	}
	if !bytes.Equal(header[madeAt:madeAt+madeSize], identity(of)) {
		return nil, "", false, nil
	}
	n := binary.LittleEndian.Uint64(header[countAt:])
	long := int(binary.LittleEndian.Uint16(header[wordsAt-2:]))
	if n > maxCount || long > maxWords || size != sizeOf(int(n)) {
		return nil, "", false, ErrDamaged
	}
	return &Table{n: int(n), file: &file{f: f, key: key}}, string(header[wordsAt : wordsAt+long]), true, nil
}

// sizeOf is how large a file of n entries is.
func sizeOf(n int) int64 { return int64(1+(n+perPage-1)/perPage) * pageSize }

// write fills an empty file, and takes it over.
func write(f disk.File, made Made, entries []byte, key Key) (*Table, error) {
	n := len(entries) / entrySize
	if n > maxCount {
		return nil, fmt.Errorf("%d entries, at most %d are kept in a file", n, maxCount)
	}
	header := make([]byte, pageSize, writeSize)
	salt := header[sealSize : sealSize+saltSize]
	rand.Read(salt) // never fails
	key = key.below(salt)
	copy(header[sealSize+saltSize:], form)
	binary.LittleEndian.PutUint64(header[countAt:], uint64(n))
	copy(header[madeAt:], identity(made.Of))
	words := made.Words[:min(len(made.Words), maxWords)]
	binary.LittleEndian.PutUint16(header[wordsAt-2:], uint16(len(words)))
	copy(header[wordsAt:], words)
	key.seal(header, 0)
	buf := header
	for number := 1; len(entries) > 0; number++ {
		if len(buf) == writeSize {
			if _, err := f.Write(buf); err != nil {
				return nil, err
			}
			buf = buf[:0]
		}
		buf = buf[:len(buf)+pageSize]
		p := buf[len(buf)-pageSize:]
		k := copy(p[sealSize:], entries)
		clear(p[sealSize+k:])
		key.seal(p, number)
		entries = entries[k:]
	}
	if _, err := f.Write(buf); err != nil {
		return nil, err
	}
	return &Table{n: n, file: &file{f: f, key: key}}, nil
}
