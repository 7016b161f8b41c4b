package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"postoffice/applets/smtpd/places"
	"postoffice/applets/smtpd/rates"
	"postoffice/applets/smtpd/wire"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	firstPause   = 100 * time.Millisecond // after an accept that lacked something
	longestPause = time.Second
	pauseLog     = time.Minute          // between two log lines about that
	passingPause = 5 * time.Millisecond // after a connection that died in the backlog
	maxRefusers  = 64                   // refusals being written at a time
	wasteWait    = 5 * time.Minute      // without one of the last places, for an address that had one for nothing
)

// Errors of accept(2) that pass: starved when somebody gives something back,
// passing with the connection that they concern.
var (
	starved = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}
	passing = []error{
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM, syscall.EAGAIN, syscall.EINTR,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ETIMEDOUT,
	}
)

func isAny(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// accept is Serve's loop: it writes to nobody and waits for nobody but the
// listener.
func (s *Server) accept(ctx context.Context, l net.Listener, k Kind) error {
	var pause time.Duration
	var logged time.Time
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.begin(conn, k)
			continue
		}
		if ctx.Err() != nil || s.stopping() {
			return nil
		}
		switch {
		case isAny(err, starved):
			if now := time.Now(); now.Sub(logged) > pauseLog {
				logged = now
				s.options.Load().Log.LogAttrs(ctx, slog.LevelWarn, "accepting paused", maillog.Err(err))
			}
			pause = min(max(2*pause, firstPause), longestPause)
		case isAny(err, passing):
			pause = passingPause
		default:
			return &ListenerError{Addr: l.Addr(), Err: err}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// begin starts the session of a connection just accepted, or its refusal. Whose it is
// that a proxy passes on is known only once its header has come.
func (s *Server) begin(conn net.Conn, k Kind) {
	if p := s.options.Load().passedOn(conn, k); p != nil {
		s.beginPassedOn(p, k)
		return
	}
	place, refusal := s.admit(conn, k)
	if !refusal.reply.IsZero() {
		s.turnAway(conn, k, refusal)
		return
	}
	w := newConn(conn)
	w.owner = refusal.owner
	if !s.register(w) {
		conn.Close()
		place.Free()
		return
	}
	go s.serve(w, k, place)
}

// serve serves a session that has a place, when it is its turn.
func (s *Server) serve(w *conn, k Kind, place places.Place) {
	w.place = place
	defer func() { w.place.Free() }() // XCLIENT changes it
	defer s.unregister(w)
	w.Crowded, w.Paced = place.Crowded, s.options.Load().classOf(w.Raw()) == places.Stranger
	if r := s.await(w, place.Turn, unnamed(w.Raw())); !r.IsZero() {
		s.refuse(w, k, r)
		return
	}
	s.session(w, k, true)
}

// await returns when it is a client's turn: the zero Reply, or what it is told
// instead of a greeting. Until then it costs a goroutine and a timer.
func (s *Server) await(w *conn, turn <-chan bool, who string) smtp.Reply {
	if turn == nil {
		return smtp.Reply{}
	}
	w.seen.set(Seen{Client: who, UID: -1, State: Waiting})
	wait := time.NewTimer(turnWait)
	defer wait.Stop()
	select {
	case <-s.ending:
		return shuttingDown(s.options.Load())
	case <-w.seen.halted():
		return endedByHand()
	case now := <-turn:
		if now {
			return smtp.Reply{}
		}
	case <-wait.C:
	}
	return tooManyOfAddress()
}

// unnamed is a client for the log of which nothing but its address is known.
func unnamed(conn net.Conn) string {
	return (&Client{Addr: asAddr(conn.RemoteAddr())}).String()
}

// admit takes a place for a connection. Who it is that the kernel can't tell gets
// one too, for as long as it takes to say so. A user has one share, by TCP from this
// machine and at the socket.
func (s *Server) admit(conn net.Conn, k Kind) (places.Place, refusal) {
	o := s.options.Load()
	if k == Local {
		uid, _ := s.userOf(conn)
		place, r := s.places.Program(uid, o.places())
		return place, refusal{reply: noPlace(r, o)}
	}
	c := o.classOf(conn)
	if c == places.Here {
		if uid, err := s.ownerOf(conn); err == nil {
			place, r := s.places.Program(uid, o.places())
			return place, refusal{noPlace(r, o), false, &uid}
		}
	}
	return s.enter(asAddr(conn.RemoteAddr()).Addr(), c, o)
}

// refusal is why no session begins, and whose it would be.
type refusal struct {
	reply smtp.Reply
	known bool // the log has it
	owner *int // uid whose the connection is, where it is one of this machine's by TCP and that is known
}

// enter takes a place for a client on TCP, if it doesn't come too fast.
func (s *Server) enter(a netip.Addr, c places.Class, o *Options) (places.Place, refusal) {
	if c == places.Stranger {
		if r, ok := s.rates.Take(time.Now(), a, rates.Connections, o.Rates); !ok {
			return places.Place{}, refusal{reply: smtp.Reply{Code: 421, Status: "4.7.1", Text: "too many connections from your address or its network lately, try again in " + inSeconds(r.Wait)}, known: !r.First} // option rate-connections
		}
	}
	if c == places.Stranger && s.places.Crowded(o.places()) {
		if r, ok := s.rates.Look(time.Now(), a, rates.Idle, idleLimits); !ok {
			return places.Place{}, refusal{reply: noPlace(places.Full, o), known: !r.First}
		}
	}
	place, r := s.places.Client(a, c, o.places())
	return place, refusal{reply: noPlace(r, o)}
}

// idleLimits keep one address from the last quarter of the places for strangers for some
// time, once it has had one for nothing: who comes for the first time finds one there,
// however many others try again and again.
var idleLimits = rates.Limits{Per: wasteWait, Most: [...]int{rates.Idle: 1}}

// wasted counts a session that ends, if it stood in the way of others for long enough and
// brought no message.
func (s *session) wasted() {
	w := s.wire
	if !s.limited || s.useful || !s.counted() || w.Crowded == nil || !w.Crowded() || time.Since(w.seen.is.Begun) < wire.StrangerWait {
		return
	}
	s.server.rates.Count(time.Now(), s.client.Addr.Addr(), rates.Idle, idleLimits)
}

// inSeconds is how long who came too fast has to wait.
func inSeconds(d time.Duration) string {
	n := int((d + time.Second - 1) / time.Second)
	if n <= 1 {
		return "a second"
	}
	return strconv.Itoa(n) + " seconds"
}

// places are how many sessions there may be.
func (o *Options) places() places.Limits {
	return places.Limits{Clients: o.Clients, PerAddress: o.ClientsPerAddress, Programs: o.Programs, Server: o.self, Nobody: o.Nobody}
}

// classOf says which places a client on TCP takes.
func (o *Options) classOf(conn net.Conn) places.Class {
	p, told := conn.(*passedOn)
	ours, trust := o.standing(asAddr(conn.RemoteAddr()).Addr(), told)
	return classFor(ours, trust, p.unknown())
}

func classFor(local, trusted, unknown bool) places.Class {
	switch {
	case local:
		return places.Here
	case unknown:
		return places.Proxy
	case trusted:
		return places.Trusted
	}
	return places.Stranger
}

// standing says whether an address is this machine's, and whether it may relay. One
// that somebody else told is never this machine, whose rights nobody else can give, nor
// trusted for that (A17).
func (o *Options) standing(a netip.Addr, told bool) (local, trusted bool) {
	local, trusted = o.Trusted(a)
	if told && local {
		return false, false
	}
	return local, trusted
}

// asAddr is an address of a connection, which has no other kind here; the zero one if it has.
func asAddr(a net.Addr) netip.AddrPort {
	addr, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// noPlace is what a client without a place is told, else the zero Reply (R18): 421,
// since nothing follows it (RFC 5321 sections 3.1 and 4.3.2).
func noPlace(r places.Refusal, o *Options) smtp.Reply {
	switch r {
	case places.Full:
		return smtp.Reply{Code: 421, Status: "4.3.2", Text: o.Hostname + " has too many clients now, try again later"} // option clients
	case places.AddressOut:
		return tooManyOfAddress()
	case places.UserOut:
		return smtp.Reply{Code: 421, Status: "4.7.0", Text: "your user has too many sessions, end one or try again later"} // a user has a quarter of what others leave, at submission and by TCP from this machine
	}
	return smtp.Reply{}
}

func tooManyOfAddress() smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.7.0", Text: "too many connections from your address or its network, send over one of them or try again later"} // option clients-per-address, and the shares of networks
}

// turnAway answers a connection beyond the limit, without holding up the
// accept loop and without growing without bound. What programs and strangers keep
// busy is apart.
func (s *Server) turnAway(conn net.Conn, k Kind, r refusal) {
	w := newConn(conn)
	w.known, w.owner = r.known, r.owner
	refusers := &s.refusers[k]
	if refusers.Add(1) > maxRefusers || !s.register(w) {
		refusers.Add(-1)
		conn.Close()
		return
	}
	go func() {
		defer refusers.Add(-1)
		defer s.unregister(w)
		s.refuse(w, k, r.reply)
	}()
}

// refuse tells a client that no session begins.
func (s *Server) refuse(w *conn, k Kind, r smtp.Reply) {
	who := unnamed(w.Raw())
	if k == Local {
		uid, _ := s.userOf(w.Raw())
		who = fmt.Sprintf("uid %d", uid)
	}
	level := slog.LevelInfo
	if w.known || unremarkable(w.Raw()) {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{maillog.Client(who), maillog.Reply(r)}
	if w.owner != nil {
		attrs = append(attrs, maillog.Reason(fmt.Sprintf("a connection of uid %d", *w.owner)))
	}
	s.options.Load().Log.LogAttrs(s.ctx, level, "client refused", attrs...)
	if k == SubmissionTLS { // it would take no word of ours for one
		w.Close(false)
		return
	}
	w.SendAway(r)
}

// overload is the answer to a stranger while the load is too high, else the
// zero Reply.
func (s *session) overload() smtp.Reply {
	if s.client.Kind == Local || !s.limited {
		return smtp.Reply{}
	}
	over, err := s.server.places.Load.Above(s.o.Load, s.o.LoadAverage)
	if err != nil {
		s.log(s.server.ctx, slog.LevelWarn, "load unknown", maillog.Err(err))
	}
	if !over {
		return smtp.Reply{}
	}
	return smtp.Reply{Code: 421, Status: "4.3.2", Text: s.o.Hostname + " is too busy, try again later"} // option load
}
