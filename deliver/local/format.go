package local

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"postoffice/internal/message"
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

// HomePrefix is what a mailbox or a folder in the home directory begins with.
const HomePrefix = "~/"

// FormOf is the form of messages that go where option mailbox, or the folder,
// says.
func FormOf(mailbox, folder string) Form {
	spec := cmp.Or(folder, mailbox)
	if strings.HasPrefix(spec, HomePrefix) && strings.HasSuffix(spec, "/") {
		return FormMaildir
	}
	return FormMbox
}

// FormatOptions say what stands in front of a message.
type FormatOptions struct {
	Form        Form
	ReversePath smtp.Path
	DeliveredTo smtp.Path
	Time        time.Time // of the delivery, shown in its own zone
	Escape      Escape
}

// Format writes a message in one of the forms: the From_ line, Return-Path and
// Delivered-To, the message without the Return-Path fields that it came with
// (RFC 5321 section 4.4), and an empty line. A message
// without a final newline gets one (R10), one that does not begin with a
// header field an empty line in front (A24). Memory does not depend on the
// message or its lines.
func Format(w io.Writer, o FormatOptions, body io.Reader) error {
	out := bufio.NewWriterSize(w, formatBlock)
	if o.Form == FormMbox || o.Form == FormProgram {
		fmt.Fprintf(out, "From %s %s\n", fromSender(o.ReversePath), o.Time.Format(time.ANSIC))
	}
	if o.Form != FormLMTP {
		fmt.Fprintf(out, "Return-Path: <%s>\n", inField(o.ReversePath))
		out.WriteString(DeliveredTo(o.DeliveredTo))
	}
	edit := message.NewEdit(out)
	edit.Drop("Return-Path")
	var dst io.WriteCloser = edit
	if o.Escape == EscapeAll || o.Escape == EscapeFiles && o.Form == FormMbox {
		dst = &escaper{w: edit}
	}
	ended, err := copyLines(dst, body)
	if err != nil {
		return err
	}
	if !ended {
		out.WriteByte('\n')
	}
	if o.Form == FormMbox {
		out.WriteByte('\n')
	}
	return out.Flush()
}

// formatBlock is how much of a message is read or written at a time.
const formatBlock = 32 << 10

// copyLines copies a message to its end, and says whether its last line has
// one.
func copyLines(dst io.WriteCloser, src io.Reader) (ended bool, err error) {
	block := make([]byte, formatBlock)
	ended = true
	for {
		n, err := src.Read(block)
		if n > 0 {
			ended = block[n-1] == '\n'
			if _, err := dst.Write(block[:n]); err != nil {
				return false, err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return ended, dst.Close()
		default:
			return false, err
		}
	}
}

// fromSender is the sender as the From_ line shows it: one word of printable
// ASCII, since readers find the date behind the first space (A27).
func fromSender(p smtp.Path) string {
	if p.IsNull() {
		return "<>"
	}
	return smtp.Masked(p.String(), '_', func(c byte) bool { return c != ' ' && smtp.IsPrintable(c) })
}

// DeliveredTo is the field that tells of a delivery to p.
func DeliveredTo(p smtp.Path) string { return "Delivered-To: " + inField(p) + "\n" }

// inField returns a path for a field, where UTF-8 may stand but no control
// octet.
func inField(p smtp.Path) string {
	return smtp.Masked(p.String(), '?', func(c byte) bool { return c >= ' ' && c != 0x7f })
}
