package maillog

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// streamSink is a stream that is not ours to close.
type streamSink struct{ w io.Writer }

func (s streamSink) write(lines [][]byte) (int, error) {
	if _, err := s.w.Write(bytes.Join(lines, nil)); err != nil {
		return 0, err
	}
	return len(lines), nil
}

func (s streamSink) close() error { return nil }

// fileSink appends to a file and follows its name: when the file there is
// another one or none, it is opened again.
type fileSink struct {
	path string
	torn bool // the last write ended within a line

	mu     sync.Mutex // guards what follows
	f      *os.File   // nil: not open
	closed bool
}

func openFile(path string) (*fileSink, error) {
	s := &fileSink{path: path}
	if _, err := s.current(); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return s, nil
}

// current is the file that the name means now.
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
		s.f.Close()
		s.f, s.torn = nil, false
	}
	// O_NONBLOCK: a FIFO without a reader is an error, not a wait.
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK | syscall.O_NOCTTY
	if os.Geteuid() == 0 { // the log's directory may be another's, who must not choose what root writes to
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(s.path, flags, 0o640)
	s.f = f
	if err != nil {
		s.f = nil
	}
	return s.f, err
}

func (s *fileSink) write(lines [][]byte) (int, error) {
	f, err := s.current()
	if err != nil {
		return 0, err
	}
	if s.torn {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		s.torn = false
	}
	data := bytes.Join(lines, nil)
	n, err := f.Write(data)
	if n > 0 {
		s.torn = data[n-1] != '\n'
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

// syslogWait is how long the syslog daemon may take for one line.
const syslogWait = time.Second

// syslogSink sends each line to the socket of the syslog daemon, connecting
// again when it has gone.
type syslogSink struct {
	path string

	mu     sync.Mutex // guards what follows
	conn   net.Conn   // nil: not connected
	closed bool
}

func (s *syslogSink) write(lines [][]byte) (int, error) {
	for i, line := range lines {
		if err := s.send(line, false); err != nil {
			if err := s.send(line, true); err != nil {
				return i, err
			}
		}
	}
	return len(lines), nil
}

// send writes one line; with afresh over a new connection.
func (s *syslogSink) send(line []byte, afresh bool) error {
	conn, err := s.connected(afresh)
	if err != nil {
		return err
	}
	if conn.LocalAddr().Network() == "unixgram" {
		line = bytes.TrimSuffix(line, []byte{'\n'}) // a datagram needs no end
	}
	if err := conn.SetWriteDeadline(time.Now().Add(syslogWait)); err != nil {
		return err
	}
	_, err = conn.Write(line)
	return err
}

// connected tries a datagram socket, which nearly all have, then a stream.
func (s *syslogSink) connected(afresh bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if s.conn != nil && !afresh {
		return s.conn, nil
	}
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	dialer := net.Dialer{Timeout: syslogWait}
	conn, err := dialer.Dial("unixgram", s.path)
	if err != nil {
		conn, err = dialer.Dial("unix", s.path)
	}
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return conn, nil
}

func (s *syslogSink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
