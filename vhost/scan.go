package vhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/vhost/index"
)

const (
	maxParts = 4       // of a passwd file that are read beside each other
	partSize = 8 << 20 // octets of each, at least
)

// newIndex reads a passwd file, in parts where it is large. What can't be known of a
// user who isn't found is broken.
func newIndex(f io.ReaderAt, seen disk.Version, size int64, key index.Key) (*userIndex, error) {
	switch {
	case size > maxPasswd:
		return nil, fmt.Errorf("it has %d octets, at most %d are read", size, maxPasswd)
	case size == 0:
		return nil, errors.New("it is empty: put a comment into it if the domain has no users")
	}
	x := &userIndex{seen: seen, key: key}
	parts := cut(f, size, int(min(int64(runtime.GOMAXPROCS(0)), maxParts, size/partSize)))
	var work sync.WaitGroup
	for _, p := range parts {
		work.Go(func() { p.read(f, key) })
	}
	work.Wait()
	lines, users := 0, 0
	for _, p := range parts {
		if users += len(p.at); users > maxUsers {
			return nil, fmt.Errorf("it has more than %d users", maxUsers)
		}
		if p.stopped != nil {
			return nil, p.stopped.behind(lines)
		}
		if p.broken != nil && x.broken == nil {
			x.broken = p.broken.behind(lines)
		}
		lines += p.lines
	}
	if parts[len(parts)-1].cut && x.broken == nil {
		x.broken = fmt.Errorf("line %d has no end: end it with a line feed", lines)
	}
	x.at = index.New(merge(parts, users))
	return x, nil
}

// part is a piece of a passwd file, of whole lines.
type part struct {
	from, to int64 // its octets
	at       []uint64
	lines    int
	cut      bool   // the last line has no end
	broken   *fault // the first line that names nobody who can be told
	stopped  *fault // what was not read to its end, and why
}

// fault is what is wrong with a line of a part; 0 is none of them.
type fault struct {
	line int
	err  error
}

// behind is the fault with the line's number in a file with so many lines before the part.
func (f *fault) behind(lines int) error {
	if f.line == 0 {
		return f.err
	}
	return fmt.Errorf("line %d: %w", lines+f.line, f.err)
}

// cut parts a file into n pieces of about one size, fewer where lines are too long.
func cut(f io.ReaderAt, size int64, n int) []*part {
	parts := []*part{{to: size}}
	for i := 1; i < n; i++ {
		buf := make([]byte, readSize)
		from := size*int64(i)/int64(n) - 1 // may be the line end before the piece
		k, _ := f.ReadAt(buf, from)        // what is not read here is so by the part, which tells
		if j := bytes.IndexByte(buf[:k], '\n'); j >= 0 {
			at := from + int64(j) + 1
			parts[len(parts)-1].to = at
			parts = append(parts, &part{from: at, to: size})
		}
	}
	return parts
}

// read finds the lines of a part.
func (p *part) read(f io.ReaderAt, key index.Key) {
	size := p.to - p.from
	p.at = make([]uint64, 0, min(size/128+16, maxUsers)) // a guess
	lines := lineReader{r: io.NewSectionReader(f, p.from, size), whole: p.from == 0, buf: make([]byte, min(size+1, readSize))}
	for {
		line, at, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, errLong) {
			p.stopped = &fault{err: err}
			return
		}
		var hash uint64
		var named bool
		if err == nil {
			hash, named, err = hashLine(key, line)
		}
		switch {
		case err != nil && p.broken == nil:
			p.broken = &fault{lines.n, err}
		case named && len(p.at) == maxUsers:
			p.stopped = &fault{err: fmt.Errorf("it has more than %d users", maxUsers)}
			return
		case named:
			p.at = append(p.at, hash|uint64(p.from+at))
		}
	}
	p.lines, p.cut = lines.n, lines.cut
	sortHashes(p.at)
}

// hashLine returns the hash of a line's name. The error says why it isn't named well.
func hashLine(key index.Key, line []byte) (hash uint64, named bool, err error) {
	name, _, _ := bytes.Cut(line, []byte(":"))
	if isPlain(name) {
		return hashOf(key, name), true, nil
	}
	if isComment(string(line[:min(len(line), 64)])) {
		return 0, false, nil
	}
	if err := CheckName(string(name)); err != nil {
		return 0, false, err
	}
	return hashOf(key, []byte(smtp.Fold(string(name)))), true, nil
}

// isPlain reports whether a name is good, and in small letters, as nearly all are.
func isPlain(name []byte) bool {
	if len(name) == 0 || len(name) > account.MaxName || name[0] == '.' || name[0] == '-' {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return !bytes.HasSuffix(name, []byte(account.LockSuffix))
}

// sortHashes sorts what is in the order of the lower halves by the upper ones: by their
// octets, the last one first.
func sortHashes(at []uint64) {
	if len(at) < 1<<10 {
		slices.Sort(at)
		return
	}
	to := make([]uint64, len(at))
	for shift := 32; shift < 64; shift += 8 { // four times, so that the last one ends in at
		var begin [256]int
		for _, v := range at {
			begin[byte(v>>shift)]++
		}
		sum := 0
		for i, n := range begin {
			begin[i], sum = sum, sum+n
		}
		for _, v := range at {
			i := byte(v >> shift)
			to[begin[i]] = v
			begin[i]++
		}
		at, to = to, at
	}
}

// merge makes one sorted list of those of the parts, of exactly its length, as
// index.New has it.
func merge(parts []*part, users int) []byte {
	all := make([]byte, 0, 8*users)
	for len(all) < cap(all) {
		var least *part
		for _, p := range parts {
			if len(p.at) > 0 && (least == nil || p.at[0] < least.at[0]) {
				least = p
			}
		}
		all = index.Append(all, least.at[0])
		least.at = least.at[1:]
	}
	return all
}
