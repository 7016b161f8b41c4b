package smtpd

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postoffice/applets/smtpd/wire"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

const (
	handshakeWait = 30 * time.Second // for a TLS handshake as a whole
	maxPeerName   = 128              // octets of the name in a client's certificate that are shown
	unaskedWait   = time.Hour        // that an address isn't asked for its certificate whose handshake failed when it was
	maxUnasked    = 1000             // addresses of which that is known
)

// TLS is what is known of a session under TLS.
type TLS struct {
	Version, Cipher uint16
	Name            string // that the client asked for (SNI); "" none
	Certificate     string // SHA-256 of the one that the client showed, in hex; "" none
	Peer            string // the common name in it, which nobody has verified
	Issuer          string // and that of who has signed it
}

func newTLS(state tls.ConnectionState) *TLS {
	t := &TLS{Version: state.Version, Cipher: state.CipherSuite, Name: asName(state.ServerName)}
	if len(state.PeerCertificates) > 0 {
		cert := state.PeerCertificates[0]
		sum := sha256.Sum256(cert.Raw)
		t.Issuer = smtp.Printable(cert.Issuer.CommonName, maxPeerName)
		t.Certificate, t.Peer = hex.EncodeToString(sum[:]), smtp.Printable(cert.Subject.CommonName, maxPeerName)
	}
	return t
}

// String is version and cipher for the log, "" in the clear.
func (t *TLS) String() string {
	if t == nil {
		return ""
	}
	return tls.VersionName(t.Version) + " " + tls.CipherSuiteName(t.Cipher)
}

// received is the comment in a Received field.
func (t *TLS) received() string {
	version := strings.ReplaceAll(strings.ReplaceAll(tls.VersionName(t.Version), " ", ""), ".", "_")
	text := "version=" + version + " cipher=" + tls.CipherSuiteName(t.Cipher)
	if t.Name != "" {
		text += " sni=" + t.Name
	}
	return text
}

// attrs are what the log says of it once.
func (t *TLS) attrs() []slog.Attr {
	attrs := []slog.Attr{maillog.TLS(t.String())}
	if t.Name != "" {
		attrs = append(attrs, slog.String("sni", t.Name))
	}
	if t.Certificate != "" {
		attrs = append(attrs, slog.String("cert", t.Certificate), slog.String("cert_name", t.Peer))
	}
	return attrs
}

// offersTLS says who has the verb STARTTLS.
func (s *session) offersTLS() bool {
	return s.o.TLS != nil && (s.client.Kind == Relay || s.client.Kind == Submission)
}

// starts is the line of EHLO's reply that offers STARTTLS, where it can be done.
func (s *session) starts() string {
	if !s.offersTLS() || s.client.TLS != nil || s.o.TLS() == nil {
		return ""
	}
	return "\nSTARTTLS"
}

// requires is the line of EHLO's reply that offers REQUIRETLS: under TLS, and to programs
// of this machine, between whom and us there is no network.
func (s *session) requires() string {
	if !s.takesRequireTLS() {
		return ""
	}
	return "\n" + smtp.ParamTLS
}

func (s *session) takesRequireTLS() bool { return s.client.TLS != nil || s.client.Kind == Local }

// checkRequireTLS takes REQUIRETLS (RFC 8689 section 2).
func (s *session) checkRequireTLS(p smtp.Param) smtp.Reply {
	switch {
	case p.Value != "":
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "REQUIRETLS takes no value, send it alone"} // RFC 8689 section 2
	case !s.takesRequireTLS():
		return smtp.Reply{Code: 530, Status: "5.7.0", Text: "REQUIRETLS counts under TLS alone, say STARTTLS first"} // REQUIRETLS in the clear
	}
	return smtp.Reply{}
}

// startTLS is STARTTLS (RFC 3207). What the client sent behind it was said in the
// clear, by whomever: the session ends (A9).
func (s *session) startTLS(context.Context, string) smtp.Reply {
	if s.client.TLS != nil {
		return smtp.Reply{Code: 503, Status: "5.5.1", Text: "TLS has begun already, send the next command"} // STARTTLS within TLS
	}
	if s.wire.Waiting() > 0 {
		return smtp.Reply{Code: 421, Status: "4.5.0", Text: "you sent on behind STARTTLS, wait for its reply"} // octets behind it, which nobody may take for what came under TLS
	}
	conf := s.o.TLS()
	if conf == nil {
		return smtp.Reply{Code: 454, Status: "4.7.0", Text: "TLS is not to be had now, try again later"} // the log says why
	}
	s.upgrade = conf
	return smtp.Reply{Code: 220, Status: "2.0.0", Text: "begin TLS"} // STARTTLS
}

