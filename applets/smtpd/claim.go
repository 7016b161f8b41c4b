package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"postoffice/applets/smtpd/edits"
	"postoffice/applets/smtpd/rates"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

const (
	maxRoomStep   = 256 << 10 // octets of a message that come between two looks at the room
	leastRoomStep = 32 << 10  // the same where there is little; so much is in memory before it is on the disk
	roomParts     = 2048      // of the room, one of which may come between two looks

	plentyOctets = 4 << 30               // that are free where a look is believed for a while
	plentyFiles  = 100_000               // the same of files
	roomAge      = 10 * time.Millisecond // that while, in which so much isn't used up
)

// roomStep is how many octets come until the room is looked at again, of which so many
// are free: they are on the disk, and count for nobody yet.
func roomStep(free int64) int64 { return min(max(free/roomParts, leastRoomStep), maxRoomStep) }

// errNoRoom is the end of a message for which there is no room any more.
var errNoRoom = errors.New("no room for what is being received")

// shareError says that a client has its share of the room for mail.
type shareError struct {
	holder peer.Holder
	has    peer.Amount
	free   int64
}

func (e *shareError) Error() string {
	return fmt.Sprintf("%d octets in %d messages of theirs are in the queue or on their way into it, their share while %d more are free", e.has.Octets, e.has.Files, e.free)
}

func (*shareError) Is(target error) bool { return target == errNoRoom }

// reply tells the client what to do.
func (e *shareError) reply() smtp.Reply {
	if e.holder.Stranger() {
		return smtp.Reply{Code: 452, Status: "4.3.1", Text: "too much mail from your network, or from elsewhere, waits here, try again later"} // the share of a network of the room for mail
	}
	if e.has.Files == 0 {
		return smtp.Reply{Code: 452, Status: "4.3.1", Text: "a message has at most half of the room that is left for mail, send it in parts or try again later"} // the share of a user, who has nothing in the queue
	}
	return smtp.Reply{Code: 452, Status: "4.3.1", Text: fmt.Sprintf("%d messages of yours with %d KiB wait in the queue, your share of its room: "+
		"see them with mailq, have root remove some (postoffice queue remove), or try again later", e.has.Files, e.has.Octets>>10)} // the share of a user of the room for mail
}

// room is what keeps a message out for which there is no room, of the size that its
// client tells (RFC 1870 section 6.1); else the zero Reply.
func (s *session) room(ctx context.Context, params []smtp.Param) smtp.Reply {
	err := s.fits(ctx, peer.Amount{Octets: max(declared(params), 1), Files: 1})
	if err == nil {
		return smtp.Reply{}
	}
	reason := "clients are told to come again: make room on the queue's file system"
	r := smtp.Reply{Code: 452, Status: "4.3.1", Text: "no room for mail now, try again later"} // option minfree
	if share := (*shareError)(nil); errors.As(err, &share) {
		reason = "only they are told to come again: mailq shows what waits, postoffice queue remove removes it"
		r = share.reply()
	}
	s.log(ctx, slog.LevelWarn, "no room for mail", maillog.Err(err), maillog.Reason(reason))
	return r
}

// fits says why there is no room for what the client is to send. Who left a message
// in maildrop/ has its room there, until it is in the queue.
func (s *session) fits(ctx context.Context, want peer.Amount) error {
	free, err := s.freeRoom(ctx)
	if err != nil {
		return err
	}
	if want.Octets > free.Octets {
		return fmt.Errorf("%w: %d octets are to come, there is room for %d", errNoRoom, want.Octets, free.Octets)
	}
	s.share.step = roomStep(free.Octets)
	h := s.holderOf()
	if !h.Counted() {
		return nil
	}
	room := free
	if s.client.Absent {
		room = peer.Amount{Octets: free.Octets + want.Octets, Files: free.Files}
	}
	if held := s.o.Queue.Held(ctx); !held.Fits(h, want, room) {
		return &shareError{h, held.Of(h), free.Octets}
	}
	return nil
}

