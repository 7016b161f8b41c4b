package wire

import (
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lingerSize = 1 << 20         // octets read and dropped when we end the session
	lingerWait = 2 * time.Second // for them
)

// drop reads what the client still sends, and drops it. It holds a buffer only while octets
// are there: a crowd that is sent away at once would have one each for all the wait.
func (w *Conn) drop() {
	w.sock.SetReadDeadline(time.Now().Add(lingerWait))
	if w.raw == nil {
		io.CopyN(io.Discard, w.sock, lingerSize)
		return
	}
	w.release()
	left := lingerSize
	w.raw.Read(func(fd uintptr) bool {
		w.borrow()
		defer w.release()
		for left > 0 {
			n, err := readNow(int(fd), w.out[:cap(w.out)])
			if err != nil {
				return err != errNothingYet
			}
			left -= n
		}
		return true
	})
}

// Hangup returns what is closed when the client has closed the connection, though
// octets of its may not have been read; never, where that can't be seen. Nothing else
// may be read until end has been called.
func (w *Conn) Hangup() (gone <-chan struct{}, end func()) {
	nothing := func() {}
	c, ok := w.sock.(syscall.Conn)
	if !ok {
		return nil, nothing
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, nothing
	}
	w.sock.SetReadDeadline(time.Time{})
	closed, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		if raw.Read(hungUp) == nil {
			close(closed)
		}
	}()
	return closed, func() {
		w.sock.SetReadDeadline(time.Unix(1, 0))
		<-over
	}
}

// hungUp says that whoever is at the other end of fd sends nothing more.
func hungUp(fd uintptr) bool {
	look := []unix.PollFd{{Fd: int32(fd), Events: hangupEvent}}
	n, err := unix.Poll(look, 0)
	return err == nil && n > 0
}
