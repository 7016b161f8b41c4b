package filters

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/edits"
	"postoffice/internal/maillog"
	"postoffice/internal/message"
	"postoffice/internal/smtp"
	"postoffice/milter"
)

const (
	pieceSize = 64 << 10 // of a message that is read at a time, in octets: what most filters take at once
	maxField  = 64 << 10 // of a header field that filters are shown, in octets: what fits into a packet
	maxMsgID  = 256      // of the Message-ID that they are told, in octets
	maxTold   = 1000     // of what the log says of changed senders and recipients, in octets: some twenty of them
)

var pieces = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, pieceSize) }}

// Message shows the message to the filters, and returns what they make of it.
func (s *Session) Message(ctx context.Context, t *smtpd.Transaction, m smtpd.Message) smtpd.Verdict {
	defer s.guard(ctx)()
	e := &edits.Edits{For: len(t.Recipients)}
	r := s.message(milter.AtEnd, func(l *link) (milter.Verdict, error) { return l.message(t, m, e) })
	if !r.IsZero() {
		s.Aborted()
		return smtpd.Refusal(r)
	}
	if by := s.discard; by != "" {
		s.Aborted()
		return smtpd.Verdict{Discard: "filter " + by}
	}
	v := smtpd.Verdict{Hold: s.held()}
	if e.Any() {
		v.Edits = e
	}
	return v
}

// held is why the message is held, as all filters have it.
func (s *Session) held() string {
	var why []string
	for _, l := range s.links {
		if l.hold != "" {
			why = append(why, l.hold)
		}
	}
	return strings.Join(why, "; ")
}

// errStore is trouble of ours with a message, of which no filter is the cause.
var errStore = errors.New("the message can't be read or written")

// message shows the message to the filter, as those before it leave it, and adds what it
// wants to the edits.
func (l *link) message(t *smtpd.Transaction, m smtpd.Message, e *edits.Edits) (milter.Verdict, error) {
	r := pieces.Get().(*bufio.Reader)
	defer func() {
		r.Reset(nil)
		pieces.Put(r)
	}()
	r.Reset(e.Reader(m, m.Size))
	show := shown{l: l, t: t, r: r, ours: make([]byte, m.Trace)}
	if _, err := m.ReadAt(show.ours, 0); err != nil && !errors.Is(err, io.EOF) {
		return l.trouble(err), nil
	}
	v, err := show.all()
	switch {
	case errors.Is(err, errStore):
		return l.trouble(err), nil
	case err != nil || v.Action != milter.Continue && v.Action != milter.Skip:
		return v, err
	}
	var body lateBody
	body.begin = m.Scratch
	result, err := l.conn.End(l.s.endMacros(t, show.msgid), &body)
	if err != nil {
		return milter.Verdict{}, err
	}
	if result.BodyErr != nil {
		return l.trouble(result.BodyErr), nil
	}
	if v := result.Verdict; v.Action == milter.Continue || v.Action == milter.Accept {
		l.edit(t, m, result, &body, e)
	}
	return result.Verdict, nil
}

// trouble refuses a message for now for which there is no room, or that can't be read.
func (l *link) trouble(err error) milter.Verdict {
	l.s.log(slog.LevelWarn, "message not filtered", l.f, maillog.Err(err))
	return milter.Verdict{Action: milter.ReplyCode, Reply: smtp.Reply{Code: 452, Status: "4.3.1", Text: "no room for what a mail filter makes of the message, try again later"}} // the queue's disk, or a client's share of it
}

// lateBody is the text for a new body, which is begun with its first octet.
type lateBody struct {
	begin func() (smtpd.Scratch, error)
	text  smtpd.Scratch
}

func (b *lateBody) Write(p []byte) (int, error) {
	if b.text == nil {
		var err error
		if b.text, err = b.begin(); err != nil {
			return 0, err
		}
	}
	return b.text.Write(p)
}

// empty is a body without octets.
type empty struct{ strings.Reader }

// edit adds what a filter wants to the edits, and tells of what it can't have.
func (l *link) edit(t *smtpd.Transaction, m smtpd.Message, result milter.Result, body *lateBody, e *edits.Edits) {
	refused := result.Refused
	var told []string // what becomes of sender and recipients
	for _, one := range result.Edits {
		switch err := l.one(t, m, one, body, e); {
		case err != nil:
			refused = append(refused, one.Kind.String()+": "+err.Error())
		case one.Kind == milter.AddRcpt || one.Kind == milter.DeleteRcpt || one.Kind == milter.ChangeFrom:
			told = append(told, one.Kind.String()+" "+bracketed(one.Path))
		}
	}
	if len(result.Edits) > 0 {
		l.f.count(func(c *Counts) { c.Edited++ })
	}
	if len(told) > 0 {
		l.s.log(slog.LevelInfo, "filter changed envelope", l.f, slog.Int("count", len(told)), maillog.Reason(smtp.Printable(strings.Join(told, ", "), maxTold)))
	}
	if len(refused) > 0 {
		l.s.log(slog.LevelWarn, "filter's edit refused", l.f, slog.Int("count", len(refused)), maillog.Reason(refused[0]))
	}
}