// freeRoom is what there is room for. A small message where there is plenty needs one
// look at the disk.
func (s *session) freeRoom(ctx context.Context) (peer.Amount, error) {
	h := &s.share
	if h.free.Octets >= plentyOctets && h.free.Files >= plentyFiles && time.Since(h.looked) < roomAge {
		return h.free, nil
	}
	free, err := s.o.Queue.Room(ctx)
	if err == nil {
		h.free, h.looked = free, time.Now()
	}
	return free, err
}

// holderOf says for whom the client's mail counts. It is found out once for each
// message: another client may be passed on then.
func (s *session) holderOf() peer.Holder {
	if !s.share.known {
		s.share.known = true
		switch c := &s.client; {
		case c.Kind == Local:
			s.share.by = s.o.places().Users().Holder(c.UID)
		case c.Owner != nil:
			s.share.by = s.o.places().Users().Holder(*c.Owner)
		default:
			s.share.by = peer.HolderAt(c.Addr.Addr(), c.Local)
		}
	}
	return s.share.by
}

// share is what the transaction has of the room.
type share struct {
	by     peer.Holder // for whom it counts
	known  bool        // by is
	free   peer.Amount // of which it is a part, at the last look
	looked time.Time   // when that was
	step   int64       // octets until the next look, known from MAIL on
	text   text        // the message
	aside  text        // what is written for it beside it
}

// text is what is written of a message.
type text struct {
	copies  int64       // how often each octet is written; 0: no message is open
	coming  int64       // octets that have come
	claimed peer.Amount // what was asked for, by steps
}

// claim asks for the room for n more octets of the session's message, step by step.
// What was left in maildrop/ has its room already.
func (s *session) claim(n int) error {
	t := &s.share.text
	if t.copies == 0 {
		t.copies = 1 + int64(len(s.incoming.More()))
	}
	return s.claimSteps(t, int64(n)*t.copies)
}

func (s *session) claimSteps(t *text, n int64) error {
	h := &s.share
	t.coming += n
	for h.step = max(h.step, leastRoomStep); t.coming-t.claimed.Octets >= h.step; {
		if err := s.claimOf(t, peer.Amount{Octets: h.step}, false); err != nil {
			return err
		}
	}
	return nil
}

// claimRest asks for what is left at the end of the message, so that however many small
// ones come at once nobody has more in the queue than they may. Of a large one that has
// come so far nothing is refused any more.
func (s *session) claimRest() error {
	t := &s.share.text
	return s.claimOf(t, peer.Amount{Octets: max(t.coming-t.claimed.Octets, 0), Files: max(t.copies, 1)}, t.claimed.Octets > 0)
}

