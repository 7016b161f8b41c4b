package local

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"time"

	"postoffice/internal/smtp"
)

// Form is what a message looks like where it is going.
type Form byte

const (
	FormMbox    Form = iota // From_ line in front, empty line behind: a file of messages
	FormProgram             // From_ line in front: what a program reads
	FormMaildir             // neither: a file of its own
	FormLMTP                // neither, and no field of ours: the server adds its own
)

// FormatOptions say what stands in front of a message.
type FormatOptions struct {
	Form        Form
	ReversePath smtp.Path
	DeliveredTo smtp.Path
	Time        time.Time // of the delivery, shown in its own zone
	EscapeFrom  bool      // put ">" before lines that look like a From_ line (R60)
}

// Format writes a message in one of the forms: the From_ line, Return-Path and
// Delivered-To, the message without the Return-Path fields that it came with
// (RFC 5321 section 4.4), and an empty line. A message
// without a final newline gets one (R10), one that does not begin with a
// header field an empty line in front (A24). Memory does not depend on the
// message or its lines.
func Format(w io.Writer, o FormatOptions, body io.Reader) error {
	f := formatter{w: bufio.NewWriterSize(w, 32<<10), r: bufio.NewReaderSize(body, 32<<10), escape: o.EscapeFrom}
	if o.Form == FormMbox || o.Form == FormProgram {
		fmt.Fprintf(f.w, "From %s %s\n", fromSender(o.ReversePath), o.Time.Format(time.ANSIC))
	}
	if o.Form != FormLMTP {
		fmt.Fprintf(f.w, "Return-Path: <%s>\n", printable(o.ReversePath.String(), '?'))
		fmt.Fprintf(f.w, "Delivered-To: %s\n", printable(o.DeliveredTo.String(), '?'))
	}
	if err := f.header(); err != nil {
		return err
	}
	if err := f.lines(); err != nil {
		return err
	}
	if o.Form == FormMbox {
		f.w.WriteByte('\n')
	}
	return f.w.Flush()
}

// fromSender is the sender as the From_ line shows him: one word of printable
// ASCII, since readers find the date behind the first space (A27).
func fromSender(p smtp.Path) string {
	if p.IsNull() {
		return "<>"
	}
	return string(bytes.ReplaceAll([]byte(printable(p.String(), '_')), []byte{' '}, []byte{'_'}))
}

// printable replaces control octets, and for an ASCII-only place (by '_')
// those with the eighth bit too.
func printable(s string, by byte) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f || by == '_' && c > 0x7f {
			b[i] = by
		}
	}
	return string(b)
}

// formatter copies a message line by line, whatever their length.
type formatter struct {
	w      *bufio.Writer // keeps its first error until Flush
	r      *bufio.Reader
	escape bool
}

// peekField is enough to see a field's name: longer ones are none that matter.
const peekField = 1000

// header copies the header but for its Return-Path fields.
func (f *formatter) header() error {
	for first := true; ; first = false {
		line, err := f.r.Peek(peekField)
		if len(line) == 0 {
			return noEOF(err)
		}
		switch {
		case first && line[0] != '\n' && !isField(line):
			f.w.WriteByte('\n')
			return nil
		case !isField(line) && line[0] != ' ' && line[0] != '\t': // the empty line, or a body without one
			return nil
		case isReturnPath(line):
			if err := f.skipField(); err != nil {
				return err
			}
		default:
			if err := f.line(); err != nil {
				return err
			}
		}
	}
}

// isField reports whether a line begins like a header field, RFC 5322 section
// 3.6.8, white space before the colon allowed (section 4.5).
func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return ok && len(name) > 0
}

func isReturnPath(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte{':'})
	return ok && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("Return-Path"))
}

// skipField passes over a line and those that continue it.
func (f *formatter) skipField() error {
	for {
		for {
			if _, err := f.r.ReadSlice('\n'); err == nil {
				break
			} else if err != bufio.ErrBufferFull {
				return noEOF(err)
			}
		}
		next, err := f.r.Peek(1)
		if len(next) == 0 || next[0] != ' ' && next[0] != '\t' {
			return noEOF(err)
		}
	}
}

// lines copies what is left.
func (f *formatter) lines() error {
	for {
		if next, err := f.r.Peek(1); len(next) == 0 {
			return noEOF(err)
		}
		if err := f.line(); err != nil {
			return err
		}
	}
}

// line copies one line and ends it with a newline.
func (f *formatter) line() error {
	if f.escape {
		if err := f.escapeFrom(); err != nil {
			return err
		}
	}
	for {
		part, err := f.r.ReadSlice('\n')
		if _, err := f.w.Write(part); err != nil {
			return err
		}
		switch err {
		case nil:
			return nil
		case bufio.ErrBufferFull:
		case io.EOF:
			f.w.WriteByte('\n')
			return nil
		default:
			return err
		}
	}
}

// escapeFrom copies the ">" that a line begins with, and one more if "From "
// follows: where in their row it stands makes no difference.
func (f *formatter) escapeFrom() error {
	for {
		next, err := f.r.Peek(len("From "))
		if string(next) == "From " {
			return f.w.WriteByte('>')
		}
		if len(next) == 0 || next[0] != '>' {
			return noEOF(err)
		}
		f.r.Discard(1)
		if err := f.w.WriteByte('>'); err != nil {
			return err
		}
	}
}

func noEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
