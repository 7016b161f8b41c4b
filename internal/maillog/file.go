package maillog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// fileMode is that of a log that has no one before it.
const fileMode = 0o640

// fileSink appends to a file and follows its name: when the file there is
// another one or none, that is opened, or made with the mode and owner of the
// one before. Until it can be, a file that was renamed takes the lines, so none
// is lost; one that was removed takes nothing.
type fileSink struct {
	path     string
	uid, gid int      // as root: whose the file becomes; 0: root's
	torn     *os.File // whose last write ended within a line; of the goroutine that writes

	mu     sync.Mutex // guards what follows
	f      *os.File   // nil: not open
	closed bool
}

func openFile(path string, uid, gid int) (*fileSink, error) {
	s := &fileSink{path: path, uid: uid, gid: gid}
	if _, err := s.current(); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return s, nil
}

func (s *fileSink) look() error {
	_, err := s.current()
	return err
}

// current is the file that the name means now. With an error it is the one
// before where that still takes lines, else nil.
func (s *fileSink) current() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	if s.f != nil {
		named, err := os.Stat(s.path)
		open, err2 := s.f.Stat()
		if err == nil && err2 == nil && os.SameFile(named, open) {
			return s.f, nil
		}
	}
	next, err := s.open()
	if err == nil || s.f != nil && links(s.f) == 0 {
		if s.f != nil {
			s.f.Close()
		}
		s.f = next
	}
	return s.f, err
}

// open opens the file, and makes it where there is none; nil with an error.
func (s *fileSink) open() (*os.File, error) {
	// O_NONBLOCK: a FIFO without a reader is an error, not a wait.
	flags := os.O_WRONLY | os.O_APPEND | syscall.O_NONBLOCK | syscall.O_NOCTTY
	if os.Geteuid() == 0 { // the log's directory may be another's, who must not choose what root writes to
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(s.path, flags, 0)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = os.OpenFile(s.path, flags|os.O_CREATE|os.O_EXCL, fileMode)
		if errors.Is(err, fs.ErrExist) { // another process was faster
			made = false
			f, err = os.OpenFile(s.path, flags, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.settle(f, made); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// settle gives a new file its mode and owner. One that others made is as they
// want it; but it must be the owner's, who writes to it too.
func (s *fileSink) settle(f *os.File, made bool) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() { // /dev/null or a FIFO is left as it is
		return err
	}
	root, owner := os.Geteuid() == 0, int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case made:
		return s.like(f, root)
	case !root || s.uid == 0 || owner == s.uid:
		return nil
	case links(f) != 1: // whose file would we give away?
		return fmt.Errorf("%s has %d links, want 1", s.path, links(f))
	}
	return f.Chown(s.uid, -1)
}

// like gives a file that we made the mode and owner of the one before it.
func (s *fileSink) like(f *os.File, root bool) error {
	mode, uid, gid := fs.FileMode(fileMode), s.uid, s.gid
	if s.f != nil {
		before, err := s.f.Stat()
		if err != nil {
			return err
		}
		st := before.Sys().(*syscall.Stat_t)
		mode, uid, gid = before.Mode().Perm(), int(st.Uid), int(st.Gid)
	}
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if root {
		return f.Chown(uid, gid)
	}
	if s.f != nil {
		_ = f.Chown(-1, gid) // it may be a group that isn't ours: then ours it is
	}
	return nil
}

// links counts the names of an open file.
func links(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return uint64(info.Sys().(*syscall.Stat_t).Nlink)
}

func (s *fileSink) write(lines [][]byte) (int, error) {
	f, err := s.current()
	if f == nil {
		return 0, err
	}
	if s.torn == f {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
	}
	s.torn = nil
	data := bytes.Join(lines, nil)
	n, err := f.Write(data)
	if n > 0 && data[n-1] != '\n' {
		s.torn = f
	}
	return bytes.Count(data[:n], []byte{'\n'}), err
}

func (s *fileSink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}
