package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"postoffice/applets/smtpd/proxy"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	headerWait = 5 * time.Second // for a proxy's header as a whole
	maxHeaders = 1000            // connections of proxies whose header is still to come; further ones are closed
)

// passedOn is a connection of a proxy, which tells whose it is. Until its header has come
// it has the proxy's own addresses.
type passedOn struct {
	net.Conn
	header proxy.Header
}

// passedOn returns conn as that of a proxy, nil if it is none.
func (o *Options) passedOn(conn net.Conn, k Kind) *passedOn {
	if k == Local || !o.Proxy(asAddr(conn.RemoteAddr()).Addr()) {
		return nil
	}
	return &passedOn{Conn: conn}
}

// unknown reports whether the proxy doesn't say who the client is, as it does when it is
// itself, to see whether we live.
func (p *passedOn) unknown() bool { return p != nil && !p.header.Client.IsValid() }

// RemoteAddr is the client's, as far as it is known.
func (p *passedOn) RemoteAddr() net.Addr {
	if p.unknown() {
		return p.Conn.RemoteAddr()
	}
	return net.TCPAddrFromAddrPort(p.header.Client)
}

// LocalAddr is the address that the client came to.
func (p *passedOn) LocalAddr() net.Addr {
	if p.unknown() {
		return p.Conn.LocalAddr()
	}
	return net.TCPAddrFromAddrPort(p.header.Server)
}

// errNotHad is what a connection of another kind doesn't have.
var errNotHad = errors.New("the connection has no such thing")

// SyscallConn is the connection's own.
func (p *passedOn) SyscallConn() (syscall.RawConn, error) {
	if c, ok := p.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errNotHad
}

// CloseWrite is the connection's own.
func (p *passedOn) CloseWrite() error {
	if c, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errNotHad
}

// beginPassedOn is begin for the connection of a proxy: it waits for the header first.
// However many have none yet, they take no place of others, and a proxy has at most half
// of what the other proxies leave.
func (s *Server) beginPassedOn(p *passedOn, k Kind) {
	proxy := asAddr(p.Conn.RemoteAddr()).Addr()
	if !s.headers.EnterShare(proxy, maxHeaders, 2) {
		s.options.Load().Log.LogAttrs(s.ctx, slog.LevelWarn, "client refused", maillog.Client(unnamed(p)), maillog.Reason("too many connections of this proxy wait for their PROXY header: look whether it sends them"))
		p.Close()
		return
	}
	w := newConn(p)
	if !s.register(w) {
		s.headers.Leave(proxy)
		p.Close()
		return
	}
	go func() {
		err := s.introduce(w, p)
		s.headers.Leave(proxy)
		if err != nil {
			s.unregister(w)
			return
		}
		place, refusal := s.admit(p, k)
		if !refusal.reply.IsZero() {
			s.unregister(w)
			s.turnAway(p, k, refusal)
			return
		}
		s.serve(w, k, place)
	}()
}

// introduce reads the header of a proxy's connection. An error is the end of that: what
// comes is none, and nobody is there who would understand a reply. Who closes it before
// the first octet only looked whether somebody listens.
func (s *Server) introduce(w *conn, p *passedOn) (err error) {
	if err = w.ReadBy(time.Now().Add(headerWait)); err == nil {
		p.header, err = proxy.Read(p.Conn)
	}
	if p.header.Client.Addr() == asAddr(p.Conn.RemoteAddr()).Addr() { // so HAProxy's own looks begin in version 1
		p.header = proxy.Header{}
	}
	if err == nil {
		return nil
	}
	level, event := slog.LevelInfo, "client refused"
	if w.ReadBy(time.Now()) != nil || errors.Is(err, proxy.ErrNone) && !errors.Is(err, os.ErrDeadlineExceeded) {
		level, event = slog.LevelDebug, "client gone"
	}
	s.options.Load().Log.LogAttrs(s.ctx, level, event, maillog.Client(unnamed(p)), maillog.Reason("option proxy-from names it, so that a PROXY header must come first"), maillog.Err(err))
	p.Close()
	return err
}

// unremarkable reports whether it is no event that a connection begins, or is refused: a
// proxy looks every few seconds whether we live.
func unremarkable(conn net.Conn) bool {
	p, _ := conn.(*passedOn)
	return p.unknown()
}

// isFront reports whether the client may say whom it passes on (option xclient-from).
func (s *session) isFront() bool { return s.front.IsValid() }

// xclient puts another client in the place of this one, as it is told by who passes that
// on, and begins the session anew (Postfix's XCLIENT_README).
func (s *session) xclient(ctx context.Context, arg string) smtp.Reply {
	x, err := proxy.ParseXClient(arg)
	if err != nil {
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "wrong attribute: " + err.Error() + ", mend it or leave it out"} // see below
	}
	s.reset()
	s.phase, s.refusals, s.commands, s.useful = fresh, 0, 0, false
	s.become(ctx, x)
	s.show(Greeting)
	greeting := s.overload()
	if greeting.IsZero() {
		greeting = s.move()
	}
	if s.over = !greeting.IsZero(); !s.over {
		greeting, err = s.welcome(ctx, false)
		s.over = err != nil
	}
	if s.over {
		s.log(ctx, slog.LevelInfo, "client refused", maillog.Reply(greeting))
	}
	return greeting
}

// become takes over what is told of a client. Of whom no address is told is a stranger
// at the address of who passes them on.
func (s *session) become(ctx context.Context, x proxy.XClient) {
	c := &s.client
	first := c.Via != s.front
	c.Owner = nil
	switch {
	case x.Addr != nil && x.Addr.IsValid() && *x.Addr != s.front.Addr():
		c.Addr, s.unknown = netip.AddrPortFrom(*x.Addr, 0), false
	case x.Addr != nil || first:
		c.Addr, s.unknown = s.front, true
	}
	if x.Port != nil && !s.unknown {
		c.Addr = netip.AddrPortFrom(c.Addr.Addr(), *x.Port)
	}
	if x.DestAddr != nil && x.DestAddr.IsValid() {
		c.Server = netip.AddrPortFrom(*x.DestAddr, c.Server.Port())
	}
	if x.DestPort != nil {
		c.Server = netip.AddrPortFrom(c.Server.Addr(), *x.DestPort)
	}
	c.Via, c.Hello, c.ESMTP = s.front, "", x.Extended != nil && *x.Extended
	if x.Hello != nil {
		c.Hello = *x.Hello
	}
	if x.Login != nil {
		c.Login = *x.Login
	}
	s.stand()
	switch n := x.Name; {
	case n == nil && (x.Addr != nil || first):
		s.findName(ctx)
	case n == nil: // it stays
	case n.Later:
		c.Name, c.Naming = "", Uncertain
	case n.Text == "":
		c.Name, c.Naming = "", Unnamed
	default:
		c.Name, c.Naming = asName(n.Text), Named
	}
}

// move gives up the session's place and takes one of the client's that it has now.
func (s *session) move() smtp.Reply {
	if !s.limited {
		return smtp.Reply{}
	}
	c, w := &s.client, s.wire
	w.place.Free()
	var r refusal
	w.place, r = s.server.enter(c.Addr.Addr(), classFor(c.Local, c.Trusted, s.unknown), s.o)
	w.Crowded, w.Paced = w.place.Crowded, s.counted()
	if !r.reply.IsZero() {
		return r.reply
	}
	return s.server.await(w, w.place.Turn, c.String())
}
