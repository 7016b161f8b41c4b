package remote

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"postoffice/deliver/remote/login"
	"postoffice/internal/smarthost"
)

// TLS says when a session is encrypted.
type TLS int

const (
	TLSMay      TLS = iota // when the peer offers STARTTLS, with any certificate (RFC 7435)
	TLSNever               // in clear always
	TLSVerified            // with a certificate for the host, and REQUIRETLS (RFC 8689); else not at all
)

// Options are the same for all sessions.
type Options struct {
	Hostname string // EHLO and HELO
	TLS      TLS

	// Roots are the authorities whose certificates count, where one must; nil: the system's.
	Roots *x509.CertPool

	Connect time.Duration // one connection attempt; default 30 s
	Step    time.Duration // one reply; default 5 min (RFC 5321 section 4.5.3.2)
	Total   time.Duration // a session, and all attempts before it; default 900 s

	Log *slog.Logger // default: nothing is logged

	// Transcript sees how a session is opened; Message.Transcript sees what follows.
	Transcript Transcript

	// Scarce reports whether others wait for a session: then a host has 30 s until it
	// has greeted and answered EHLO. nil: nobody ever waits.
	Scarce func() bool

	Logins *login.Keeper // with smarthosts that demand one, and those that failed; nil: nobody logs in

	relay *smarthost.Host // the host is this one; nil: it is no smarthost
	turn  *login.Turn     // of a session with a smarthost that needs TLS or a login

	// place takes a place for a session with an address, before anything is sent
	// there; release gives it back. nil: there is no limit.
	place func(a netip.Addr) (release func(), ok bool)

	// Dial opens a connection; default net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	defaultConnect = 30 * time.Second
	defaultStep    = 5 * time.Minute
	defaultTotal   = 900 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Connect <= 0 {
		o.Connect = defaultConnect
	}
	if o.Step <= 0 {
		o.Step = defaultStep
	}
	if o.Total <= 0 {
		o.Total = defaultTotal
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.place == nil {
		o.place = func(netip.Addr) (func(), bool) { return func() {}, true }
	}
	if o.Logins == nil {
		o.Logins = login.NewKeeper(nil)
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return o
}
