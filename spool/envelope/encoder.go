package envelope

import (
	"bytes"
	"fmt"
)

// Encoder makes a message file's first line and envelope. The first line tells
// lengths and checksums, and so is complete only when all data is known: until
// then dashes hold its place.
type Encoder struct {
	first first
	env   uint32 // checksum of the envelope
	torn  bool   // the last octet of the data is no line end
}

// Begin adds the dashes and the envelope to b, all slots pending. The message's
// header and body are to follow. ErrInvalid: it can't be written.
func (e *Encoder) Begin(b []byte, env *Envelope) ([]byte, error) {
	at := len(b) + firstLen
	b, err := appendEnvelope(append(b, blankFirst()...), env)
	if err != nil {
		return b, err
	}
	*e = Encoder{first: first{envelope: len(b) - at}, env: sum(0, b[at:])}
	return b, nil
}

// Data takes account of the next octets of the header and body: lines that end
// in LF, without CR. ErrInvalid: they can't stand there.
func (e *Encoder) Data(p []byte) error {
	if bytes.IndexByte(p, '\r') >= 0 {
		return fmt.Errorf("%w: CR in the message", ErrInvalid)
	}
	if e.first.data+int64(len(p)) > maxData {
		return fmt.Errorf("%w: message of more than %d octets", ErrInvalid, int64(maxData))
	}
	e.first.data += int64(len(p))
	e.first.dataSum = sum(e.first.dataSum, p)
	if n := len(p); n > 0 {
		e.torn = p[n-1] != '\n'
	}
	return nil
}

// FirstLine is the complete line, which takes the place of the dashes.
func (e *Encoder) FirstLine() []byte {
	line := appendFirst(make([]byte, 0, firstLen), e.first)
	return appendCheck(line, sum(e.env, line))
}

// AppendNote adds the line of a note that is to stand behind all data.
// ErrInvalid: it can't be written.
func (e *Encoder) AppendNote(b []byte, n Note) ([]byte, error) {
	if e.torn {
		b = append(b, '\n')
	}
	return appendNote(b, sum(e.env, appendFirst(nil, e.first)), n)
}

// appendEnvelope adds the envelope with its empty line, all slots pending.
func appendEnvelope(b []byte, env *Envelope) ([]byte, error) {
	if !validTime(env.Arrived) {
		return b, fmt.Errorf("%w: arrived in the year %d", ErrInvalid, env.Arrived.Year())
	}
	if err := validParams(env.Params); err != nil {
		return b, err
	}
	if n := len(env.Recipients); n == 0 || n > MaxRecipients {
		return b, fmt.Errorf("%w: %d recipients", ErrInvalid, n)
	}
	start := len(b)
	b = append(appendTime(append(b, "arrived "...), env.Arrived), '\n')
	b = append(appendWord(append(b, "client "...), env.Client), '\n')
	b = append(appendWord(append(b, "session "...), env.Session), '\n')
	b = append(appendWord(append(b, "folder "...), env.Folder), '\n')
	b = AppendPath(append(b, "from "...), env.ReversePath)
	b = append(AppendParams(b, env.Params), '\n')
	if len(b)-start > maxLine { // no line of these is longer than all
		return b, fmt.Errorf("%w: envelope lines of %d octets", ErrInvalid, len(b)-start)
	}
	b, err := appendTargets(b, func(yield func(Target) bool) {
		for _, r := range env.Recipients {
			if !yield(Target{Path: r.Path, Params: r.Params}) {
				return
			}
		}
	})
	if err != nil {
		return b, err
	}
	b = append(b, '\n')
	if len(b)-start > maxEnvelope {
		return b, fmt.Errorf("%w: envelope of %d octets", ErrInvalid, len(b)-start)
	}
	return b, nil
}

// appendTargets adds a line for each.
func appendTargets(b []byte, targets func(yield func(Target) bool)) ([]byte, error) {
	for t := range targets {
		if err := validTarget(t); err != nil {
			return b, err
		}
		n := len(b)
		if b = appendTarget(b, t, Pending); len(b)-n > maxLine {
			return b, fmt.Errorf("%w: recipient's line of %d octets", ErrInvalid, len(b)-n)
		}
	}
	return b, nil
}
