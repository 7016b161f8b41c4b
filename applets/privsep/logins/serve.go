package logins

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/peer"
)

// Serve answers what comes over a link by a source, until the link ends. The error is
// that of a message that is none.
func Serve(link *net.UnixConn, source login.Source) error {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{ctx: ctx, link: link, source: source, open: map[uint32]*open{}}
	defer s.work.Wait()
	defer link.Close()
	defer cancel()
	buf := make([]byte, maxPacket+1)
	for {
		n, err := link.Read(buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return err
		}
		q, err := decodeQuestion(buf[:n])
		if err != nil {
			return err
		}
		s.take(q)
	}
}

// server is the end that knows.
type server struct {
	ctx    context.Context
	link   *net.UnixConn
	source login.Source
	work   sync.WaitGroup

	mu   sync.Mutex // guards what follows
	open map[uint32]*open
}

// open is an exchange.
type open struct {
	login.Exchange
	from    netip.Prefix // the site of its client
	until   time.Time
	working bool // a step of it is being done
	over    bool // it is to be closed behind that
}

// take does what a question asks for. Steps are done beside each other.
func (s *server) take(q question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch q.verb {
	case mechanisms:
		all := s.source.Mechanisms()
		s.answer(answer{number: q.number, mechanisms: all[:min(len(all), maxWords)]})
	case begin:
		s.sweep()
		if from := siteOf(q.client); s.open[q.number] == nil && s.room(from) {
			s.open[q.number] = &open{Exchange: s.source.Begin(q.client, q.mechanism), from: from, until: time.Now().Add(exchangeWait)}
		}
	case end:
		s.close(q.number)
	case step:
		x := s.open[q.number]
		if x == nil || x.working {
			s.answer(answer{number: q.number, kind: login.Later, err: "too many logins are being checked"})
			return
		}
		x.working = true
		s.work.Go(func() { s.step(q, x) })
	}
}

// siteOf is the network whose exchanges have a share in common.
func siteOf(c login.Client) netip.Prefix {
	if !c.Addr.IsValid() {
		return netip.Prefix{}
	}
	if around := peer.Site(c.Addr.Addr()); len(around) > 0 {
		return around[len(around)-1]
	}
	return peer.Network(c.Addr.Addr())
}

// room reports whether one more exchange of a site may begin: all but its share are for
// others.
func (s *server) room(from netip.Prefix) bool {
	theirs := 0
	for _, x := range s.open {
		if x.from == from {
			theirs++
		}
	}
	return len(s.open) < maxOpen && theirs < maxSite
}

// step does one step of an exchange.
func (s *server) step(q question, x *open) {
	ctx, cancel := context.WithDeadline(s.ctx, x.until)
	defer cancel()
	challenge, r := x.Step(ctx, q.said)
	a := answer{number: q.number, kind: r.Answer, user: r.User}
	if r.Answer == login.Asks {
		a.challenge = challenge
	}
	if r.Err != nil {
		a.err = r.Err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.working = false
	if r.Answer != login.Asks || x.over {
		s.close(q.number)
	}
	s.answer(a)
}

// close ends an exchange, once its step is done.
func (s *server) close(number uint32) {
	x := s.open[number]
	switch {
	case x == nil:
	case x.working:
		x.over = true
	default:
		delete(s.open, number)
		x.Close()
	}
}

// sweep closes what has been open for too long.
func (s *server) sweep() {
	for number, x := range s.open {
		if time.Now().After(x.until) {
			s.close(number)
		}
	}
}

// answer writes one. Where nobody reads it any more the link has ended, which the reader
// sees.
func (s *server) answer(a answer) { s.link.Write(a.append(nil)) }
