package masquerade

import (
	"bufio"
	"bytes"
	"io"

	"postoffice/internal/message"
	"postoffice/internal/smtp"
)

// maxField is how long a field may be to be rewritten, in octets.
const maxField = 64 << 10

// fields are those that name a sender.
var fields = [...]string{"From", "Sender", "Reply-To"}

// Header returns a message with the senders in its header rewritten.
func (n *Names) Header(src io.Reader) io.Reader {
	r := &reader{src: src, piece: make([]byte, 16<<10)}
	r.out = bufio.NewWriter(&r.ready)
	r.edit = message.NewEdit(r.out)
	for _, name := range fields {
		r.edit.Rewrite(name, maxField, n.field)
	}
	return r
}

// reader is a message that passes through an Edit.
type reader struct {
	src   io.Reader
	piece []byte
	edit  *message.Edit
	out   *bufio.Writer
	ready bytes.Buffer
	err   error // of src, io.EOF at its end
}

func (r *reader) Read(p []byte) (int, error) {
	for r.ready.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	return r.ready.Read(p)
}

// fill takes a piece of the message through the Edit.
func (r *reader) fill() error {
	n, err := r.src.Read(r.piece)
	r.err = err
	if _, err := r.edit.Write(r.piece[:n]); err != nil {
		return err
	}
	if r.err == io.EOF {
		if err := r.edit.Close(); err != nil {
			return err
		}
	}
	return r.out.Flush()
}

// field writes a field with other addresses in it, where others stand for them.
func (n *Names) field(w *bufio.Writer, field []byte) error {
	text := string(field)
	colon := bytes.IndexByte(field, ':') + 1
	done := 0
	for m := range smtp.EachMailbox(text[colon:]) {
		to := n.Path(m.Path)
		if to == m.Path {
			continue
		}
		w.WriteString(text[done : colon+m.Start])
		w.WriteString(to.String())
		done = colon + m.End
	}
	_, err := w.WriteString(text[done:])
	return err
}