// claimOf counts n if there is room; with late also if it is more than a share.
func (s *session) claimOf(t *text, n peer.Amount, late bool) error {
	ctx := s.server.ctx
	free, err := s.freeRoom(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	if by := s.holderOf(); by.Counted() && !s.client.Absent {
		switch all := s.o.Queue.Held(ctx); {
		case late:
			all.Add(by, n)
		case !all.Take(by, n, free):
			return &shareError{by, all.Of(by), free.Octets}
		}
	}
	s.share.step = roomStep(free.Octets)
	t.claimed.Octets += n.Octets
	t.claimed.Files += n.Files
	return nil
}

// unclaim gives back what the session's message has of the room: it is in the queue,
// which counts it, or it is gone.
func (s *session) unclaim() {
	s.giveBack(&s.share.text)
	s.giveBack(&s.share.aside)
	s.share = share{}
}

func (s *session) giveBack(t *text) {
	if h := &s.share; t.claimed != (peer.Amount{}) && h.by.Counted() && !s.client.Absent {
		s.o.Queue.Held(s.server.ctx).Add(h.by, peer.Amount{}.Minus(t.claimed))
	}
	*t = text{}
}

// putAside makes the session's message one that is there beside another, which counts as
// the message from now on.
func (s *session) putAside() {
	h := &s.share
	s.aside, s.incoming = append(s.aside, s.incoming), nil
	h.aside.coming += h.text.coming
	h.aside.claimed.Octets += h.text.claimed.Octets
	h.aside.claimed.Files += h.text.claimed.Files
	h.text = text{}
}

// putAway ends what is there beside the message.
func (s *session) putAway() {
	for _, in := range s.aside {
		in.Abort()
	}
	s.aside = nil
	s.giveBack(&s.share.aside)
}

// A Message is a message that has come to its end, as a Checker may read it.
type Message struct {
	io.ReaderAt
	Size  int64 // octets
	Trace int   // octets of our own trace field, at the front
	from  source
}

// NewMessage is a message that is no session's: with so many octets of our own trace field
// at its front, and with texts that begin makes.
func NewMessage(r io.ReaderAt, size int64, trace int, begin func() (Scratch, error)) Message {
	return Message{r, size, trace, elsewhere(begin)}
}

// elsewhere is the source of such a message.
type elsewhere func() (Scratch, error)

func (begin elsewhere) scratch() (Scratch, error) { return begin() }

// Scratch begins a text that is kept as the message is, on the disk where it is long, and
// for which there has to be room. It is gone with the message.
func (m Message) Scratch() (Scratch, error) { return m.from.scratch() }

// A Scratch is a text that belongs to a message: lines that end in LF.
type Scratch interface {
	io.Writer
	edits.Body
}

// source is where a Message is.
type source interface {
	scratch() (Scratch, error)
}

// scratch begins a text beside the message.
func (s *session) scratch() (Scratch, error) {
	in, err := s.incoming.Instead(s.server.ctx, &s.tx)
	if err != nil {
		return nil, err
	}
	s.aside = append(s.aside, in)
	return &scratch{Incoming: in, s: s}, nil
}

// scratch is a text beside the session's message.
type scratch struct {
	Incoming
	s    *session
	size int64
}

func (t *scratch) Size() int64 { return t.size }

func (t *scratch) Write(p []byte) (int, error) {
	if err := t.s.claimSteps(&t.s.share.aside, int64(len(p))*int64(1+len(t.More()))); err != nil {
		return 0, err
	}
	n, err := t.Incoming.Write(p)
	t.size += int64(n)
	return n, err
}

// counted says whether the options on how fast clients come hold for the client.
func (s *session) counted() bool {
	c := &s.client
	return c.Kind != Local && !c.Local && !c.Trusted && !s.unknown
}

// tooFast is the answer to a stranger who sends more of something in a time than the
// options allow, else the zero Reply. One more is counted then, but for unknown
// recipients and refused logins: which they are turns out afterwards.
func (s *session) tooFast(k rates.Kind) smtp.Reply {
	if !s.counted() {
		return smtp.Reply{}
	}
	ask, limits := s.server.rates.Take, s.o.Rates
	switch k {
	case rates.Unknown:
		ask = s.server.rates.Look
	case rates.Logins:
		ask, limits = s.server.rates.Look, s.o.loginLimits()
	}
	r, ok := ask(time.Now(), s.client.Addr.Addr(), k, limits)
	switch {
	case ok:
		return smtp.Reply{}
	case k == rates.Logins:
		return smtp.Reply{Code: 454, Status: "4.7.0", Text: "too many logins from your address or its network were refused lately, look at name and password and try again in " + inSeconds(r.Wait)} // option rate-logins
	}
	return smtp.Reply{Code: 450, Status: "4.7.1", Text: fmt.Sprintf("too many %s from your address or its network lately, try again in %s", k, inSeconds(r.Wait))} // options rate-messages, rate-recipients and rate-unknown
}

// Rates is the table of how fast strangers come.
func (s *Server) Rates() *rates.Table { return &s.rates }

// Limited are the networks that come faster than the options allow, or kept others out,
// and are refused something now.
func (s *Server) Limited() []rates.Limited {
	now := time.Now()
	o := s.options.Load()
	return slices.Concat(s.rates.Limited(now, o.Rates), s.rates.Limited(now, o.loginLimits()), s.rates.Limited(now, idleLimits))
}
