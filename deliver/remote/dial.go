package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote/cert"
	"postoffice/deliver/remote/login"
	"postoffice/internal/maillog"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
)

// Dial opens a session to one host: see DialAny.
func Dial(ctx context.Context, t Target, o Options) (*Session, error) {
	return DialAny(ctx, []Target{t}, o)
}

// DialAny opens a session to the first host that welcomes us, trying its
// addresses in order, at most 20 in all and none after Options.Total. A host
// that refuses the connection, says nothing, says 4xx or 5xx instead of 220, or
// takes neither EHLO nor HELO is passed over. The error is a *outcome.Failure of
// the last one tried, and a deferral: what a host says before it knows the message
// is not about the message (A54). Only with TLSVerified it is final where it is so of
// every host that was tried.
func DialAny(ctx context.Context, targets []Target, o Options) (*Session, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, o.Total, ErrLimit)
	defer cancel()
	if o.relay == nil || o.relay.User == "" && !o.relay.Demands(o.Logins.Trust(), false) {
		return dialEach(ctx, targets, o)
	}
	turn, err := o.Logins.Begin(ctx, *o.relay)
	if err != nil {
		return nil, loginFailure(err, outcome.Outcome{Relay: o.relay.Place()})
	}
	o.turn = turn
	s, err := dialEach(ctx, targets, o)
	if err = turn.End(err); err != nil {
		return nil, err
	}
	s.o.turn, s.leave = nil, turn.Leave
	return s, nil
}

// loginFailure gives an error of a login its outcome, which is a deferral whatever the
// smarthost said.
func loginFailure(err error, o outcome.Outcome) *outcome.Failure {
	o.Action, o.Err = outcome.Deferred, err
	if f, ok := errors.AsType[*login.Failure](err); ok {
		o.Reply = f.Reply
	}
	return &outcome.Failure{Outcome: o}
}

// dialEach opens a session to the first host that welcomes us. A smarthost that refuses
// a login is not asked at its next address: it would count that, too.
func dialEach(ctx context.Context, targets []Target, o Options) (*Session, error) {
	var last, all error // all speaks for all hosts
	tried := 0
	for _, t := range targets {
		for _, a := range t.Addrs {
			if tried == maxAddrs || ctx.Err() != nil {
				break
			}
			tried++
			s, err := dialPlaced(ctx, t, a, o)
			if err == nil {
				return s, nil
			}
			last, all = err, shared(all, err)
			o.Log.LogAttrs(ctx, slog.LevelDebug, "host passed over", maillog.Relay(relayName(t, a)), maillog.Err(err))
			if errors.As(err, new(*login.Failure)) {
				return nil, last
			}
		}
	}
	switch {
	case last == nil:
		return nil, deferral(cmp.Or(context.Cause(ctx), errNoAddress))
	case o.TLS == TLSVerified && ctx.Err() != nil:
		return nil, shared(all, deferral(context.Cause(ctx)))
	case o.TLS == TLSVerified:
		return nil, all
	}
	return nil, last
}

var errNoAddress = errors.New("no address to connect to")

// dialPlaced opens a session to one address if there is a place for it, which it
// has until it is closed.
func dialPlaced(ctx context.Context, t Target, a netip.Addr, o Options) (*Session, error) {
	if o.TLS == TLSVerified && !t.Vouched {
		return nil, notVouched(t)
	}
	release, ok := o.place(a)
	if !ok {
		return nil, &outcome.Failure{Outcome: outcome.Outcome{Err: errManySessions, Relay: relayName(t, a)}}
	}
	s, err := dial(ctx, t, a, o)
	if err != nil {
		release()
		return nil, err
	}
	s.release = release
	return s, nil
}

var errManySessions = errors.New("not connected: enough sessions with this address are open")

