package cert

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// shake makes a handshake and returns what the client thinks of it, and the name that it
// asked for.
func shake(t *testing.T, cert tls.Certificate, conf *tls.Config) (name string, err error) {
	t.Helper()
	s, err := shakeWith(t, &tls.Config{Certificates: []tls.Certificate{cert}}, conf)
	return s.ServerName, err
}

// shakeWith makes a handshake with a server of these settings, and returns how that sees it.
func shakeWith(t *testing.T, server, conf *tls.Config) (s tls.ConnectionState, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String()) // a pipe would have both ends write
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.SessionTicketsDisabled = true
	done := make(chan tls.ConnectionState)
	go func() {
		defer b.Close()
		s := tls.Server(b, server)
		s.Handshake()
		done <- s.ConnectionState()
	}()
	err = tls.Client(a, conf).Handshake()
	a.Close()
	return <-done, err
}

// TestWanted: each reason to refuse a certificate, and each to take one.
func TestWanted(t *testing.T) {
	good, roots := testenv.Certificate(t, "mx.example", "192.0.2.1", "2001:db8::1")
	other, otherRoots := testenv.Certificate(t, "mx.example")
	none := x509.NewCertPool()
	for _, tt := range []struct {
		name string
		w    Wanted
		is   func(error) bool
		sni  string
	}{
		{"for its name", Wanted{Host: "mx.example", Roots: roots}, nil, "mx.example"},
		{"in capitals", Wanted{Host: "MX.Example", Roots: roots}, nil, "MX.Example"},
		{"for its address", Wanted{Host: "192.0.2.1", Roots: roots}, nil, ""},
		{"for a literal", Wanted{Host: "[192.0.2.1]", Roots: roots}, nil, ""},
		{"for one of IPv6", Wanted{Host: "[IPv6:2001:db8::1]", Roots: roots}, nil, ""},
		{"another name", Wanted{Host: "mx2.example", Roots: roots}, is[x509.HostnameError], "mx2.example"},
		{"another address", Wanted{Host: "[192.0.2.2]", Roots: roots}, is[x509.HostnameError], ""},
		{"another authority", Wanted{Host: "mx.example", Roots: otherRoots}, is[x509.UnknownAuthorityError], "mx.example"},
		{"no authority", Wanted{Host: "mx.example", Roots: none}, is[x509.UnknownAuthorityError], "mx.example"},
		{"this one, whatever its name", Wanted{Host: "mx2.example", Fingerprint: sha256.Sum256(good.Leaf.Raw), Roots: none}, nil, "mx2.example"},
		{"not this one", Wanted{Host: "mx.example", Fingerprint: sha256.Sum256(other.Leaf.Raw), Roots: roots}, is[OtherError], "mx.example"},
	} {
		name, err := shake(t, good, tt.w.Config())
		if tt.is == nil && err != nil || tt.is != nil && !tt.is(err) {
			t.Errorf("%s: %v (%[2]T)", tt.name, err)
		}
		if err == nil && name != tt.sni {
			t.Errorf("%s: it asks for %q, want %q", tt.name, name, tt.sni)
		}
		if Expired(err) {
			t.Errorf("%s: it came of the time: %v", tt.name, err)
		}
	}
	if name, err := shake(t, good, Any("nobody.example")); err != nil || name != "nobody.example" {
		t.Errorf("any certificate will do: %q, %v", name, err)
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// TestRSAKeyExchange: a server that has no other suites than those in which the key is sent
// under its RSA key gets TLS, and one that has others gets those.
func TestRSAKeyExchange(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mx.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certs := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	old := []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}
	for _, tt := range []struct {
		server *tls.Config
		want   []uint16 // one of them, as the processor can
	}{
		{&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: old}, old[:1]},
		{&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: append(old, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA)}, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
		{&tls.Config{MinVersion: tls.VersionTLS13, CipherSuites: old}, []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256}},
	} {
		tt.server.Certificates = certs
		if s, err := shakeWith(t, tt.server, Any("mx.example")); err != nil || !slices.Contains(tt.want, s.CipherSuite) {
			t.Errorf("%s, %v; want %s", tls.CipherSuiteName(s.CipherSuite), err, tls.CipherSuiteName(tt.want[0]))
		}
	}
}
