package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"sync"
)

const (
	outBlock  = 8 << 10  // written to the queue at a time
	maxName   = 128      // octets of a field's name; RFC 5322 allows 997
	maxField  = 64 << 10 // of an address field that is rewritten; a longer one passes as it is
	keepField = 4 << 10  // of the room for such a field between two messages
	maxMsgID  = 256      // of what the log shows
)

// errLoop is a message that has passed too many hosts.
var errLoop = errors.New("too many Received fields")

// action is what happens to a header field.
type action uint8

const (
	pass    action = iota
	drop           // left out
	hop            // pass, and count
	note           // pass, and keep for the log
	address        // hold, and complete its addresses if it is from this machine
)

// sight is a set of fields that a message has.
type sight uint8

const (
	sawFrom sight = 1 << iota
	sawDate
	sawID
)

// fields are the header fields that are not just passed on. A received
// Return-Path is ours to write (RFC 5321 section 4.4).
var fields = []struct {
	name string
	do   action
	saw  sight
}{
	{"Received", hop, 0},
	{"Return-Path", drop, 0},
	{"Message-ID", note, sawID},
	{"Date", pass, sawDate},
	{"From", address, sawFrom},
	{"Sender", address, 0},
	{"Reply-To", address, 0},
	{"To", address, 0},
	{"Cc", address, 0},
	{"Resent-From", address, 0},
	{"Resent-Sender", address, 0},
	{"Resent-Reply-To", address, 0},
	{"Resent-To", address, 0},
	{"Resent-Cc", address, 0},
}

// header is the writer between a message's source and the queue: it puts our
// trace field in front, works on the header field by field, and passes the
// body on. It holds one field at most.
type header struct {
	s       *session
	out     *bufio.Writer // to sink
	written int64         // octets that the queue got
	err     error         // the first; nothing is written from then on

	body  bool   // the header is over
	any   bool   // a field was seen
	mid   bool   // within a line whose action is known
	do    action // of the field that is open
	start []byte // of a line that isn't known yet
	field []byte // of the field that is held
	saw   sight
	hops  int
	msgid []byte // value of the Message-ID field, as far as the log shows it
}

var headerPool = sync.Pool{New: func() any {
	h := &header{start: make([]byte, 0, maxName)}
	h.out = bufio.NewWriterSize((*sink)(h), outBlock)
	return h
}}

// newHeader returns the writer for the session's message, which is open.
func newHeader(s *session) *header {
	h := headerPool.Get().(*header)
	h.s = s
	writeTrace(h.out, &s.tx, s.incoming.ID(), s.o.Hostname)
	if c := &s.client; c.Kind == Submission && s.o.OwnSender != nil && !s.o.OwnSender(c, s.tx.ReversePath) {
		writeWarning(h.out, &s.tx, s.o.Hostname)
	}
	return h
}

// free gives h back.
func (h *header) free() {
	out, start, field, msgid := h.out, h.start[:0], h.field[:0], h.msgid[:0]
	if cap(field) > keepField {
		field = nil
	}
	*h = header{out: out, start: start, field: field, msgid: msgid}
	out.Reset((*sink)(h))
	headerPool.Put(h)
}

// sink is the far end of a header: the queue. A message that it can't take is
// removed at once, not when the client is done: its room may be needed.
type sink header

func (k *sink) Write(p []byte) (int, error) {
	n, err := k.s.incoming.Write(p)
	k.written += int64(n)
	return n, err
}

// Write takes the next piece of the message.
func (h *header) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !h.body && h.err == nil {
		if h.mid {
			p = h.restOfLine(p)
		} else {
			p = h.startOfLine(p)
		}
	}
	if len(p) > 0 {
		h.put(p)
	}
	if h.err != nil {
		h.s.drop()
		return 0, h.err
	}
	return n, nil
}

// finish takes the end of the message.
func (h *header) finish() error {
	switch {
	case h.body:
	case len(h.start) > 0:
		h.endAt(h.any)
		h.put(h.start)
	default:
		h.end()
	}
	if h.err == nil {
		h.err = h.out.Flush()
	}
	return h.err
}

func (h *header) put(p []byte) {
	if h.err == nil {
		_, h.err = h.out.Write(p)
	}
}

// lineKind is what the start of a header line says of it.
type lineKind uint8

