package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxRequest bounds a request's line; it holds a verb, an ID and a reason. Those of root
// and the server's user, which may hold records, may be as long as other lines.
const maxRequest = 4 << 10

// maxPiece is how much of a message's octets a line holds, in base64.
const maxPiece = 32 << 10

// maxText is what a single text is cut to where its line would be too long.
const maxText = 2 << 10

// maxRoute bounds what a client collects of one route, in octets.
const maxRoute = 16 << 20

// frame is one line of an answer. Message begins a message; Recipients and
// History go on with the one begun last, Data with a message's octets, Watched
// with what a watcher sees, Steps with a route, Sessions with sessions, Limits with limits, Filters with filters, Records with records; Done or Error is the last line.
type frame struct {
	Message    *Message    `json:"message,omitempty"`
	Recipients []Recipient `json:"recipients,omitempty"`
	History    []Note      `json:"history,omitempty"`
	Data       []byte      `json:"data,omitempty"`
	Watched    []Event     `json:"watched,omitzero"` // an empty one begins the watch
	Steps      []Step      `json:"steps,omitempty"`
	Sessions   []Session   `json:"sessions,omitempty"`
	Limits     []Limit     `json:"limits,omitempty"`
	Filters    []Filter    `json:"filters,omitempty"`
	Records    []Record    `json:"records,omitempty"`
	Done       *done       `json:"done,omitempty"`
	Error      *Error      `json:"error,omitempty"`
}

// done ends an answer.
type done struct {
	Text string `json:"text,omitempty"`
}

// decodeRequest reads a request's line. A field that we don't know is an
// error: a request must not do more than it says because half of it was not
// understood.
func decodeRequest(line []byte) (Request, error) {
	var r Request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Request{}, errors.New("more than one request on a line")
	}
	if len(r.Only) == 0 {
		r.Only = nil
	}
	if len(r.Only) > MaxOnly {
		return Request{}, fmt.Errorf("%d messages, at most %d", len(r.Only), MaxOnly)
	}
	for _, id := range append([]string{r.ID}, r.Only...) {
		if len(id) > 64 || strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") != "" {
			return Request{}, errors.New("no message ID")
		}
	}
	return r, nil
}

// decodeFrame reads a line of an answer: exactly one of its parts is there.
func decodeFrame(line []byte) (frame, error) {
	var f frame
	if err := json.Unmarshal(line, &f); err != nil {
		return frame{}, err
	}
	parts := 0
	for _, there := range []bool{f.Message != nil, f.Recipients != nil, f.History != nil, f.Data != nil, f.Watched != nil, f.Steps != nil, f.Sessions != nil, f.Limits != nil, f.Filters != nil, f.Records != nil, f.Done != nil, f.Error != nil} {
		if there {
			parts++
		}
	}
	if parts != 1 {
		return frame{}, fmt.Errorf("line with %d parts, want 1", parts)
	}
	return f, nil
}

// readLine reads a line without its end; one that doesn't fit into r's buffer
// is an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("line longer than %d octets", r.Size())
	case err == io.EOF && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// appendLine appends v as a line.
func appendLine(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return b, err
	}
	return buf.Bytes(), nil
}

// partLines writes a part of an answer in as many lines as it needs. No line is
// longer than MaxLine.
func partLines(p Part, write func(line []byte) error) error {
	if p.Message != nil {
		head := *p.Message
		head.Recipients, head.History = nil, nil
		head.Reason, head.Sender = clip(head.Reason), clip(head.Sender)
		if err := writeLine(frame{Message: &head}, write); err != nil {
			return err
		}
	}
	err := inBatches(p.Recipients, clipRecipient, write, func(some []Recipient) frame { return frame{Recipients: some} })
	if err != nil {
		return err
	}
	return inBatches(p.History, clipNote, write, func(some []Note) frame { return frame{History: some} })
}

func writeLine(f frame, write func([]byte) error) error {
	line, err := appendLine(nil, f)
	if err != nil {
		return err
	}
	return write(line)
}

// inBatches writes the items in lines that are as long as they may be. An item
// that is too long for a line of its own has its texts cut.
func inBatches[T any](items []T, clipped func(T) T, write func([]byte) error, wrap func([]T) frame) error {
	const room = MaxLine - 64 // beside the frame's own octets
	var batch []T
	size := 0
	for _, item := range items {
		line, err := appendLine(nil, item)
		if err == nil && len(line) > room {
			item = clipped(item)
			line, err = appendLine(nil, item)
		}
		if err != nil {
			return err
		}
		if size+len(line) > room {
			if err := writeLine(wrap(batch), write); err != nil {
				return err
			}
			batch, size = batch[:0], 0
		}
		batch, size = append(batch, item), size+len(line)
	}
	if len(batch) == 0 {
		return nil
	}
	return writeLine(wrap(batch), write)
}

func clipRecipient(r Recipient) Recipient {
	r.Address, r.State, r.Relay, r.TLS, r.Reply = clip(r.Address), clip(r.State), clip(r.Relay), clip(r.TLS), clip(r.Reply)
	return r
}

func clipNote(n Note) Note {
	n.Address, n.Event, n.Relay, n.TLS, n.Reply, n.Err = clip(n.Address), clip(n.Event), clip(n.Relay), clip(n.TLS), clip(n.Reply), clip(n.Err)
	return n
}

// clip cuts s to maxText octets, not within a character.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
