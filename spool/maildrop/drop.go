package maildrop

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Drop is the envelope of a message that somebody leaves in maildrop/ while no
// server runs. Who they are the file doesn't say: its owner.
type Drop struct {
	ReversePath *smtp.Path   // nil: the owner
	Params      []smtp.Param // of MAIL
	Recipients  []smtp.Recipient
}

const (
	firstLine     = "postoffice drop 1\n"
	fileMode      = 0o640    // the group is the server's, from the directory
	unfinished    = "."      // names of files that are being written begin with it
	bufferSize    = 32 << 10 // octets written at once
	maxEnvelope   = 32 << 20 // octets
	maxRecipients = 1 << 19  // more than a command line holds, and what a session has memory for
	maxLine       = 64 << 10 // octets of one line of it
	maxOfMail     = 8        // parameters of MAIL
	maxOfRcpt     = 2        // parameters of a recipient: there are no more that one can have
)

// ErrTooLarge is a message that can't be left for its size.
var ErrTooLarge = errors.New("message is too large")

// encode adds the envelope's lines.
func (d Drop) encode(b []byte) ([]byte, error) {
	if len(d.Recipients) == 0 || len(d.Recipients) > maxRecipients {
		return b, fmt.Errorf("%w: %d recipients, of 1 to %d", envelope.ErrInvalid, len(d.Recipients), maxRecipients)
	}
	at := len(b)
	b, err := d.encodeFrom(append(b, firstLine...))
	for _, r := range d.Recipients {
		if err != nil {
			return b, err
		}
		b, err = encodeTo(b, r)
	}
	b = append(b, '\n')
	if err == nil && len(b)-at > maxEnvelope {
		err = fmt.Errorf("%w: envelope of %d octets, more than %d", envelope.ErrInvalid, len(b)-at, maxEnvelope)
	}
	return b, err
}

// encodeFrom adds what MAIL says.
func (d Drop) encodeFrom(b []byte) ([]byte, error) {
	if d.ReversePath != nil {
		if !d.ReversePath.IsNull() && !sendable(*d.ReversePath) {
			return b, fmt.Errorf("%w: sender %q", envelope.ErrInvalid, d.ReversePath)
		}
		b = append(envelope.AppendPath(append(b, "from "...), *d.ReversePath), '\n')
	}
	if len(d.Params) > maxOfMail || !paramsSendable(d.Params) {
		return b, fmt.Errorf("%w: parameters %v", envelope.ErrInvalid, d.Params)
	}
	if len(d.Params) > 0 {
		b = append(envelope.AppendParams(append(b, "with"...), d.Params), '\n')
	}
	return b, nil
}

// encodeTo adds a recipient.
func encodeTo(b []byte, r smtp.Recipient) ([]byte, error) {
	if !sendable(r.Path) || len(r.Params) > maxOfRcpt || !paramsSendable(r.Params) {
		return b, fmt.Errorf("%w: recipient %q %v", envelope.ErrInvalid, r.Path, r.Params)
	}
	at := len(b)
	b = append(envelope.AppendParams(envelope.AppendPath(append(b, "to "...), r.Path), r.Params), '\n')
	if len(b)-at > maxLine {
		return b, fmt.Errorf("%w: recipient's line of %d octets", envelope.ErrInvalid, len(b)-at)
	}
	return b, nil
}

// sendable reports whether a path can be said in SMTP, and comes back as it is.
func sendable(p smtp.Path) bool {
	again, err := smtp.ParseAddress(p.String())
	return err == nil && again == p
}

// paramsSendable is sendable for the parameters of one command.
func paramsSendable(params []smtp.Param) bool {
	var text strings.Builder
	for _, p := range params {
		text.WriteString(" " + p.String())
	}
	again, err := smtp.ParseParams(text.String())
	return err == nil && slices.Equal(again, params)
}