// one adds one edit.
func (l *link) one(t *smtpd.Transaction, m smtpd.Message, one milter.Edit, body *lateBody, e *edits.Edits) error {
	n := one.Index
	if m.Trace > 0 && smtp.EqualFold(one.Name, "Received") {
		n++ // the filter wasn't shown our own, which is the first
	}
	switch one.Kind {
	case milter.AddHeader:
		return e.Add(one.Name, one.Value)
	case milter.InsertHeader:
		return e.Insert(one.Index, one.Name, one.Value)
	case milter.ChangeHeader:
		return e.Change(one.Name, n, one.Value)
	case milter.DeleteHeader:
		return e.Delete(one.Name, n)
	case milter.AddRcpt, milter.DeleteRcpt, milter.ChangeFrom:
		return l.envelope(t, one, e)
	case milter.ReplaceBody:
		if e.Body = body.text; body.text == nil {
			e.Body = &empty{}
		}
	case milter.Quarantine:
		l.hold = "filter " + l.f.Name + ": " + one.Value
	default:
		return fmt.Errorf("nothing is known of it: %v", one.Kind)
	}
	return nil
}

// envelope adds an edit of sender or recipients.
func (l *link) envelope(t *smtpd.Transaction, one milter.Edit, e *edits.Edits) error {
	if one.Path.Domain == "" && !one.Path.IsNull() {
		one.Path.Domain = l.s.set.o.Hostname
	}
	if !t.UTF8 && !one.Path.IsASCII() {
		return errors.New("an address outside ASCII in a message without SMTPUTF8")
	}
	if o := &l.s.set.o; one.Kind != milter.DeleteRcpt {
		if o.Fits != nil {
			if err := o.Fits(one.Path, one.Params, one.Kind == milter.ChangeFrom); err != nil {
				return err
			}
		}
		if one.Kind == milter.AddRcpt && o.MaxRecipients > 0 && len(t.Recipients)+e.Added() >= o.MaxRecipients {
			return fmt.Errorf("the message would have more than %d recipients", o.MaxRecipients)
		}
	}
	switch one.Kind {
	case milter.AddRcpt:
		return e.AddRecipient(smtp.Recipient{Path: one.Path, Params: one.Params})
	case milter.DeleteRcpt:
		return e.DeleteRecipient(one.Path)
	}
	e.Sender = &edits.Sender{Path: one.Path, Params: one.Params}
	return nil
}

// shown is a message being shown to a filter.
type shown struct {
	l     *link
	t     *smtpd.Transaction
	r     *bufio.Reader
	ours  []byte // our trace field
	msgid string
}

// all shows header and body.
func (h *shown) all() (milter.Verdict, error) {
	goesOn := func(v milter.Verdict, err error) bool {
		return err == nil && (v.Action == milter.Continue || v.Action == milter.Skip)
	}
	if v, err := h.header(); !goesOn(v, err) {
		return v, err
	}
	if v, err := h.l.conn.EndOfHeader(h.l.s.endMacros(h.t, h.msgid)); !goesOn(v, err) {
		return v, err
	}
	if first, _ := h.r.Peek(1); len(first) > 0 && first[0] == '\n' {
		h.r.Discard(1)
	}
	for h.l.conn.Wants(milter.AtBody) {
		piece, err := h.r.Peek(h.r.Size())
		if err != nil && !errors.Is(err, io.EOF) {
			return milter.Verdict{}, fmt.Errorf("%w: %w", errStore, err)
		}
		if len(piece) == 0 {
			break
		}
		if v, err := h.l.conn.Body(piece); !goesOn(v, err) {
			return v, err
		}
		h.r.Discard(len(piece))
	}
	return milter.Verdict{}, nil
}

// header shows the fields.
func (h *shown) header() (milter.Verdict, error) {
	for f, err := range message.Fields(h.r, maxField) {
		if err != nil {
			return milter.Verdict{}, fmt.Errorf("%w: %w", errStore, err)
		}
		if len(h.ours) > 0 && string(f.Text) == string(h.ours) {
			h.ours = nil
			continue
		}
		if f.Is("Message-ID") {
			id := f.Value()
			h.msgid = string(id[:min(len(id), maxMsgID)])
		}
		_, value, _ := strings.Cut(string(f.Text), ":")
		v, err := h.l.conn.Header(string(f.Name()), strings.TrimSuffix(value, "\n"))
		if err != nil || v.Action != milter.Continue && v.Action != milter.Skip {
			return v, err
		}
	}
	return milter.Verdict{}, nil
}