const (
	unknown  lineKind = iota // more of it is needed
	blank                    // the header's end
	folded                   // it continues the field before
	newField                 // name, perhaps blanks, colon
	other                    // no header line
)

// classify returns the kind of the line that begins with b, not empty, and the
// name of a new field.
func classify(b []byte) (k lineKind, name []byte) {
	switch b[0] {
	case '\n':
		return blank, nil
	case ' ', '\t':
		return folded, nil
	}
	end := 0 // of the name, once a blank has come
	for i, c := range b[:min(len(b), maxName)] {
		switch {
		case c == ':' && i > 0:
			if end == 0 {
				end = i
			}
			return newField, b[:end]
		case c == ' ' || c == '\t':
			if end == 0 {
				end = i
			}
		case c <= ' ' || c > '~' || c == ':' || end > 0:
			return other, nil
		}
	}
	if len(b) >= maxName {
		return other, nil
	}
	return unknown, nil
}

// startOfLine takes from p what is needed to know the line, and returns the
// rest of p.
func (h *header) startOfLine(p []byte) []byte {
	held := len(h.start)
	b := p
	if held > 0 {
		h.start = append(h.start, p[:min(len(p), maxName-held)]...)
		b = h.start
	}
	kind, name := classify(b)
	switch kind {
	case unknown:
		if held == 0 {
			h.start = append(h.start, p...)
		}
		return nil // all of p is in start: otherwise start is full, and known
	case blank:
		h.end()
		return p
	case newField:
		h.begin(name)
	case folded:
		if !h.any {
			h.endAt(false)
			return p
		}
		h.mid = true
	case other:
		h.endAt(h.any)
		h.put(h.start[:held])
		return p
	}
	h.text(h.start[:held])
	h.start = h.start[:0]
	return p
}

// restOfLine takes the line's rest from p, and returns the rest of p.
func (h *header) restOfLine(p []byte) []byte {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		h.text(p)
		return nil
	}
	h.text(p[:i+1])
	h.mid = false
	return p[i+1:]
}

// begin opens the field name.
func (h *header) begin(name []byte) {
	h.endField()
	h.any, h.mid = true, true
	for i := range fields {
		f := &fields[i]
		if len(f.name) != len(name) || !strings.EqualFold(f.name, string(name)) {
			continue
		}
		h.do = f.do
		h.saw |= f.saw
		break
	}
	switch h.do {
	case hop:
		if h.hops++; h.hops >= h.s.o.Hops {
			h.err = errLoop
		}
	case note:
		h.msgid = h.msgid[:0]
	case address:
		if !h.s.client.Local {
			h.do = pass
		}
	}
}

// text takes a piece of the open field.
func (h *header) text(p []byte) {
	switch h.do {
	case drop:
	case address:
		if len(h.field)+len(p) <= maxField {
			h.field = append(h.field, p...)
			return
		}
		h.put(h.field)
		h.field = h.field[:0]
		h.do = pass
		h.put(p)
	case note:
		h.msgid = append(h.msgid, p[:min(len(p), maxMsgID-len(h.msgid))]...) // with the name, until endField
		h.put(p)
	default:
		h.put(p)
	}
}

// endField closes the open field.
func (h *header) endField() {
	switch {
	case h.do == address && h.err == nil:
		h.err = completeAddresses(h.out, h.field, h.s.o.Hostname)
		h.field = h.field[:0]
	case h.do == note:
		_, value, _ := bytes.Cut(h.msgid, []byte(":"))
		h.msgid = append(h.msgid[:0], bytes.TrimSpace(value)...)
	}
	h.do = pass
}

// end closes the header: what follows is an empty line, or nothing.
func (h *header) end() {
	h.endField()
	h.body = true
	if h.s.client.Local && h.err == nil {
		if id := writeMissing(h.out, h.saw, &h.s.tx, h.s.incoming.ID(), h.s.o.Hostname); id != "" {
			h.msgid = append(h.msgid[:0], id...)
		}
	}
}

// endAt closes the header in front of a line that is none of it. If that is
// the first, it must not become part of our trace field, and gets an empty
// line (A24); further down it stays as it is, but where we add fields.
func (h *header) endAt(any bool) {
	h.end()
	if !any || h.s.client.Local {
		h.put([]byte("\n"))
	}
}