// decode reads the envelope in front of a file of size octets and returns where
// its message begins. What encode didn't write is ErrNever. Each line is encoded
// again as it is read: the text of all is never in memory.
func decode(r io.ReaderAt, size int64) (d Drop, at int64, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(r, 0, min(size, maxEnvelope)), maxLine)
	var front []byte // all before the first recipient
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case n == 1 && (err == nil || errors.Is(err, io.EOF)) && string(line) != firstLine:
			return d, 0, unfit("doesn't begin with %q", firstLine)
		case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
			return d, 0, unfit("no whole envelope in its first %d octets", maxEnvelope)
		case err != nil:
			return d, 0, err
		}
		at += int64(len(line))
		if len(line) == 1 {
			break
		}
		if n > 1 && !d.line(string(line[:len(line)-1])) {
			return d, 0, unfit("line %d of its envelope is none", n)
		}
		if len(d.Recipients) == 0 {
			if front = append(front, line...); n > 3 {
				return d, 0, unfit("line %d of its envelope is none", n)
			}
		}
	}
	if again, err := d.encodeFrom([]byte(firstLine)); err != nil || !bytes.Equal(again, front) || len(d.Recipients) == 0 {
		return d, 0, unfit("its envelope is none that could have been written")
	}
	return d, at, nil
}

// line takes one line of an envelope, without its LF.
func (d *Drop) line(s string) bool {
	if rest, is := strings.CutPrefix(s, "with"); is {
		var ok bool
		d.Params, ok = envelope.ParseParams(rest)
		return ok && len(d.Recipients) == 0
	}
	word, rest, _ := strings.Cut(s, " ")
	path, rest, ok := envelope.ParsePath(rest)
	switch {
	case !ok:
		return false
	case word == "from" && rest == "" && len(d.Recipients) == 0:
		d.ReversePath = &path
		return true
	case word == "to" && len(d.Recipients) < maxRecipients:
		r := smtp.Recipient{Path: path}
		if r.Params, ok = envelope.ParseParams(rest); !ok {
			return false
		}
		again, err := encodeTo(nil, r)
		d.add(r)
		return err == nil && string(again[:len(again)-1]) == s
	}
	return false
}

// add adds a recipient. What it has in common with the one before is held once.
func (d *Drop) add(r smtp.Recipient) {
	r.Path.Local = strings.Clone(r.Path.Local) // not the whole line with it
	if n := len(d.Recipients); n > 0 {
		last := &d.Recipients[n-1]
		if r.Path.Domain == last.Path.Domain {
			r.Path.Domain = last.Path.Domain
		}
		if slices.Equal(r.Params, last.Params) {
			r.Params = last.Params
		}
	}
	d.Recipients = append(d.Recipients, r)
}

// Leave writes a message of at most limit octets (0: no limit) into maildrop/
// and returns nil when it is durable, name and all. Its file gets a name that
// counts only when it is whole. ErrInvalid: it can never be taken like this;
// ErrTooLarge: it has more octets than limit;
// after any error there is nothing left of it.
func (d Drop) Leave(dir disk.Dir, body io.Reader, limit int64) error {
	head, err := d.encode(nil)
	if err != nil {
		return err
	}
	name := rand.Text() // 128 bits: nobody can guess it, so nobody can link to it
	hidden := unfinished + name
	f, err := dir.Create(hidden, 0o600)
	if err != nil {
		return err
	}
	err = fill(f, head, body, limit)
	if err == nil {
		err = dir.Rename(hidden, dir, name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), remove(dir, hidden), remove(dir, name))
	}
	if err := dir.Sync(); err != nil {
		return errors.Join(err, f.Close(), remove(dir, name))
	}
	return f.Close()
}

// fill writes and syncs the file. Its lock says that somebody does.
func fill(f disk.File, head []byte, body io.Reader, limit int64) error {
	if _, err := f.TryLock(); err != nil {
		return err
	}
	if err := f.Chmod(fileMode); err != nil {
		return err
	}
	out := bufio.NewWriterSize(struct{ io.Writer }{f}, bufferSize)
	out.Write(head)
	if limit > 0 {
		body = io.LimitReader(body, limit+1)
	}
	n, err := io.Copy(out, body)
	switch {
	case err != nil:
		return err
	case limit > 0 && n > limit:
		return fmt.Errorf("%w: bigger than %d octets", ErrTooLarge, limit)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return f.Sync()
}