// dial opens a session to one address; in clear on a second connection when
// encryption fails on the first (A57). Text that somebody slipped in before the
// handshake is an attack, not a failure, and gets no second connection (A9).
func dial(ctx context.Context, t Target, a netip.Addr, o Options) (*Session, error) {
	s, err := open(ctx, t, a, o)
	var broken *tlsError
	if o.TLS != TLSMay || !errors.As(err, &broken) || errors.Is(err, smtp.ErrPlaintext) || ctx.Err() != nil {
		return s, err
	}
	o.Log.LogAttrs(ctx, slog.LevelWarn, "TLS failed, going on in clear", maillog.Relay(relayName(t, a)), maillog.Err(smtp.InWords(broken.err)))
	o.TLS = TLSNever
	return open(ctx, t, a, o)
}

// tlsError says that an encrypted session could not be had.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "STARTTLS: " + smtp.InWords(e.err).Error() }
func (e *tlsError) Unwrap() error { return e.err }

func open(ctx context.Context, t Target, a netip.Addr, o Options) (*Session, error) {
	return endpoint{network: "tcp", addr: dialAddr(a, t.Port), name: t.Host, relay: relayName(t, a)}.open(ctx, o)
}

// endpoint is where one connection goes.
type endpoint struct {
	network, addr string
	name          string // for TLS
	relay         string // for people
	lmtp          bool
}

func (p endpoint) open(ctx context.Context, o Options) (*Session, error) {
	conn, err := p.connect(ctx, o)
	if err != nil {
		err = smtp.InWords(cause(ctx, err))
		o.Transcript.closed(p.relay, err)
		return nil, &outcome.Failure{Outcome: outcome.Outcome{Err: err, Relay: p.relay}}
	}
	s := &Session{o: o, lmtp: p.lmtp, relay: p.relay, transcript: o.Transcript, started: time.Now()}
	s.transcript.opened(p.relay)
	s.secure = o.turn != nil && o.relay.Demands(o.Logins.Trust(), isLoopback(conn))
	s.client = smtp.NewClient(conn, smtp.ClientOptions{
		Hello:      o.Hostname,
		LMTP:       p.lmtp,
		Step:       o.Step,
		Deadline:   s.started.Add(o.Total),
		Transcript: s.transcript.lines(p.relay),
	})
	ctx, unhurried := hurried(ctx, o.Scarce)
	defer unhurried()
	stop := context.AfterFunc(ctx, func() { s.client.Close() })
	reply, err := s.greet(p)
	if !stop() && err == nil {
		err = context.Cause(ctx) // closed by now
	}
	if err == nil && reply.Class() == 2 {
		return s, nil
	}
	r := s.unwelcome(ctx, reply, err)
	s.transcript.closed(p.relay, r.Err)
	return nil, &outcome.Failure{Outcome: r}
}

// unwelcome closes a connection that became no session, and returns why. A host that
// did not welcome us hears no word (R11); one that we don't take hears QUIT (RFC 8689
// section 4.2.1).
func (s *Session) unwelcome(ctx context.Context, reply smtp.Reply, err error) outcome.Outcome {
	var ours *outcome.Failure
	if errors.As(err, &ours) {
		s.client.Quit()
		r := ours.Outcome
		r.Relay, r.TLS = s.relay, s.tls
		return r
	}
	s.client.Close()
	r := byReply("the greeting", reply, s.o.asker())
	r.Action, r.Relay, r.TLS = outcome.Deferred, s.relay, s.tls
	if ctx.Err() == nil && errors.As(err, new(*login.Failure)) {
		return loginFailure(err, r).Outcome
	}
	if reply.IsZero() {
		r.Err = cause(ctx, s.timed(err))
	}
	return r
}

const (
	scarceWelcome = 30 * time.Second // for the greeting and EHLO together, where others wait for a session
	scarceCheck   = 2 * time.Second
)

var errScarce = errors.New("peer too slow: no greeting in 30 s, and others wait for a session")

