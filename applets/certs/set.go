package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// Set is what a server offers: certificates, each with something that signs for it.
type Set struct{ all []tls.Certificate }

// Pack makes of each pair's chain the octets that NewSet takes.
func Pack(pairs []Pair) [][]byte {
	var chains [][]byte
	for _, p := range pairs {
		chains = append(chains, bytes.Join(p.Chain, nil))
	}
	return chains
}

// NewSet returns the certificates whose chains another process has packed. key signs
// for the nth of them.
func NewSet(chains [][]byte, key func(n int, pub crypto.PublicKey) crypto.Signer) (*Set, error) {
	s := &Set{}
	for i, der := range chains {
		certs, err := x509.ParseCertificates(der)
		if err != nil || len(certs) == 0 {
			return nil, fmt.Errorf("certificate %d: %w", i, errors.Join(err, errors.New("no chain")))
		}
		c := tls.Certificate{Leaf: certs[0], PrivateKey: key(i, certs[0].PublicKey)}
		for _, cert := range certs {
			c.Certificate = append(c.Certificate, cert.Raw)
		}
		s.all = append(s.all, c)
	}
	return s, nil
}

// choose returns the first certificate that is for the name which the client asked for
// and of a kind that it understands, else the first of such a kind: a client that looks at
// names says itself what it thinks of that.
func (s *Set) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s == nil || len(s.all) == 0 {
		return nil, errors.New("no certificate")
	}
	nameless := *hello
	nameless.ServerName = ""
	for _, h := range []*tls.ClientHelloInfo{hello, &nameless} {
		for i := range s.all {
			if h.SupportsCertificate(&s.all[i]) == nil {
				return &s.all[i], nil
			}
		}
	}
	return &s.all[0], nil
}

// Offer is what a server makes handshakes with, which changes while it runs. The zero
// Offer has no certificate.
type Offer struct {
	set  atomic.Pointer[Set]
	conf atomic.Pointer[tls.Config]
}

// A Shower is a connection that wants to know which certificate its client is shown.
type Shower interface{ Show(*x509.Certificate) }

// Ask makes settings: TLS 1.2 and newer, and whether clients are asked for their
// certificate, which nothing demands or verifies. It comes before the others.
//
// A client that has TLS 1.3 gets no ticket for another session: crypto/tls sends it before
// the client's last word, and Microsoft's mail servers end the connection there
// (https://go.dev/issue/70232). It would save such a client no round trip.
func (o *Offer) Ask(ask bool) {
	want := tls.NoClientCert
	if ask {
		want = tls.RequestClientCert
	}
	if c := o.conf.Load(); c != nil && c.ClientAuth == want {
		return // clients go on with their session tickets
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: want,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := o.set.Load().choose(hello)
			if conn, ok := hello.Conn.(Shower); ok && err == nil {
				conn.Show(c.Leaf)
			}
			return c, err
		},
	}
	ticketless := conf.Clone()
	ticketless.SessionTicketsDisabled = true
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
			return ticketless, nil
		}
		return nil, nil
	}
	o.conf.Store(conf)
}

// Put puts a set in the place of the present one.
func (o *Offer) Put(s *Set) { o.set.Store(s) }

// Drop takes a set away that can't sign any more, if it is the present one, and reports
// whether it was.
func (o *Offer) Drop(s *Set) bool { return o.set.CompareAndSwap(s, nil) }

// TLS is what a handshake is made with, nil while there is no certificate.
func (o *Offer) TLS() *tls.Config {
	if o.set.Load() == nil {
		return nil
	}
	return o.conf.Load()
}
