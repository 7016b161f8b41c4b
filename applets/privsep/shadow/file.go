package shadow

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxFile   = 64 << 20    // octets of the file that are read, as of passwd
	maxLine   = 4096        // octets of a line: one that is longer is nobody's
	againWait = time.Second // after which a file that can't be had is asked for again
)

// file is shadow(5), which somebody else opens for us.
type file struct {
	path string
	open func() (*os.File, error)

	mu     sync.Mutex // guards what follows, and is held while the file is read
	f      *os.File
	failed error // why there is none
	until  time.Time
}

// current returns the file that stands at the path now.
func (s *file) current() (*os.File, error) {
	there, err := os.Stat(s.path)
	if err != nil {
		return nil, err
	}
	if s.f != nil {
		if mine, err := s.f.Stat(); err == nil && os.SameFile(mine, there) {
			return s.f, nil
		}
		s.f.Close() // another one was put into its place
		s.f = nil
	}
	if s.failed != nil && time.Now().Before(s.until) {
		return nil, s.failed
	}
	s.f, s.failed = s.open()
	s.until = time.Now().Add(againWait)
	return s.f, s.failed
}

// find returns the fields of an account's line; none is a definite answer.
func (s *file) find(name string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.current()
	if err == nil {
		var fields []string
		if fields, err = lineOf(f, name); err == nil {
			return fields, nil
		}
	}
	return nil, fmt.Errorf("look for passwords: %s: %w", s.path, err)
}

// lineOf reads all of a file, so that where a line stands is no matter of time.
func lineOf(f io.ReaderAt, name string) (fields []string, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, maxFile+1), maxLine)
	read, long := 0, false
	for {
		line, err := r.ReadSlice('\n')
		switch read += len(line); {
		case err == bufio.ErrBufferFull:
			long = true
			continue
		case err == io.EOF && len(line) > 0, read > maxFile:
			return nil, errors.New("it breaks off, as if somebody were writing it")
		case err == io.EOF && read == 0:
			return nil, errors.New("it is empty")
		case err == io.EOF:
			return fields, nil
		case err != nil:
			return nil, err
		}
		line, was := bytes.TrimSuffix(line, []byte("\n")), long
		long = false
		if rest, ok := bytes.CutPrefix(line, []byte(name+":")); ok && !was && fields == nil {
			fields = strings.Split(string(rest), ":") // the first counts, as in the C library
		}
	}
}

// The fields of a line, behind the name.
const (
	fieldHash     = iota
	fieldChanged  // the day of the last change of the password; 0: it has to be changed
	_             // how long it may not be changed
	fieldMost     // days that it is good
	_             // days of warning
	_             // days that it may be changed after that, which nobody can do here
	fieldExpires  // the day on which the account ends
	fieldsOfShade = fieldExpires + 1
)

// closedBy says why nobody may log in to the account with these fields, nil if they may.
// It takes as an end what login(1) and pam_unix(8) take for one.
func closedBy(fields []string, today int64) error {
	if len(fields) < fieldsOfShade {
		return errors.New("its line in shadow has too few fields, see shadow(5)")
	}
	changed, err1 := day(fields[fieldChanged])
	most, err2 := day(fields[fieldMost])
	expires, err3 := day(fields[fieldExpires])
	hash := fields[fieldHash]
	switch {
	case err1 != nil || err2 != nil || err3 != nil:
		return errors.New("its line in shadow has a day that is no number, see shadow(5)")
	case hash == "" || hash[0] == '!' || hash[0] == '*':
		return errors.New("the account is locked or has no password; passwd sets one")
	case expires >= 0 && today >= expires:
		return errors.New("the account has expired; chage -E sets another day")
	case changed == 0:
		return errors.New("the password has to be changed first, with passwd")
	case changed > 0 && most >= 0 && today >= changed && today-changed >= most:
		return errors.New("the password is too old, and has to be changed with passwd")
	}
	return nil
}

// day reads a number of days; -1 where there is none, as where it is empty.
func day(s string) (int64, error) {
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return min(max(n, -1), math.MaxInt32), err
}
