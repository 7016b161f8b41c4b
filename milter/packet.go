package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"postoffice/internal/smtp"
)

// Bounds of what a filter says, checked before anything is read.
const (
	// maxPacket bounds a packet, in octets behind its length: what a filter may send
	// of a new body at once, 1 MiB less 1 with the largest data size (libmilter's
	// MILTER_MDS_1M), and the octet that says what it is.
	maxPacket = 1 << 20
	// maxText bounds the data of any other packet, which is held in memory: a header
	// field of 64 KiB with its name is more than any mail server takes.
	maxText = 64<<10 + 256
)

// errTooLong is data that would be in memory and are too long for it. They are read
// and forgotten.
var errTooLong = errors.New("too long")

// write puts a packet into the buffer: a command, and strings that each end in NUL.
// A NUL in a string becomes "?", so that nobody ends it early, and the last one is
// cut where the packet would be more than the filter takes.
func (c *Conn) write(command byte, raw []byte, parts ...string) error {
	size := 1 + len(raw)
	for i, part := range parts {
		if room := c.terms.chunk - (size - 1) - 1; i == len(parts)-1 && len(part) > room {
			parts[i] = part[:max(room, 0)]
		}
		size += len(parts[i]) + 1
	}
	if size-1 > c.terms.chunk {
		return fmt.Errorf("what the filter is to be told has %d octets, which is over %d", size-1, c.terms.chunk)
	}
	c.head(command, size)
	c.w.Write(raw)
	for _, part := range parts {
		if strings.IndexByte(part, 0) >= 0 {
			part = strings.ReplaceAll(part, "\x00", "?")
		}
		c.w.WriteString(part)
		c.w.WriteByte(0)
	}
	return c.written()
}

// head begins a packet of so many octets, the command's included.
func (c *Conn) head(command byte, size int) {
	var head [5]byte
	binary.BigEndian.PutUint32(head[:], uint32(size))
	head[4] = command
	c.w.Write(head[:])
}

// written is what has become of what was written so far, without sending it.
func (c *Conn) written() error {
	_, err := c.w.Write(nil)
	return err
}

// A packet is one of the filter's, whose data are still to be read.
type packet struct {
	code byte
	size int // octets of data
}

// next reads the head of the filter's next packet.
func (c *Conn) next() (packet, error) {
	var head [5]byte
	if _, err := io.ReadFull(c.r, head[:4]); err != nil {
		return packet{}, unexpected(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	switch {
	case size == 0:
		return packet{}, errors.New("the filter sent a packet of no octets")
	case size > maxPacket && smtp.Printable(string(head[:4]), 4) == string(head[:4]):
		return packet{}, fmt.Errorf("what begins with %q is no packet: is it a filter that listens there?", head[:4])
	case size > maxPacket:
		return packet{}, fmt.Errorf("the filter sent a packet of %d octets, which is over %d", size, maxPacket)
	}
	code, err := c.r.ReadByte()
	if err != nil {
		return packet{}, unexpected(err)
	}
	return packet{code, int(size) - 1}, nil
}

// text reads the data of a packet. They are the caller's until the next call. With
// errTooLong they are passed over.
func (c *Conn) text(p packet) ([]byte, error) {
	if p.size > maxText {
		if _, err := c.r.Discard(p.size); err != nil {
			return nil, unexpected(err)
		}
		return nil, errTooLong
	}
	// Memory is taken as the octets come.
	c.data.Reset()
	if _, err := io.CopyN(&c.data, c.r, int64(p.size)); err != nil {
		return nil, unexpected(err)
	}
	return c.data.Bytes(), nil
}

// empty is an error where a packet has data that should have none.
func (p packet) empty() error {
	if p.size > 0 {
		return fmt.Errorf("the filter sent %s with %d octets behind it, where none belong", p, p.size)
	}
	return nil
}

// String names a packet in messages.
func (p packet) String() string {
	code := []byte{p.code}
	if name := packetName(p.code); name != "" {
		return fmt.Sprintf("%q (%s)", code, name)
	}
	return fmt.Sprintf("%q", code)
}

// packetName is what a code of the filter's means; "" is unknown.
func packetName(code byte) string {
	for _, r := range replies {
		if r.code == code {
			return r.name
		}
	}
	return ""
}

// replies are what a filter may say.
var replies = [...]struct {
	code   byte
	name   string
	action Action // of those that are verdicts
}{
	{'c', "continue", Continue},
	{'a', "accept", Accept},
	{'r', "reject", Reject},
	{'t', "tempfail", Tempfail},
	{'y', "reply code", ReplyCode},
	{'d', "discard", Discard},
	{'s', "skip", Skip},
	{'4', "shutdown", Shutdown},
	{'f', "connection failure", ConnFail},
	{'p', "progress", 0},
	{'h', "add a header field", 0},
	{'i', "insert a header field", 0},
	{'m', "change a header field", 0},
	{'+', "add a recipient", 0},
	{'2', "add a recipient with parameters", 0},
	{'-', "delete a recipient", 0},
	{'e', "change the sender", 0},
	{'b', "replace the body", 0},
	{'q', "quarantine", 0},
	{'l', "macro list", 0},
	{'O', "negotiation", 0},
}

// verdict is the action of a code that is one.
func verdict(code byte) Action {
	for _, r := range replies {
		if r.code == code {
			return r.action
		}
	}
	return Continue
}

// parts are the strings of a packet's data, each ended by NUL. The last one's may be
// missing.
func parts(data []byte) []string {
	data, _ = bytes.CutSuffix(data, []byte{0})
	return strings.Split(string(data), "\x00")
}

// unexpected is the end of the stream, which is always in the middle of something.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
