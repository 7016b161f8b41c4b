package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"postoffice/applets/smtpd/rates"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

const (
	maxRoomStep   = 256 << 10 // octets of a message that come between two looks at the room
	leastRoomStep = 32 << 10  // the same where there is little; so much is in memory before it is on the disk
	roomParts     = 2048      // of the room, one of which may come between two looks
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
	text, _ := smtp.FindParam(params, "SIZE")
	size, _ := strconv.ParseInt(text, 10, 64) // it was checked; too large a number is the largest
	err := s.fits(ctx, peer.Amount{Octets: max(size, 1), Files: 1})
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
	free, err := s.o.Queue.Room(ctx)
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

// holderOf says for whom the client's mail counts. It is found out once for each
// message: another client may be passed on then.
func (s *session) holderOf() peer.Holder {
	if !s.share.known {
		s.share.known = true
		if c := &s.client; c.Kind == Local {
			s.share.by = s.o.places().Users().Holder(c.UID)
		} else {
			s.share.by = peer.HolderAt(c.Addr.Addr(), c.Local)
		}
	}
	return s.share.by
}

// share is what the transaction has of the room.
type share struct {
	by      peer.Holder // for whom it counts
	known   bool        // by is
	step    int64       // octets until the next look, known from MAIL on
	copies  int64       // how often each octet is written; 0: no message is open
	coming  int64       // octets that have come
	claimed peer.Amount // what was asked for, by steps
}

// claim asks for the room for n more octets of the session's message, step by step.
// What was left in maildrop/ has its room already.
func (s *session) claim(n int) error {
	h := &s.share
	if h.copies == 0 {
		h.copies = 1 + int64(len(s.incoming.More()))
	}
	h.coming += int64(n) * h.copies
	for h.step = max(h.step, leastRoomStep); h.coming-h.claimed.Octets >= h.step; {
		if err := s.claimOf(peer.Amount{Octets: h.step}, false); err != nil {
			return err
		}
	}
	return nil
}

// claimRest asks for what is left at the end of the message, so that however many small
// ones come at once nobody has more in the queue than they may. Of a large one that has
// come so far nothing is refused any more.
func (s *session) claimRest() error {
	h := &s.share
	return s.claimOf(peer.Amount{Octets: max(h.coming-h.claimed.Octets, 0), Files: max(h.copies, 1)}, h.claimed.Octets > 0)
}

// claimOf counts n if there is room; with late also if it is more than a share.
func (s *session) claimOf(n peer.Amount, late bool) error {
	ctx := s.server.ctx
	free, err := s.o.Queue.Room(ctx)
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
	s.share.claimed.Octets += n.Octets
	s.share.claimed.Files += n.Files
	return nil
}

// unclaim gives back what the session's message has of the room: it is in the queue,
// which counts it, or it is gone.
func (s *session) unclaim() {
	h := &s.share
	if h.claimed != (peer.Amount{}) && h.by.Counted() && !s.client.Absent {
		s.o.Queue.Held(s.server.ctx).Add(h.by, peer.Amount{}.Minus(h.claimed))
	}
	*h = share{}
}

// counted says whether the options on how fast clients come hold for the client.
func (s *session) counted() bool {
	c := &s.client
	return c.Kind != Local && !c.Local && !c.Trusted && !s.unknown
}

// tooFast is the answer to a stranger who sends more of something in a time than the
// options allow, else the zero Reply. One more is counted then, but for unknown
// recipients: which they are turns out afterwards.
func (s *session) tooFast(k rates.Kind) smtp.Reply {
	if !s.counted() {
		return smtp.Reply{}
	}
	ask := s.server.rates.Take
	if k == rates.Unknown {
		ask = s.server.rates.Look
	}
	r, ok := ask(time.Now(), s.client.Addr.Addr(), k, s.o.Rates)
	if ok {
		return smtp.Reply{}
	}
	return smtp.Reply{Code: 450, Status: "4.7.1", Text: fmt.Sprintf("too many %s from your address or its network lately, try again in %s", k, inSeconds(r.Wait))} // options rate-messages, rate-recipients and rate-unknown
}

// Limited are the networks that come faster than the options allow, or kept others out,
// and are refused something now.
func (s *Server) Limited() []rates.Limited {
	now := time.Now()
	return append(s.rates.Limited(now, s.options.Load().Rates), s.rates.Limited(now, idleLimits)...)
}
