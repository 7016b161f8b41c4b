package smtpd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"syscall"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// data opens the message in the queue; loop then sends 354 and calls receive.
func (s *session) data(ctx context.Context, _ string) smtp.Reply {
	if r := s.open(ctx); !r.IsZero() {
		return r
	}
	return smtp.Reply{Code: 354, Text: "end the message with a line that is a dot"} // DATA
}

// open begins the message in the queue, or says what speaks against that.
func (s *session) open(ctx context.Context) smtp.Reply {
	if len(s.tx.Recipients) == 0 {
		if s.refused > 0 {
			return smtp.Reply{Code: 554, Status: "5.5.1", Text: "no recipient was taken, see the replies to RCPT"} // DATA or BDAT when all were refused
		}
		return smtp.Reply{Code: 503, Status: "5.5.1", Text: "RCPT comes first"} // DATA or BDAT without a recipient
	}
	if r := s.ask(ctx, func(ctx context.Context) Verdict { return s.checker.Data(ctx, &s.tx) }).Reply; !r.IsZero() {
		s.log(ctx, slog.LevelInfo, "message refused", maillog.From(s.tx.ReversePath), maillog.NRcpt(len(s.tx.Recipients)), maillog.Reply(r))
		return r
	}
	s.tx.Recipients, s.reported = append(s.tx.Recipients, s.reported...), nil
	in, err := s.o.Queue.Begin(ctx, &s.tx)
	if err != nil {
		return s.notQueued(ctx, err)
	}
	s.incoming = in
	return smtp.Reply{}
}

// receive reads the message up to its final dot and returns the reply to that.
// An error is the connection's, and then nothing was queued.
func (s *session) receive(ctx context.Context) (smtp.Reply, error) {
	s.wire.StartData()
	defer s.wire.EndData()
	if err := s.wire.Some(); err != nil {
		return smtp.Reply{}, err
	}
	h := newHeader(s)
	defer h.free()
	info, endless := smtp.ReadData(h, s.wire.Reader(), s.limits())
	if endless != nil && endless != smtp.ErrNoEnd {
		return smtp.Reply{}, endless
	}
	s.over = endless != nil
	return s.conclude(ctx, h, info), nil
}

// conclude ends the message, and the transaction, and returns the reply.
func (s *session) conclude(ctx context.Context, h *header, info smtp.DataInfo) smtp.Reply {
	r := s.verdict(ctx, h, info)
	if r.IsZero() {
		r = s.commit(ctx, h, info)
	} else {
		s.log(ctx, slog.LevelInfo, "message refused", maillog.From(s.tx.ReversePath),
			maillog.NRcpt(len(s.tx.Recipients)), maillog.Size(info.Octets), maillog.Reply(r))
	}
	if r.Permanent() {
		s.refusals++
	}
	s.reset()
	return r
}

// leastBeyond is how much of a message beyond option size is read at least, in octets,
// so that a client that looks at no reply before the end hears why it is refused.
const leastBeyond = 10 << 20

// limits are those of a message. Of a stranger's that is too big as much again is
// read; a program of this machine is waited for to the end, since nothing but its own
// time is lost.
func (s *session) limits() smtp.DataOptions {
	o := smtp.DataOptions{Limit: s.o.Size}
	if s.client.Kind == Relay {
		o.Beyond = max(s.o.Size, leastBeyond)
	}
	return o
}

// verdict is what speaks against a message that was read to its end, apart
// from trouble of ours.
func (s *session) verdict(ctx context.Context, h *header, info smtp.DataInfo) smtp.Reply {
	switch {
	case info.TooBig:
		return s.tooBig()
	case errors.Is(info.WriteErr, errLoop):
		return smtp.Reply{Code: 554, Status: "5.4.6", Text: "message has passed too many hosts, it is looping: look at its Received fields"} // option hops
	case s.o.RejectBareNewline && info.BareNewline:
		return smtp.Reply{Code: 550, Status: "5.5.2", Text: "CR or LF stands alone in the message, end lines with CR LF"} // option bare-newline
	case info.WriteErr == nil && s.deliveredBefore(ctx, h):
		return smtp.Reply{Code: 554, Status: "5.4.6", Text: "message was delivered here before, it is looping: look at its Delivered-To fields"} // a stranger's message that all its mailboxes had
	case info.WriteErr == nil:
		return s.ask(ctx, func(ctx context.Context) Verdict { return s.checker.Message(ctx, &s.tx) }).Reply
	}
	return smtp.Reply{}
}

// deliveredBefore reports whether the header says that each recipient's mailbox
// had the message. It would be returned from here, to whoever its reverse-path
// names; refused, it stays with who sends it.
func (s *session) deliveredBefore(ctx context.Context, h *header) bool {
	if len(h.delivered) == 0 || s.o.Mailbox == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, policyWait)
	defer cancel()
	for _, rc := range s.tx.Recipients {
		address, ok := s.o.Mailbox(ctx, rc.Path)
		if !ok || !slices.Contains(h.delivered, smtp.Fold(address)) {
			return false
		}
	}
	return true
}

// commit makes the message durable. The context that ends with the server does
// not end this: the client is told what happened.
func (s *session) commit(ctx context.Context, h *header, info smtp.DataInfo) smtp.Reply {
	err := info.WriteErr
	if err == nil {
		err = h.finish()
	}
	if err == nil {
		err = s.claimRest()
	}
	if err == nil {
		err = s.incoming.Commit(context.WithoutCancel(ctx))
	}
	if err != nil {
		return s.notQueued(ctx, err)
	}
	in := s.incoming
	id := in.ID()
	s.incoming = nil
	s.refusals, s.commands, s.useful = 0, 0, true
	if id != s.tx.ID { // it was taken, by a clock that was set back
		s.log(ctx, slog.LevelInfo, "queue ID changed", maillog.Reason("the message goes on as "+id))
		s.tx.ID = id
	}
	attrs := []slog.Attr{maillog.From(s.tx.ReversePath),
		maillog.NRcpt(len(s.tx.Recipients)), maillog.Size(h.written), maillog.MsgID(string(h.msgid))}
	if reason := s.mark.Reason; reason != "" {
		attrs = append(attrs, maillog.Reason("marked: "+reason))
	}
	s.log(ctx, slog.LevelInfo, "message queued", attrs...)
	in.Release()
	text := "queued as " + id
	for _, more := range in.More() {
		text += "\nand as " + more
	}
	return smtp.Reply{Code: 250, Status: "2.0.0", Text: text} // the message is on disk: "queued as ID"
}

// full are the errors that mean lack of room (A29).
var full = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

// notQueued is the answer when the queue could not take the message.
func (s *session) notQueued(ctx context.Context, err error) smtp.Reply {
	r := smtp.Reply{Code: 451, Status: "4.3.0", Text: "could not store the message, try again later"} // the disk: the log says more
	share := (*shareError)(nil)
	switch {
	case errors.As(err, &share):
		r = share.reply()
	case isAny(err, full) || errors.Is(err, io.ErrShortWrite) || errors.Is(err, errNoRoom):
		r = smtp.Reply{Code: 452, Status: "4.3.1", Text: "no room for the message, try again later"} // option minfree
	}
	s.log(ctx, slog.LevelWarn, "message not queued", maillog.From(s.tx.ReversePath), maillog.Reply(r), maillog.Err(err))
	return r
}