// hurried returns a context that ends when scarceWelcome is over and others wait
// for a session, then or later. stop ends the look-out.
func hurried(ctx context.Context, scarce func() bool) (hurried context.Context, stop func()) {
	if scarce == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for wait := scarceWelcome; pause(ctx, wait); wait = scarceCheck {
			if scarce() {
				cancel(errScarce)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (p endpoint) connect(ctx context.Context, o Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Connect)
	defer cancel()
	return o.Dial(ctx, p.network, p.addr)
}

// cause prefers the reason why ctx ended to the error that this made.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// greet reads the banner, says EHLO or HELO, encrypts, and logs in. A reply that is not
// 2xx ends it without an error. A *outcome.Failure says that the host can't have what
// needs TLS.
func (s *Session) greet(p endpoint) (smtp.Reply, error) {
	first := s.secure && s.o.relay.Scheme == smarthost.Submissions
	if first {
		if err := s.o.turn.Encrypt(s.client); err != nil {
			return smtp.Reply{}, err
		}
	}
	reply, err := s.client.Greeting()
	if err != nil || reply.Class() != 2 {
		return reply, err
	}
	reply, err = s.client.Hello()
	if err != nil || reply.Class() != 2 {
		return reply, err
	}
	if !first {
		if reply, err = s.startTLS(p, reply); err != nil || reply.Class() != 2 {
			return reply, err
		}
	}
	if err := s.secured(p); err != nil {
		return reply, err
	}
	if s.o.turn != nil {
		err = s.o.turn.Auth(s.client)
	}
	return reply, err
}

// startTLS encrypts a session that has begun in clear: by chance, or because it must be.
// reply is that to EHLO.
func (s *Session) startTLS(p endpoint, reply smtp.Reply) (smtp.Reply, error) {
	_, ok := s.client.Has("STARTTLS")
	switch {
	case s.secure:
		if err := s.o.turn.StartTLS(s.client); err != nil {
			return smtp.Reply{}, err
		}
		return s.client.Hello()
	case !ok && s.o.TLS == TLSVerified:
		return reply, noTLS(s.relay)
	case !ok || s.o.TLS == TLSNever:
		return reply, nil
	}
	if err := s.client.StartTLS(cert.Any(p.name)); err != nil {
		return smtp.Reply{}, &tlsError{err}
	}
	return s.client.Hello()
}

// secured notes what TLS there is, and looks whether it does for what needs it. Of a
// smarthost that must be who it should be anyway the certificate is good by now.
func (s *Session) secured(p endpoint) error {
	state, ok := s.client.TLS()
	if !ok {
		return nil
	}
	s.tls = fmt.Sprintf("%s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	if s.o.TLS == TLSVerified && !s.secure {
		if err := s.o.verify(state, p.name, s.relay); err != nil {
			return err
		}
	}
	if s.secure || s.o.TLS == TLSVerified {
		s.tls += " verified"
	}
	if _, ok := s.client.Has(smtp.ParamTLS); !ok && s.o.TLS == TLSVerified {
		return noRequireTLS(s.relay)
	}
	return nil
}

// isLoopback reports whether a connection never leaves this machine.
func isLoopback(c net.Conn) bool {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// lmtpStep is what an LMTP server on this machine gets for one reply, and
// lmtpTotal for a whole session: a store that hangs must not hold the queue.
const (
	lmtpStep  = time.Minute
	lmtpTotal = 10 * time.Minute
)

// DialLMTP opens a session with the LMTP server (RFC 2033) that listens on a
// unix socket. Its replies are judged as an SMTP server's, each recipient's on
// its own. Errors are as DialAny's.
func DialLMTP(ctx context.Context, socket string, o Options) (*Session, error) {
	o = o.withDefaults()
	o.TLS = TLSNever
	o.Step, o.Total = min(o.Step, lmtpStep), min(o.Total, lmtpTotal)
	ctx, cancel := context.WithTimeoutCause(ctx, o.Total, ErrLimit)
	defer cancel()
	return endpoint{network: "unix", addr: socket, relay: "lmtp:" + socket, lmtp: true}.open(ctx, o)
}
