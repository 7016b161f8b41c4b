package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"
	"sync"

	"postoffice/internal/message"
	"postoffice/internal/smtp"
)

const (
	outBlock     = 8 << 10  // written to the queue at a time
	maxField     = 64 << 10 // of an address field that is rewritten; a longer one passes as it is
	maxMsgID     = 256      // of the field that the log shows
	maxPathShown = 1 << 10  // octets of a reverse-path in a field
	maxMark      = 300      // of the reason in X-Spam

	maxDelivered      = 100     // Delivered-To fields of a stranger's message that are looked at
	maxDeliveredField = 1 << 10 // octets of one that is looked at
)

// errLoop is a message that has passed too many hosts.
var errLoop = errors.New("too many Received fields")

// addressFields are completed in mail of this machine's.
var addressFields = []string{
	"From", "Sender", "Reply-To", "To", "Cc",
	"Resent-From", "Resent-Sender", "Resent-Reply-To", "Resent-To", "Resent-Cc",
}

// header is the writer between a message's source and the queue: it puts our
// trace field in front, edits the header, and passes the body on.
type header struct {
	s       *session
	edit    *message.Edit
	out     *bufio.Writer // to sink
	written int64         // octets that the queue got
	trace   int           // of them, our Received field
	hops    int
	msgid   []byte // value of the Message-ID field, as far as the log shows it

	delivered []string // folded values of the Delivered-To fields of a stranger's message
}

// The headers that are not in use, of strangers' messages and of this
// machine's.
var (
	strangers = sync.Pool{New: func() any {
		h := makeHeader()
		h.edit.Watch("Delivered-To", maxDeliveredField, h.noteDelivered)
		return h
	}}
	locals = sync.Pool{New: func() any {
		h := makeHeader()
		h.complete()
		return h
	}}
	users = sync.Pool{New: func() any { // who log in: their programs may be as simple
		h := makeHeader()
		h.complete()
		h.edit.Drop("Bcc")
		return h
	}}
)

// makeHeader returns a header that does what is done to each message. A
// received Return-Path is ours to write (RFC 5321 section 4.4).
func makeHeader() *header {
	h := &header{}
	h.out = bufio.NewWriterSize((*sink)(h), outBlock)
	h.edit = message.NewEdit(h.out)
	h.edit.Drop("Return-Path")
	h.edit.Sift("Authentication-Results", maxField, h.authentic)
	h.edit.Watch("Received", 0, h.hop)
	h.edit.Watch("Message-ID", maxMsgID, h.noteID)
	return h
}

// complete has h do what is done to a message of this machine's besides: what
// it lacks is added, and bare names become addresses.
func (h *header) complete() {
	for _, name := range addressFields {
		h.edit.Rewrite(name, maxField, h.completeField)
	}
	h.edit.Default("From", h.author)
	h.edit.Default("Date", h.date)
	h.edit.Default("Message-ID", h.newID)
	h.edit.Separate()
}

func headersFor(c *Client) *sync.Pool {
	switch {
	case c.Account != "":
		return &users
	case c.Local:
		return &locals
	}
	return &strangers
}

// newHeader returns the writer for the session's message, which is open.
func newHeader(s *session) *header {
	h := headersFor(&s.client).Get().(*header)
	h.s = s
	writeReceived(h.out, &s.tx, s.incoming.ID(), s.o.Hostname, s.o.HideClient)
	h.trace = h.out.Buffered() // it is shorter than the buffer
	if reason := s.tx.Mark.Reason; reason != "" {
		h.out.WriteString("X-Spam: " + smtp.Printable(reason, maxMark) + "\n")
	}
	if c := &s.client; c.Kind == Local && s.o.OwnSender != nil && !s.o.OwnSender(c, s.tx.ReversePath) {
		writeWarning(h.out, &s.tx, s.o.Hostname)
	}
	return h
}

// free gives h back.
func (h *header) free() {
	pool := headersFor(&h.s.client)
	h.out.Reset((*sink)(h))
	h.edit.Reset(h.out)
	h.s, h.written, h.trace, h.hops, h.msgid, h.delivered = nil, 0, 0, 0, h.msgid[:0], nil
	pool.Put(h)
}

// sink is the far end of a header: the queue. A message that it can't take is
// removed at once, not when the client is done: its room may be needed.
type sink header

func (k *sink) Write(p []byte) (int, error) {
	if err := k.s.claim(len(p)); err != nil {
		k.s.wire.LoseData()
		return 0, err
	}
	n, err := k.s.incoming.Write(p)
	k.written += int64(n)
	return n, err
}

// Write takes the next piece of the message.
func (h *header) Write(p []byte) (int, error) {
	n, err := h.edit.Write(p)
	if err != nil {
		h.s.abort()
	}
	return n, err
}

