package smtpd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postoffice/applets/smtpd/rates"
	"postoffice/internal/smtp"
)

// roomStep is how many octets of a message come between two looks at the room.
const roomStep = 256 << 10

// errNoRoom is the end of a message for which there is no room any more.
var errNoRoom = errors.New("no room for what is being received")

// claim asks for the room for n more octets of the session's message, step by
// step.
func (s *session) claim(n int) error {
	s.coming += int64(n)
	for s.coming-s.claimed >= roomStep {
		spare, err := s.o.Queue.Room(s.server.ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errNoRoom, err)
		}
		if s.claimed == 0 {
			s.holder = s.holderOf()
		}
		u, ok := &s.server.places.Unfinished, true
		switch s.holder.kind {
		case network:
			ok = u.Take(s.holder.addr, roomStep, spare)
		case program:
			ok = u.TakeBy(s.holder.user, roomStep, spare)
		}
		if !ok {
			return errNoRoom
		}
		s.claimed += roomStep
	}
	return nil
}

// unclaim gives back what the session's message has of the room for messages that
// are being received.
func (s *session) unclaim() {
	if u := &s.server.places.Unfinished; s.claimed > 0 {
		switch s.holder.kind {
		case network:
			u.Drop(s.holder.addr, s.claimed)
		case program:
			u.DropBy(s.holder.user, s.claimed)
		}
	}
	s.coming, s.claimed = 0, 0
}

// holder is for whom an unfinished message counts.
type holder struct {
	kind holderKind
	addr netip.Addr
	user int
}

type holderKind uint8

const (
	uncounted holderKind = iota // root, the server's user, and what was in maildrop/, which has its room already
	network
	program
)

// somebody is who comes from this machine by TCP: the kernel doesn't say who that is.
const somebody = -2

// holderOf says for whom the session's message counts.
func (s *session) holderOf() holder {
	c := &s.client
	switch {
	case c.Kind != Local && !c.Local:
		return holder{kind: network, addr: c.Addr.Addr()}
	case c.Kind != Local:
		return holder{kind: program, user: somebody}
	case c.Absent:
		return holder{}
	}
	user, shares := s.o.places().Users().Key(c.UID)
	if !shares {
		return holder{}
	}
	return holder{kind: program, user: user}
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
