package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/maillog"
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
// the last one tried, and always a deferral: what a host says before it knows the
// message is not about the message (A54).
func DialAny(ctx context.Context, targets []Target, o Options) (*Session, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, o.Total, ErrLimit)
	defer cancel()
	last := error(deferral(errors.New("no address to connect to")))
	tried := 0
	for _, t := range targets {
		for _, a := range t.Addrs {
			if tried == maxAddrs || ctx.Err() != nil {
				return nil, last
			}
			tried++
			s, err := dialPlaced(ctx, t, a, o)
			if err == nil {
				return s, nil
			}
			last = err
			o.Log.LogAttrs(ctx, slog.LevelDebug, "host passed over", maillog.Relay(relayName(t, a)), maillog.Err(err))
		}
	}
	return nil, last
}

// dialPlaced opens a session to one address if there is a place for it, which it
// has until it is closed.
func dialPlaced(ctx context.Context, t Target, a netip.Addr, o Options) (*Session, error) {
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
	if !errors.As(err, &broken) || errors.Is(err, smtp.ErrPlaintext) || ctx.Err() != nil {
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
	reply, err := s.greet(p.name)
	if !stop() && err == nil {
		err = context.Cause(ctx) // closed by now
	}
	if err == nil && reply.Class() == 2 {
		return s, nil
	}
	s.client.Close() // without a word to a host that did not welcome us (R11)
	r := byReply("the greeting", reply, s.o.relay)
	r.Action, r.Relay, r.TLS = outcome.Deferred, p.relay, s.tls
	if reply.IsZero() {
		r.Err = cause(ctx, s.timed(err))
	}
	s.transcript.closed(p.relay, r.Err)
	return nil, &outcome.Failure{Outcome: r}
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

// greet reads the banner, says EHLO or HELO, and encrypts. A reply that is not
// 2xx ends it without an error.
func (s *Session) greet(host string) (smtp.Reply, error) {
	reply, err := s.client.Greeting()
	if err != nil || reply.Class() != 2 {
		return reply, err
	}
	reply, err = s.client.Hello()
	if err != nil || reply.Class() != 2 {
		return reply, err
	}
	if _, ok := s.client.Has("STARTTLS"); !ok || s.o.TLS == TLSNever {
		return reply, nil
	}
	if err := s.client.StartTLS(tlsConfig(host)); err != nil {
		return smtp.Reply{}, &tlsError{err}
	}
	if state, ok := s.client.TLS(); ok {
		s.tls = fmt.Sprintf("%s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	}
	return s.client.Hello()
}

// tlsConfig takes any certificate: by chance, the other choice is no encryption
// at all, and there is nobody to ask whom the name should be (RFC 7435).
func tlsConfig(host string) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host[0] != '[' {
		c.ServerName = host
	}
	return c
}
