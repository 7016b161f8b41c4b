package smtpd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"syscall"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// data opens the message in the queue; loop then sends 354 and calls receive.
func (s *session) data(ctx context.Context, _ string) smtp.Reply {
	if len(s.tx.Recipients) == 0 {
		if s.refused > 0 {
			return smtp.Reply{Code: 554, Status: "5.5.1", Text: "no valid recipients"}
		}
		return smtp.Reply{Code: 503, Status: "5.5.1", Text: "RCPT comes first"}
	}
	in, err := s.o.Queue.Begin(ctx, &s.tx)
	if err != nil {
		return s.notQueued(ctx, err)
	}
	s.incoming = in
	return smtp.Reply{Code: 354, Text: "end the message with a line that is a dot"}
}

// receive reads the message up to its final dot and returns the reply to that.
// An error is the connection's, and then nothing was queued.
func (s *session) receive(ctx context.Context) (smtp.Reply, error) {
	s.wire.startData()
	defer s.wire.endData()
	if err := s.wire.some(); err != nil {
		return smtp.Reply{}, err
	}
	h := newHeader(s)
	defer h.free()
	info, err := smtp.ReadData(h, s.wire.in, smtp.DataOptions{Limit: s.o.Size})
	if err != nil {
		return smtp.Reply{}, err
	}
	r := s.verdict(info)
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
	return r, nil
}

// verdict is what speaks against a message that was read to its end, apart
// from trouble of ours.
func (s *session) verdict(info smtp.DataInfo) smtp.Reply {
	switch {
	case info.TooBig:
		return s.tooBig()
	case errors.Is(info.WriteErr, errLoop):
		return smtp.Reply{Code: 554, Status: "5.4.6", Text: "message has passed too many hosts, it is looping"}
	case s.o.RejectBareNewline && info.BareNewline:
		return smtp.Reply{Code: 550, Status: "5.5.2", Text: "CR or LF stands alone in the message"}
	}
	return smtp.Reply{}
}

// commit makes the message durable. The context that ends with the server does
// not end this: the client is told what happened.
func (s *session) commit(ctx context.Context, h *header, info smtp.DataInfo) smtp.Reply {
	err := info.WriteErr
	if err == nil {
		err = h.finish()
	}
	if err == nil {
		err = s.incoming.Commit(context.WithoutCancel(ctx))
	}
	if err != nil {
		return s.notQueued(ctx, err)
	}
	id := s.incoming.ID()
	s.incoming = nil
	s.refusals, s.commands = 0, 0
	if id != s.tx.ID { // it was taken, by a clock that was set back
		s.log(ctx, slog.LevelInfo, "queue ID changed", maillog.Reason("the message goes on as "+id))
		s.tx.ID = id
	}
	attrs := []slog.Attr{maillog.From(s.tx.ReversePath),
		maillog.NRcpt(len(s.tx.Recipients)), maillog.Size(h.written), maillog.MsgID(string(h.msgid))}
	s.log(ctx, slog.LevelInfo, "message queued", attrs...)
	return smtp.Reply{Code: 250, Status: "2.0.0", Text: "queued as " + id}
}

// full are the errors that mean lack of room (A29).
var full = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

// notQueued is the answer when the queue could not take the message.
func (s *session) notQueued(ctx context.Context, err error) smtp.Reply {
	r := smtp.Reply{Code: 451, Status: "4.3.0", Text: "could not store the message, try again later"}
	if isAny(err, full) || errors.Is(err, io.ErrShortWrite) {
		r = smtp.Reply{Code: 452, Status: "4.3.1", Text: "no room for the message, try again later"}
	}
	s.log(ctx, slog.LevelWarn, "message not queued", maillog.From(s.tx.ReversePath), maillog.Reply(r), maillog.Err(err))
	return r
}
