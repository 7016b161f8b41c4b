package cert

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"

	"postoffice/internal/smtp"
)

// Wanted is what a certificate must be.
type Wanted struct {
	Host        string            // that it is for: a name, an address or its literal; unless it is this one:
	Fingerprint [sha256.Size]byte // SHA-256 of the certificate itself, whatever its name and dates; zero: of any
	Roots       *x509.CertPool    // the authorities; nil: the system's
}

// ErrNoRoots: the system has no authorities at all.
var ErrNoRoots = errors.New("no certificates of authorities on this machine, so that none of other servers can be verified: install ca-certificates and restart")

// OtherError says that a certificate has not the Fingerprint, but this one.
type OtherError [sha256.Size]byte

func (e OtherError) Error() string { return "its fingerprint is SHA256:" + hex.EncodeToString(e[:]) }

// Expired reports whether an error of Check came of the time alone, theirs or ours.
func Expired(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

// Check says why the certificate of a session is not the one that is wanted: ErrNoRoots, an
// OtherError, or an error of crypto/x509.
func (w Wanted) Check(s tls.ConnectionState) error {
	leaf := s.PeerCertificates[0]
	if w.Fingerprint != [sha256.Size]byte{} {
		if got := sha256.Sum256(leaf.Raw); got != w.Fingerprint {
			return OtherError(got)
		}
		return nil
	}
	roots := w.Roots
	if roots == nil {
		var err error
		if roots, err = x509.SystemCertPool(); err != nil || roots.Equal(x509.NewCertPool()) {
			return ErrNoRoots
		}
	}
	chain := x509.VerifyOptions{DNSName: w.Host, Roots: roots, Intermediates: x509.NewCertPool()}
	if a, ok := smtp.ParseLiteral(w.Host); ok {
		chain.DNSName = a.String()
	}
	for _, c := range s.PeerCertificates[1:] {
		chain.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(chain)
	return err
}

// Config makes a handshake fail without the certificate that is wanted.
func (w Wanted) Config() *tls.Config {
	c := Any(w.Host)
	c.VerifyConnection = w.Check
	return c
}

// suites are those of TLS 1.2 that crypto/tls has by itself, and behind them those in which
// the key is sent under the server's RSA key, for servers that have no others: without them
// mail goes there in the clear, or, where TLS is demanded, never.
func suites() (ids []uint16) {
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	return append(ids, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
}

// Any takes any certificate: by chance, the other choice is no encryption at all, and
// there is nobody to ask whom the name should be (RFC 7435).
func Any(host string) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, CipherSuites: suites()} // what is verified Check says
	if _, literal := smtp.ParseLiteral(host); !literal {
		c.ServerName = host // crypto/tls leaves an address out of what it sends
	}
	return c
}
