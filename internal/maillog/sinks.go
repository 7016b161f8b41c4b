package maillog

import (
	"bytes"
	"io"
	"net"
	"sync"
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

func (s streamSink) look() error { return nil }

func (s streamSink) close() error { return nil }

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

// look does nothing: whether the daemon is still there only a line tells.
func (s *syslogSink) look() error { return nil }

func (s *syslogSink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
