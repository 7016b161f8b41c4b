package privsep

import (
	"encoding/binary"
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

// frame is one message between the processes: an octet for the op, then each
// field behind its length in two octets.
type frame struct {
	op     op
	fields []string
}

var errFrame = errors.New("bad frame")

// append encodes f behind b. It does not look at limits: check and decode do.
func (f frame) append(b []byte) []byte {
	b = append(b, byte(f.op))
	for _, s := range f.fields {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// decode reads one frame, all of b. What it accepts has the fields of its op,
// each within its limit, and nothing behind them.
func (s side) decode(b []byte) (frame, error) {
	if len(b) == 0 {
		return frame{}, fmt.Errorf("%w: empty", errFrame)
	}
	f := frame{op: op(b[0])}
	sh, ok := s[f.op]
	if !ok {
		return frame{}, fmt.Errorf("%w: unknown op %d", errFrame, f.op)
	}
	rest := string(b[1:]) // the fields are parts of it
	f.fields = make([]string, 0, len(sh.fields))
	for i, most := range sh.fields {
		if len(rest) < 2 {
			return frame{}, fmt.Errorf("%w: %s: field %d is missing", errFrame, sh.name, i)
		}
		n := int(rest[0])<<8 | int(rest[1])
		rest = rest[2:]
		if n > most || n > len(rest) {
			return frame{}, fmt.Errorf("%w: %s: field %d of %d octets, limit %d, %d there", errFrame, sh.name, i, n, most, len(rest))
		}
		f.fields = append(f.fields, rest[:n])
		rest = rest[n:]
	}
	if rest != "" {
		return frame{}, fmt.Errorf("%w: %s: %d octets too many", errFrame, sh.name, len(rest))
	}
	return f, nil
}

// check says why the other end, which may receive s, would not take f.
func (s side) check(f frame) error {
	sh, ok := s[f.op]
	if !ok || len(f.fields) != len(sh.fields) {
		return fmt.Errorf("%w: op %d with %d fields can't be sent", errFrame, f.op, len(f.fields))
	}
	for i, most := range sh.fields {
		if n := len(f.fields[i]); n > most {
			return fmt.Errorf("%w: %s: field %d of %d octets can't be sent, limit %d", errFrame, sh.name, i, n, most)
		}
	}
	return nil
}

// clip cuts text for people to what a frame can hold.
func clip(s string) string { return s[:min(len(s), maxWords)] }

// checkToken says why t can't name a delivery.
func checkToken(t string) error {
	if t == "" || len(t) > maxToken {
		return fmt.Errorf("token of %d octets, want 1 to %d", len(t), maxToken)
	}
	for _, c := range []byte(t) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("token with the octet %q", c)
		}
	}
	return nil
}