// authentic keeps what others say of checks, but where a stranger, or who has logged in,
// says it in our name: filters and readers take that for ours (RFC 8601 section 5). What
// nobody can read may be taken for anything.
func (h *header) authentic(w *bufio.Writer, field []byte) error {
	c := &h.s.client
	_, value, _ := bytes.Cut(field, []byte(":"))
	id, ok := message.AuthServID(string(value))
	if (c.Account != "" || !c.Local && !c.Trusted) && (!ok || smtp.EqualFold(id, h.s.o.Hostname)) {
		return nil
	}
	_, err := w.Write(field)
	return err
}

// finish takes the end of the message.
func (h *header) finish() error {
	if err := h.edit.Close(); err != nil {
		return err
	}
	return h.out.Flush()
}

// hop counts a Received field.
func (h *header) hop(message.Field) error {
	if h.hops++; h.hops >= h.s.o.Hops {
		return errLoop
	}
	return nil
}

// noteID notes the Message-ID for the log.
func (h *header) noteID(f message.Field) error {
	h.msgid = append(h.msgid[:0], f.Value()...)
	return nil
}

// noteDelivered notes where the message was delivered before.
func (h *header) noteDelivered(f message.Field) error {
	if len(h.delivered) < maxDelivered {
		h.delivered = append(h.delivered, smtp.Fold(string(f.Value())))
	}
	return nil
}

func (h *header) completeField(w *bufio.Writer, field []byte) error {
	return completeAddresses(w, field, h.s.o.Hostname)
}

// dateFormat is RFC 5322 section 3.3, with a numeric zone.
const dateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

// writeReceived writes the Received field of RFC 5321 section 4.4. Only one
// recipient is named: more would tell each of them of the others. A name outside
// ASCII is left out, so that the header needs no server with SMTPUTF8 for it.
func writeReceived(w *bufio.Writer, t *Transaction, id, hostname string, hide bool) {
	c := t.Client
	w.WriteString("Received: from ")
	with := "SMTP"
	switch {
	case c.Kind == Local:
		with = "LOCAL"
		w.WriteString(asName(c.User) + " (uid " + strconv.Itoa(c.UID) + ")")
	default:
		switch {
		case t.UTF8 && c.ESMTP:
			with = "UTF8SMTP" // RFC 6531 section 4.3
		case c.ESMTP:
			with = "ESMTP"
		}
		w.WriteString(fromOf(c, hide))
	}
	if c.TLS != nil && c.ESMTP { // RFC 3848; it has no word for SMTP without EHLO
		with += "S"
	}
	if c.Account != "" && c.ESMTP {
		with += "A"
	}
	w.WriteString("\n\tby " + hostname + " (postoffice) with " + with)
	if c.TLS != nil {
		w.WriteString(" (" + c.TLS.received() + ")\n\t")
	} else {
		w.WriteString(" ")
	}
	w.WriteString("id " + id)
	if len(t.Recipients) == 1 && t.Recipients[0].Path.IsASCII() {
		w.WriteString("\n\tfor <" + t.Recipients[0].Path.String() + ">; ")
	} else {
		w.WriteString(";\n\t")
	}
	w.Write(t.Arrived.AppendFormat(w.AvailableBuffer(), dateFormat))
	w.WriteByte('\n')
}

// fromOf is whom a message comes from by the network. hide: who has logged in is not
// shown.
func fromOf(c *Client, hide bool) string {
	switch {
	case hide && c.Account != "":
		return "[127.0.0.1] (a client that has logged in)"
	case c.Name != "":
		return asName(c.Hello) + " (" + c.Name + " " + smtp.FormatLiteral(c.Addr.Addr()) + ")"
	}
	return asName(c.Hello) + " (" + smtp.FormatLiteral(c.Addr.Addr()) + ")"
}

// writeWarning tells readers who gave the reverse-path, as the kernel knows
// them, in the field that sendmail has for that.
func writeWarning(w *bufio.Writer, t *Transaction, hostname string) {
	from := t.ReversePath.String()
	if t.ReversePath.IsNull() {
		from = "<>"
	}
	w.WriteString("X-Authentication-Warning: " + asName(t.Client.User) + "@" + hostname + " set sender to " + smtp.Printable(from, maxPathShown) + "\n")
}

// date is the value of the Date field of a message that has none.
func (h *header) date() string { return " " + h.s.tx.Arrived.Format(dateFormat) }

// newID is the value of the Message-ID field of a message that has none, and
// from then on the message's.
func (h *header) newID() string {
	id := "<" + h.s.tx.Arrived.UTC().Format("20060102150405") + "." + h.s.incoming.ID() + "@" + h.s.o.Hostname + ">"
	h.msgid = append(h.msgid[:0], id...)
	return " " + id
}

// author is the value of the From field of a message that doesn't say who
// wrote it (RFC 5322 section 3.6): the reverse-path, with the full name if that
// is the program's own account.
func (h *header) author() string {
	c, from, hostname := &h.s.client, h.s.tx.ReversePath, h.s.o.Hostname
	if from.IsNull() {
		from = smtp.Path{Local: "MAILER-DAEMON", Domain: hostname}
	}
	if c.Full == "" || from.Local != c.User || !smtp.EqualFold(from.Domain, hostname) {
		return " " + from.String()
	}
	return " " + message.Phrase(c.Full) + " <" + from.String() + ">"
}
