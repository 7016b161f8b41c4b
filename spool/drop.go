package spool

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// Drop is the envelope of a message that somebody leaves in maildrop/ while no
// server runs. Who he is the file doesn't say: its owner.
type Drop struct {
	ReversePath *smtp.Path   // nil: the owner
	Params      []smtp.Param // of MAIL
	Recipients  []smtp.Recipient
}

const (
	dropFirst       = "postoffice drop 1\n"
	dropMode        = 0o640    // the group is the server's, from the directory
	dropUnfinished  = "."      // names of files that are being written begin with it
	maxDropEnvelope = 64 << 10 // octets, below what one SMTP transaction may have
	maxDropTo       = 1000     // recipients, as there
)

// appendDrop adds the envelope's lines.
func appendDrop(b []byte, d Drop) ([]byte, error) {
	at := len(b)
	b = append(b, dropFirst...)
	if d.ReversePath != nil {
		if !d.ReversePath.IsNull() && !sendable(*d.ReversePath) {
			return b, fmt.Errorf("%w: sender %q", ErrInvalid, d.ReversePath)
		}
		b = append(appendPath(append(b, "from "...), *d.ReversePath), '\n')
	}
	if !paramsSendable(d.Params) {
		return b, fmt.Errorf("%w: parameters %v", ErrInvalid, d.Params)
	}
	if len(d.Params) > 0 {
		b = append(appendParams(append(b, "with"...), d.Params), '\n')
	}
	if len(d.Recipients) == 0 || len(d.Recipients) > maxDropTo {
		return b, fmt.Errorf("%w: %d recipients, of 1 to %d", ErrInvalid, len(d.Recipients), maxDropTo)
	}
	for _, r := range d.Recipients {
		if !sendable(r.Path) || !paramsSendable(r.Params) {
			return b, fmt.Errorf("%w: recipient %q %v", ErrInvalid, r.Path, r.Params)
		}
		b = append(appendParams(appendPath(append(b, "to "...), r.Path), r.Params), '\n')
	}
	b = append(b, '\n')
	if len(b)-at > maxDropEnvelope {
		return b, fmt.Errorf("%w: envelope of %d octets, more than %d", ErrInvalid, len(b)-at, maxDropEnvelope)
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

// decodeDrop reads the envelope in front of a file of size octets and returns
// where its message begins. What appendDrop didn't write is ErrCorrupt.
func decodeDrop(r io.ReaderAt, size int64) (d Drop, at int64, err error) {
	l := newLines(r, 0, min(size, maxDropEnvelope))
	defer l.free()
	var text []byte
	for n := 0; ; n++ {
		line, err := l.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errLong) {
			return d, 0, damage("no whole envelope in its first %d octets", maxDropEnvelope)
		}
		if err != nil {
			return d, 0, later(err)
		}
		text = append(text, line...)
		if len(line) == 1 {
			break
		}
		if n == 0 && string(line) != dropFirst {
			return d, 0, damage("doesn't begin with %q", dropFirst)
		}
		if n > 0 && !d.line(string(line)) {
			return d, 0, damage("line %d of its envelope is none", n+1)
		}
	}
	if again, err := appendDrop(nil, d); err != nil || !bytes.Equal(again, text) {
		return d, 0, damage("its envelope is none that could have been written")
	}
	return d, l.at, nil
}

// line takes one line of an envelope.
func (d *Drop) line(s string) bool {
	p := scanner{s: strings.TrimSuffix(s, "\n"), ok: true}
	switch {
	case p.more("from "):
		from := p.path()
		d.ReversePath = &from
	case p.more("with"):
		d.Params = p.params()
	case p.more("to "):
		d.Recipients = append(d.Recipients, smtp.Recipient{Path: p.path(), Params: p.params()})
	default:
		return false
	}
	return p.ok && p.s == ""
}

// Leave writes a message of at most limit octets (0: no limit) into maildrop/
// and returns nil when it is durable, name and all. Its file gets a name that
// counts only when it is whole. ErrInvalid: it can never be taken like this;
// after any error there is nothing left of it.
func (d Drop) Leave(dir disk.Dir, body io.Reader, limit int64) error {
	head, err := appendDrop(nil, d)
	if err != nil {
		return err
	}
	name := rand.Text() // 128 bits: nobody can guess it, so nobody can link to it
	hidden := dropUnfinished + name
	f, err := dir.Create(hidden, 0o600)
	if err != nil {
		return err
	}
	err = fillDrop(f, head, body, limit)
	if err == nil {
		err = dir.Rename(hidden, dir, name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), ignoreGone(dir.Unlink(hidden)), ignoreGone(dir.Unlink(name)))
	}
	if err := dir.Sync(); err != nil {
		return errors.Join(err, f.Close(), ignoreGone(dir.Unlink(name)))
	}
	return f.Close()
}

// fillDrop writes and syncs the file. Its lock says that somebody does.
func fillDrop(f disk.File, head []byte, body io.Reader, limit int64) error {
	if _, err := f.TryLock(); err != nil {
		return err
	}
	if err := f.Chmod(dropMode); err != nil {
		return err
	}
	if _, err := f.Write(head); err != nil {
		return err
	}
	if limit > 0 {
		body = io.LimitReader(body, limit+1)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, body, make([]byte, bufferSize))
	if err != nil {
		return err
	}
	if limit > 0 && n > limit {
		return fmt.Errorf("%w: message is bigger than %d octets", ErrInvalid, limit)
	}
	return f.Sync()
}
