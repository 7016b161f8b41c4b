package privsep

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/service"
)

// sendWait is how long the other end may leave its link unread.
const sendWait = 30 * time.Second

// conn is one end of a link: a SOCK_SEQPACKET socket, a frame a packet.
type conn struct {
	c       *net.UnixConn
	receive side
	sends   side // what the other end may receive

	buf []byte // of recv
	oob []byte

	mu  sync.Mutex // guards sending
	out []byte
}

func newConn(c *net.UnixConn, receive, sends side) *conn {
	return &conn{c: c, receive: receive, sends: sends, buf: make([]byte, maxFrame+1), oob: make([]byte, unix.CmsgSpace(4*maxFiles))}
}

// maxFiles is the most descriptors of one packet that are looked at; a packet
// with more is refused.
const maxFiles = 4

// send sends a frame and descriptors, which stay the caller's. A frame that the
// other end would not take is an error here, not our end there.
func (c *conn) send(f frame, files ...*os.File) error {
	if err := c.sends.check(f); err != nil {
		return err
	}
	return service.WithDescriptors(files, nil, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.out = f.append(c.out[:0])
		if err := c.c.SetWriteDeadline(time.Now().Add(sendWait)); err != nil {
			return err
		}
		_, _, err := c.c.WriteMsgUnix(c.out, rights, nil)
		return err
	})
}

// errDescriptors says that we have no descriptor free for one that came.
var errDescriptors = errors.New("this process may open no more files: raise its limit (ulimit -n)")

// recv reads the next frame and the descriptors with it, which are close-on-
// exec and the caller's. io.EOF: the other end is closed. An error that wraps
// errFrame: the other end sent what it must not. With errDescriptors the frame
// is there, and what came with it is lost: that is not the other end's fault.
func (c *conn) recv() (frame, []*os.File, error) {
	n, oobn, flags, _, err := c.c.ReadMsgUnix(c.buf, c.oob)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			err = io.EOF
		}
		return frame{}, nil, err
	}
	files, err := receivedFiles(c.oob[:oobn])
	few := flags&unix.MSG_CTRUNC != 0 && len(files) < maxFiles // there was room for more
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 && (!few || flags&unix.MSG_TRUNC != 0) {
		err = fmt.Errorf("%w: larger than %d octets or more than %d descriptors", errFrame, maxFrame, maxFiles)
	}
	var f frame
	if err == nil {
		f, err = c.receive.decode(c.buf[:n])
	}
	if err == nil && few && c.receive[f.op].files > 0 {
		closeAll(files)
		return f, nil, errDescriptors
	}
	if sh := c.receive[f.op]; err == nil && (few || len(files) != sh.files) {
		err = fmt.Errorf("%w: %s with %d descriptors, want %d", errFrame, sh.name, len(files), sh.files)
	}
	if err != nil {
		closeAll(files)
		return frame{}, nil, err
	}
	return f, files, nil
}

func receivedFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials or the like: nobody asked for them
		}
		for _, fd := range fds {
			// Pollable, so that a wait for it can be limited.
			if err := unix.SetNonblock(fd, true); err != nil {
				unix.Close(fd)
				continue
			}
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func (c *conn) close() error { return c.c.Close() }
