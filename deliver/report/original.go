package report

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"postoffice/internal/message"
	"postoffice/internal/smtp"
)

// Original is what goes back of the message.
type Original struct {
	Header   []byte
	Message  io.Reader // all of it, to be read once; nil: the header alone goes back
	EightBit bool      // what goes back has octets beyond ASCII
}

// ReadWhole is ReadOriginal of a message that goes back whole; open reads it from
// its start, each time.
func ReadWhole(open func() io.Reader) Original {
	o := ReadOriginal(open())
	o.Message = open()
	for in, block := open(), make([]byte, 32<<10); !o.EightBit; {
		n, err := in.Read(block)
		o.EightBit = bytes.ContainsFunc(block[:n], func(c rune) bool { return c > 0x7e })
		if err != nil {
			break // whatever reads the message next meets the same
		}
	}
	return o
}

// ReadOriginal reads a message's header, cut at the end of a line.
func ReadOriginal(src io.Reader) Original {
	var o Original
	for f, err := range message.Fields(bufio.NewReader(src), maxReturned) {
		if err != nil {
			break // whatever reads the message next meets the same
		}
		room := maxReturned - len(o.Header)
		cut := f.Cut || len(f.Text) > room
		text := f.Text[:min(len(f.Text), room)]
		if cut {
			text = text[:bytes.LastIndexByte(text, '\n')+1]
		}
		o.Header = append(o.Header, text...)
		if cut {
			break
		}
	}
	for _, c := range o.Header {
		o.EightBit = o.EightBit || c > 0x7e
	}
	return o
}

// messageID returns the Message-ID if it is a plain one.
func (o Original) messageID() string {
	for f := range message.Fields(bufio.NewReader(bytes.NewReader(o.Header)), 500) {
		if !f.Is("Message-ID") {
			continue
		}
		id := string(f.Value())
		if strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") && smtp.Printable(id, 500) == id && !strings.Contains(id, " ") {
			return id
		}
		return ""
	}
	return ""
}
