package smtpd

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"strings"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

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