// beginTLS is the handshake before the greeting, on the port for that.
func (s *session) beginTLS() bool {
	if s.o.TLS != nil {
		s.upgrade = s.o.TLS()
	}
	if s.upgrade == nil {
		s.log(s.server.ctx, slog.LevelWarn, "client refused", maillog.Reason("TLS can't be done now"))
		s.wire.Close(false)
		return false
	}
	return s.secure() == nil
}

// secure makes the handshake and forgets what was said before (RFC 3207 section 4.2).
// An error is the end of the session.
func (s *session) secure() error {
	conf := s.upgrade
	s.upgrade = nil
	s.show(Handshake)
	conf, how := s.server.unasked.ask(conf, s.client.Addr.Addr(), time.Now())
	state, err := s.wire.Secure(conf, handshakeWait)
	if err != nil {
		if s.checker != nil {
			s.checker.Replied(VerbEnd, "", smtp.Reply{})
		}
		attrs := []slog.Attr{maillog.Err(smtp.InWords(err))}
		if how == asked && s.wire.Shown() {
			s.server.unasked.note(s.client.Addr.Addr(), time.Now())
			attrs = append(attrs, maillog.Reason("it was asked for a certificate, and isn't for an hour"))
		}
		s.log(s.server.ctx, slog.LevelInfo, "TLS handshake failed", attrs...)
		s.wire.Close(!errors.Is(err, wire.ErrTimeout))
		return err
	}
	s.reset()
	s.phase, s.hasty = fresh, false
	s.client.Hello, s.client.ESMTP = "", false
	if s.client.Account != "" { // it logged in where all could hear it
		s.stand()
	}
	s.client.TLS = newTLS(state)
	attrs := s.client.TLS.attrs()
	if how == spared {
		attrs = append(attrs, maillog.Reason("not asked for a certificate, since a handshake failed in which it was"))
	}
	s.log(s.server.ctx, slog.LevelInfo, "TLS begun", attrs...)
	return nil
}

// unasked are the addresses that are not asked for a certificate of theirs: a handshake
// failed in which they were. crypto/tls parses what a client shows, and where it can't there
// is no TLS; nobody needs it to be shown. The zero value has none.
type unasked struct {
	mu    sync.Mutex // guards what follows
	since map[netip.Prefix]time.Time
	of    *tls.Config // the last settings that ask
	quiet *tls.Config // the same that don't
}

// asking is whether a client is asked for its certificate.
type asking uint8

const (
	never  asking = iota // nobody is
	asked                // it is
	spared               // others are
)

// ask returns what a handshake with an address is made with, and how that asks.
func (u *unasked) ask(conf *tls.Config, a netip.Addr, now time.Time) (*tls.Config, asking) {
	if conf.ClientAuth == tls.NoClientCert {
		return conf, never
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	since, noted := u.since[peer.Network(a)]
	if !noted {
		return conf, asked
	}
	if past := now.Sub(since); past < 0 || past >= unaskedWait {
		delete(u.since, peer.Network(a))
		return conf, asked
	}
	if u.of != conf {
		u.of, u.quiet = conf, unasking(conf)
	}
	return u.quiet, spared
}

// unasking returns the same settings, but for clients' certificates, which nobody is asked
// for.
func unasking(conf *tls.Config) *tls.Config {
	quiet := conf.Clone()
	quiet.ClientAuth = tls.NoClientCert
	if of := conf.GetConfigForClient; of != nil {
		quiet.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := of(hello)
			if c != nil {
				c = c.Clone()
				c.ClientAuth = tls.NoClientCert
			}
			return c, err
		}
	}
	return quiet
}

// note has an address not asked from now on, in the place of any where there are many.
func (u *unasked) note(a netip.Addr, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[netip.Prefix]time.Time{}
	}
	for other := range u.since {
		if len(u.since) < maxUnasked {
			break
		}
		delete(u.since, other)
	}
	u.since[peer.Network(a)] = now
}
