package sasl

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
)

// The channel bindings.
const (
	exporter = "tls-exporter"         // RFC 9266
	endPoint = "tls-server-end-point" // RFC 5929 section 4
	unique   = "tls-unique"           // RFC 5929 section 3
)

// A Binding ties a login to the TLS session that it is made in: who passes it on
// through another session has none of it.
type Binding struct {
	Name string
	Data []byte
}

// Bindings are all of one session, the best first. A client takes one of them.
type Bindings []Binding

// MaxBindings is how many a session has at most.
const MaxBindings = 3

// BindingsOf returns the bindings of a TLS session whose server has shown this
// certificate, nil: it isn't known. TLS 1.3 has tls-exporter, TLS 1.2 tls-unique, which
// is last since it breaks where sessions are resumed without RFC 7627.
func BindingsOf(state tls.ConnectionState, server *x509.Certificate) Bindings {
	var all Bindings
	add := func(name string, data []byte) {
		if len(data) > 0 {
			all = append(all, Binding{name, data})
		}
	}
	if state.Version >= tls.VersionTLS13 {
		if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
			add(exporter, data)
		}
	}
	if server != nil {
		add(endPoint, hashOf(server))
	}
	if state.Version <= tls.VersionTLS12 {
		add(unique, state.TLSUnique)
	}
	return all
}

// Best is the first of them; the zero Binding: there is none.
func (b Bindings) Best() Binding {
	if len(b) == 0 {
		return Binding{}
	}
	return b[0]
}

// named returns the binding of a name.
func (b Bindings) named(name string) (Binding, bool) {
	for _, one := range b {
		if one.Name == name {
			return one, true
		}
	}
	return Binding{}, false
}

// hashOf hashes a certificate as its signature does, and with SHA-256 where that is
// weaker (RFC 5929 section 4.1). nil: with a signature of no single hash there is no
// such binding.
func hashOf(c *x509.Certificate) []byte {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		sum := sha256.Sum256(c.Raw)
		return sum[:]
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		sum := sha512.Sum384(c.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		sum := sha512.Sum512(c.Raw)
		return sum[:]
	}
	return nil
}
