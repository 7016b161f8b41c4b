package certs

import (
	"crypto"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestChainCutOff: a chain of which a part can't be read is refused, whichever part that
// is; what stands between certificates is nobody's business.
func TestChainCutOff(t *testing.T) {
	key := newKey(t)
	leaf, middle, last := certFor(t, key, 60, "us.example"), certFor(t, newKey(t), 60, "middle.example"), certFor(t, newKey(t), 60, "last.example")
	keyFile := write(t, t.TempDir(), "key", keyPEM(t, key))
	whole := leaf + middle + last
	for _, tt := range []struct {
		name, text string
		bad        bool
	}{
		{"whole", whole, false},
		{"with words between", leaf + "the next one\n" + middle + "\n\n-----BEGIN DH PARAMETERS-----\n-----END DH PARAMETERS-----\n" + last, false},
		{"a byte order mark in front", "\ufeff" + whole, false},
		{"CR LF", strings.ReplaceAll(whole, "\n", "\r\n"), false},
		{"no line end behind the first", strings.TrimSuffix(leaf, "\n") + middle + last, true},
		{"no line end behind the second", leaf + strings.TrimSuffix(middle, "\n") + last, true},
		{"the last one cut off", whole[:len(whole)-len("---\n")], true},
		{"the last one cut off early", leaf + middle + last[:len(last)/2], true},
		{"one without a beginning", leaf + middle[len("-----BEGIN CERTIFICATE-----\n"):] + last, true},
		{"one that is no base64", leaf + strings.Replace(middle, "\nM", "\n*", 1) + last, true},
	} {
		p, err := Read(write(t, t.TempDir(), "chain", tt.text), keyFile, nil)
		if (err != nil) != tt.bad || err == nil && len(p.Chain) != 3 || err != nil && !strings.Contains(err.Error(), "can be read") {
			t.Errorf("%s: %d certificates, %v; want an error %v", tt.name, len(p.Chain), err, tt.bad)
		}
	}
}

// TestTickets: a client of TLS 1.2 resumes its session; one that has TLS 1.3 gets no ticket,
// whether or not it is asked for a certificate.
func TestTickets(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	pair, err := Read(write(t, dir, "pair", certFor(t, key, 60, "us.example")+keyPEM(t, key)), filepath.Join(dir, "pair"), nil)
	must(t, err)
	set, err := NewSet(Pack([]Pair{pair}), func(int, crypto.PublicKey) crypto.Signer { return key })
	must(t, err)
	for _, ask := range []bool{false, true} {
		var offer Offer
		offer.Ask(ask)
		offer.Put(set)
		for version, want := range map[uint16]bool{tls.VersionTLS12: true, tls.VersionTLS13: false} {
			known := tls.NewLRUClientSessionCache(1)
			session := func() tls.ConnectionState {
				l, err := net.Listen("tcp", "127.0.0.1:0") // on a pipe both would write at once
				must(t, err)
				defer l.Close()
				a, err := net.Dial("tcp", l.Addr().String())
				must(t, err)
				defer a.Close()
				b, err := l.Accept()
				must(t, err)
				defer b.Close()
				server := tls.Server(b, offer.TLS())
				done := make(chan error, 1)
				go func() {
					_, err := server.Write([]byte("x")) // behind which a ticket has come
					done <- err
				}()
				c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, ServerName: "us.example", MaxVersion: version, ClientSessionCache: known})
				_, err = c.Read(make([]byte, 1))
				must(t, err)
				must(t, <-done)
				return c.ConnectionState()
			}
			first, second := session(), session()
			_, ticket := known.Get("us.example")
			if first.Version != version || first.DidResume || second.DidResume != want || ticket != want {
				t.Errorf("asked %v, %s: resumed %v, a ticket %v; want %v", ask, tls.VersionName(first.Version), second.DidResume, ticket, want)
			}
		}
	}
}
