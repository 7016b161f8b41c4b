package smtpd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"postoffice/applets/smtpd/edits"
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
	v, err := s.verdict(ctx, h, info)
	r := v.Reply
	switch {
	case err != nil:
		r = s.notQueued(ctx, err)
	case r.IsZero():
		r = s.commit(ctx, h, v)
	default:
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

// limits are those of a message. Of one by TCP that is too big as much again is read; a
// program at the socket is waited for to the end, since nothing but its own time is lost.
func (s *session) limits() smtp.DataOptions {
	o := smtp.DataOptions{Limit: s.o.Size}
	if s.client.Kind != Local {
		o.Beyond = max(s.o.Size, leastBeyond)
	}
	return o
}

// verdict is what is said of a message that was read to its end. An error is trouble of
// ours.
func (s *session) verdict(ctx context.Context, h *header, info smtp.DataInfo) (Verdict, error) {
	if r := s.objection(ctx, h, info); !r.IsZero() {
		return Refusal(r), nil
	}
	err := info.WriteErr
	if err == nil {
		err = h.finish()
	}
	if err != nil {
		return Verdict{}, err
	}
	return s.checker.Message(ctx, &s.tx, Message{ReaderAt: s.incoming, Size: h.written, Trace: h.trace, from: s}), nil
}

// objection is what speaks against a message before the Checker is asked.
func (s *session) objection(ctx context.Context, h *header, info smtp.DataInfo) smtp.Reply {
	switch {
	case info.TooBig:
		return s.tooBig()
	case errors.Is(info.WriteErr, errLoop):
		return smtp.Reply{Code: 554, Status: "5.4.6", Text: "message has passed too many hosts, it is looping: look at its Received fields"} // option hops
	case s.o.RejectBareNewline && info.BareNewline:
		return smtp.Reply{Code: 550, Status: "5.5.2", Text: "CR or LF stands alone in the message, end lines with CR LF"} // option bare-newline
	case info.WriteErr == nil && s.deliveredBefore(ctx, h):
		return smtp.Reply{Code: 554, Status: "5.4.6", Text: "message was delivered here before, it is looping: look at its Delivered-To fields"} // a stranger's message that all its mailboxes had
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
func (s *session) commit(ctx context.Context, h *header, v Verdict) smtp.Reply {
	err := s.marked(&v)
	if err == nil {
		err = s.rewrite(ctx, h, v.Edits)
	}
	if v.Discard == "" && len(s.tx.Recipients) == 0 {
		v.Discard = "a filter took all recipients away"
	}
	if err == nil && v.Discard != "" {
		return s.discard(ctx, h, v.Discard)
	}
	if err == nil {
		err = s.claimRest()
	}
	if v.Hold != "" && err == nil {
		s.incoming.Hold(v.Hold)
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
	s.taken()
	if id != s.tx.ID { // it was taken, by a clock that was set back
		s.log(ctx, slog.LevelInfo, "queue ID changed", maillog.Reason("the message goes on as "+id))
		s.tx.ID = id
	}
	attrs := []slog.Attr{maillog.From(s.tx.ReversePath),
		maillog.NRcpt(len(s.tx.Recipients)), maillog.Size(h.written), maillog.MsgID(string(h.msgid))}
	if reason := cmp.Or(v.Mark.Reason, s.mark.Reason); reason != "" {
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

// aborted tells the Checker that a transaction ends whose message was not taken.
func (s *session) aborted() {
	if s.begun {
		s.begun = false
		s.checker.Aborted()
	}
}

// marked adds to the edits of a message the mark that it gets.
func (s *session) marked(v *Verdict) error {
	if v.Mark.Reason == "" {
		return nil
	}
	if v.Edits == nil {
		v.Edits = &edits.Edits{}
	}
	s.tx.Mark.Folder = cmp.Or(s.tx.Mark.Folder, v.Mark.Folder)
	return v.Edits.Spam(v.Mark.Reason)
}

// taken notes that a message was taken.
func (s *session) taken() { s.begun, s.refusals, s.commands, s.useful = false, 0, 0, true }

// discard throws a message away and answers as if it were queued.
func (s *session) discard(ctx context.Context, h *header, why string) smtp.Reply {
	s.taken()
	s.log(ctx, slog.LevelInfo, "message discarded", maillog.From(s.tx.ReversePath), maillog.NRcpt(len(s.tx.Recipients)),
		maillog.Size(h.written), maillog.MsgID(string(h.msgid)), maillog.Reason(why))
	return smtp.Reply{Code: 250, Status: "2.0.0", Text: "queued as " + s.tx.ID} // a filter wants nobody to have the message, nor its sender to know
}

// rewrite makes of the message what edits say: another copy, in whose place the first one
// is aborted.
func (s *session) rewrite(ctx context.Context, h *header, e *edits.Edits) error {
	if !e.Any() {
		return nil
	}
	if to := e.Sender; to != nil {
		s.tx.ReversePath, s.tx.Params = to.Path, to.Merge(s.tx.Params)
	}
	if s.tx.Recipients = e.Recipients(s.tx.Recipients); len(s.tx.Recipients) == 0 {
		return nil
	}
	first, size := s.incoming, h.written
	second, err := first.Instead(ctx, &s.tx)
	if err != nil {
		return err
	}
	s.putAside()
	s.incoming, h.written = second, 0
	if _, err := io.Copy(struct{ io.Writer }{(*sink)(h)}, e.Reader(first, size)); err != nil {
		return err
	}
	s.putAway()
	return nil
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

// maxDrop is how many octets of a chunk that is refused are read before the reply. At
// the reply to a larger one the session ends.
const maxDrop = 256 << 20

// A chunk is what follows a line with BDAT (RFC 3030 section 2): octets that are
// counted, and no commands whatever comes of them.
type chunk struct {
	size int64
	last bool // the message ends with it
}

// isBDAT says whether a chunk follows the line, which may be wrong in itself.
func isBDAT(line string) bool {
	const verb = "BDAT"
	return len(line) >= len(verb) && smtp.EqualFold(line[:len(verb)], verb) && (len(line) == len(verb) || line[len(verb)] <= ' ')
}

// parseChunk reads the argument of BDAT: 1 to 19 decimal digits, and LAST or nothing
// (A8).
func parseChunk(arg string) (c chunk, ok bool) {
	size, word, more := strings.Cut(strings.Trim(arg, " "), " ")
	if more && !smtp.EqualFold(strings.TrimLeft(word, " "), "LAST") {
		return chunk{}, false
	}
	if size == "" || len(size) > 19 || strings.Trim(size, "0123456789") != "" {
		return chunk{}, false
	}
	n, _ := strconv.ParseUint(size, 10, 64) // 19 digits fit
	return chunk{int64(min(n, math.MaxInt64)), more}, true
}

// arriving is a message that comes in chunks. Between two of them the time of a
// message goes on.
type arriving struct {
	header *header
	reader *smtp.ChunkReader
}

// bdat looks at a chunk before its octets, and opens the message in the queue with the
// first one. loop then calls chunk, whatever this says: the zero Reply takes them.
func (s *session) bdat(ctx context.Context, arg string) smtp.Reply {
	c, ok := parseChunk(arg)
	switch {
	case !ok:
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "want BDAT, a number of octets, and LAST if no more come; this ends the session, since what follows can't be told apart"} // BDAT with anything else, A8
	case s.o.Size > 0 && c.size > s.o.Size:
		return s.tooBig()
	case c.size == 0 && !c.last:
		s.commands++ // it brings nothing
	}
	if s.phase == chunked {
		return smtp.Reply{}
	}
	if r := s.open(ctx); !r.IsZero() {
		s.reset() // as chunk does where a chunk is refused: the log has it already
		return r
	}
	h := newHeader(s)
	s.arriving = &arriving{h, smtp.NewChunkReader(h, smtp.DataOptions{Limit: s.o.Size})}
	s.phase = chunked
	s.wire.StartData()
	s.show(Data)
	return smtp.Reply{}
}

// chunk reads the octets that follow a line with BDAT, to which r was the answer, and
// returns the reply. It is the session's last where nobody knows where the next
// command begins, or it is too far away. An error is the connection's.
func (s *session) chunk(ctx context.Context, line string, r smtp.Reply) (smtp.Reply, error) {
	c, ok := parseChunk(line[len("BDAT"):])
	switch {
	case r.Code == 421:
		return r, nil
	case !ok:
		s.over = true
		return r, nil
	case r.IsZero():
		return s.take(ctx, c)
	}
	if s.phase&opened != 0 { // a message without one of its chunks is none, and the next may be on its way
		s.log(ctx, slog.LevelInfo, "message refused", maillog.From(s.tx.ReversePath), maillog.NRcpt(len(s.tx.Recipients)), maillog.Reply(r))
		s.reset()
	}
	if s.over = c.size > maxDrop; s.over {
		return r, nil
	}
	s.wire.StartData()
	defer s.wire.EndData()
	if err := s.await(c); err != nil {
		return smtp.Reply{}, err
	}
	return r, smtp.DropChunk(s.wire.Reader(), c.size)
}

// await returns when all of a chunk is there, or some of it.
func (s *session) await(c chunk) error {
	if c.size <= int64(s.wire.Waiting()) {
		return nil
	}
	return s.wire.Some()
}

// take reads a chunk of the message, and ends that with the last one or with the first
// that can't be written.
func (s *session) take(ctx context.Context, c chunk) (smtp.Reply, error) {
	if err := s.await(c); err != nil {
		return smtp.Reply{}, err
	}
	m := s.arriving
	info, err := m.reader.Read(s.wire.Reader(), c.size)
	switch {
	case err != nil:
		return smtp.Reply{}, err
	case c.last:
		info = m.reader.End()
	case !info.TooBig && info.WriteErr == nil:
		return smtp.Reply{Code: 250, Status: "2.0.0", Text: "chunk taken, more may come"}, nil // BDAT without LAST
	}
	return s.conclude(ctx, m.header, info), nil
}
