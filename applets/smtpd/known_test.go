package smtpd

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// TestEndOfTLSInChunk: a client that ends TLS in the middle of a chunk and goes on in the
// clear has ended its session, and its message with it (Exim, CVE-2026-45185).
func TestEndOfTLSInChunk(t *testing.T) {
	for _, tt := range []struct{ name, begin, more string }{
		{"BDAT", "BDAT 20 LAST\r\nSubject: x", "\r\n\r\nx\r\n"},
		{"between two chunks", "BDAT 12\r\nSubject: x\r\n", "BDAT 5 LAST\r\n\r\nx\r\n"},
		{"DATA", "DATA\r\n", "Subject: x\r\n\r\nx\r\n.\r\n"},
		{"a command", "RSE", "T\r\n"},
	} {
		q := &memQueue{}
		o, trust := tlsOptions(t, q)
		conn, end := peerOf(New(o), Relay, strangerAddr)
		c := &talker{t: t, conn: conn, r: newReader(conn)}
		c.want(220)
		c.do("EHLO x")
		c.do("STARTTLS")
		c.secure(trust)
		for _, line := range []string{"EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>"} {
			if r := c.do(line); r.Code != 250 {
				t.Fatalf("%s: %v", line, r)
			}
		}
		c.send(tt.begin)
		switch tt.name {
		case "DATA":
			c.want(354)
		case "between two chunks":
			c.want(250)
		}
		go io.Copy(io.Discard, conn)
		c.conn.(*tls.Conn).CloseWrite()
		io.WriteString(conn, tt.more) // it fails where the server has closed already
		if err := <-end; err == nil {
			t.Errorf("%s: the session ended well", tt.name)
		}
		if n := len(q.messages()) + q.unfinished(); n > 0 {
			t.Errorf("%s: %d messages", tt.name, n)
		}
		conn.Close()
	}
}

// TestOddClientCertificates: with tls-ask a client may show what it likes: what can't be
// read as a certificate, and one whose key it doesn't have, fail a handshake of its own and
// nobody else's, and the next one isn't asked for any; what is expired, somebody else's or
// none at all is no hindrance.
func TestOddClientCertificates(t *testing.T) {
	synctest.Test(t, testOddClientCertificates) // on a pipe an alert may wait for a client that is writing
}

func testOddClientCertificates(t *testing.T) {
	o, trust := tlsOptions(t, &memQueue{})
	log := &testenv.Log{}
	o.Log = log.Logger()
	conf := o.TLS()
	conf.ClientAuth, conf.GetCertificate = tls.RequestClientCert, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		hello.Conn.(interface{ Show(*x509.Certificate) }).Show(conf.Certificates[0].Leaf) // as applets/certs does
		return &conf.Certificates[0], nil
	}
	s := New(o)
	good, _ := testenv.Certificate(t, "them.example")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testenv.Must(t, err)
	smaller, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	testenv.Must(t, err)
	cut := good.Certificate[0][:len(good.Certificate[0])-1]
	long := make([][]byte, 300<<10/len(cut))
	for i := range long {
		long[i] = good.Certificate[0]
	}
	for i, tt := range []struct {
		name  string
		chain [][]byte
		key   any
		ok    bool
	}{
		{"none", nil, nil, true},
		{"good", good.Certificate, good.PrivateKey, true},
		{"twice", [][]byte{good.Certificate[0], good.Certificate[0]}, good.PrivateKey, true},
		{"a critical extension that nobody knows", [][]byte{certified(t, key.Public(), key, pkix.Extension{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})}, key, true},
		{"another's", good.Certificate, key, false},
		{"cut off", [][]byte{cut}, good.PrivateKey, false},
		{"with junk behind it", [][]byte{good.Certificate[0], []byte("junk")}, good.PrivateKey, false},
		{"a text", [][]byte{[]byte(strings.Repeat("x", 10_000))}, good.PrivateKey, false},
		{"RSA of 16,384 bits", [][]byte{certified(t, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 16_383, 1), E: 65_537}, key)}, key, false},
		{"a curve that TLS hasn't", [][]byte{certified(t, smaller.Public(), key)}, key, false},
		{"300 KiB of them", long, good.PrivateKey, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := trust.Clone()
			conf.MinVersion, conf.MaxVersion = version, version
			if tt.chain != nil {
				conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &tls.Certificate{Certificate: tt.chain, PrivateKey: tt.key, Leaf: good.Leaf}, nil
				}
			}
			addr := fmt.Sprintf("203.0.113.%d:40000", 2*i+int(version-tls.VersionTLS12))
			try := func(want bool, says string) {
				got, err := hears(s, addr, conf)
				if text := log.Take(); (got == "220") != want || !strings.Contains(text, says) {
					t.Errorf("%s, %s: the client hears %q, the session ends with %v, want %v; log %s", tt.name, tls.VersionName(version), got, err, want, text)
				}
			}
			if tt.ok {
				try(true, "TLS begun")
				continue
			}
			try(false, "it was asked for a certificate, and isn't for an hour")
			try(true, "not asked for a certificate, since")
			time.Sleep(unaskedWait) // the bubble's clock
			try(false, "TLS handshake failed")
		}
	}
	for range s.Sessions() {
		t.Error("a session is left")
	}
}

// hears returns the code that a client hears when TLS has begun, and how its session ends.
func hears(s *Server, addr string, conf *tls.Config) (string, error) {
	conn, end := peerOf(s, SubmissionTLS, addr)
	greeting := make(chan string, 1)
	go func() {
		c := tls.Client(conn, conf)
		b := make([]byte, 3)
		n, _ := io.ReadFull(c, b)
		greeting <- string(b[:n])
		conn.Close()
	}()
	err := <-end
	return <-greeting, err
}

// certified is a certificate of a key, signed with another one.
func certified(t *testing.T, public crypto.PublicKey, by crypto.Signer, more ...pkix.Extension) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0), ExtraExtensions: more}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, by)
	testenv.Must(t, err)
	return der
}

// TestUnaskedBounded: however many addresses fail, those that are known are bounded, the
// last one is among them, and settings that ask nobody are left as they are.
func TestUnaskedBounded(t *testing.T) {
	var u unasked
	now, conf := time.Unix(0, 0), &tls.Config{ClientAuth: tls.RequestClientCert}
	for i := range 3 * maxUnasked {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		u.note(a, now)
		if got, how := u.ask(conf, a, now); how != spared || got.ClientAuth != tls.NoClientCert {
			t.Fatalf("address %d: asked is %v", i, how)
		}
	}
	if len(u.since) != maxUnasked {
		t.Errorf("%d are known, want %d", len(u.since), maxUnasked)
	}
	if got, how := u.ask(conf, netip.MustParseAddr("192.0.2.7"), now); how != asked || got != conf {
		t.Errorf("another address: asked is %v", how)
	}
	none := &tls.Config{}
	if got, how := u.ask(none, netip.MustParseAddr("10.0.0.1"), now); how != never || got != none {
		t.Errorf("where nobody is asked: %v", how)
	}
}

// TestKnownDialogues are lines that brought other servers out of step, each with the codes
// of all replies. A line is one write.
func TestKnownDialogues(t *testing.T) {
	const envelope = "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\n"
	for _, tt := range []struct {
		name, send, want string
		messages         int
	}{
		{"BDAT behind LAST (SubEthaSMTP 109)", "EHLO x\r\n" + envelope + "BDAT 5 LAST\r\n\r\nx\r\nBDAT 4 LAST\r\nQUITNOOP\r\nQUIT\r\n", "220 250 250 250 250 503 250 221", 1},
		{"BDAT before MAIL, with its chunk (go-smtp 315)", "EHLO x\r\nBDAT 9 LAST\r\nMAIL FROMNOOP\r\nQUIT\r\n", "220 250 503 250 221", 0},
		{"BDAT behind a refused MAIL, pipelined (go-smtp 315)", "EHLO x\r\nMAIL FROM:<a@evil.example>\r\nRCPT TO:<alice@us.example>\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\nQUIT\r\n", "220 250 550 503 503 250 221", 0},
		{"RSET between chunks (Suricata 3807)", "EHLO x\r\n" + envelope + "BDAT 3\r\na\r\nRSET\r\n" + envelope + "BDAT 5 LAST\r\n\r\nb\r\nQUIT\r\n", "220 250 250 250 250 250 250 250 250 221", 1},
		{"a chunk of a dot and a line end (Exim, CVE-2017-16944)", "EHLO x\r\n" + envelope + "BDAT 3\r\n.\r\nBDAT 10\r\n..\r\n.\r\nx\r\nBDAT 0 LAST\r\nQUIT\r\n", "220 250 250 250 250 250 250 221", 1},
		{"BDAT with a size beyond what is counted (Exim, CVE-2017-16943)", "EHLO x\r\n" + envelope + "BDAT 18446744073709551617 LAST\r\nQUIT\r\n", "220 250 250 250 501", 0},
		{"DATA behind a chunk", "EHLO x\r\n" + envelope + "BDAT 3\r\na\r\nDATA\r\nQUIT\r\n", "220 250 250 250 250 421", 0},
		{"EHLO twice (OpenSMTPD 1284)", "EHLO x\r\nEHLO x\r\n" + envelope + "EHLO x\r\nRCPT TO:<alice@us.example>\r\nQUIT\r\n", "220 250 250 250 250 250 503 221", 0},
		{"a line end within EHLO", "EHLO x\rMAIL FROM:<a@b.example>\r\nQUIT\r\n", "220 500 221", 0},
		{"NUL in a command", "EHLO x\r\nMAIL FROM:<a\x00@b.example>\r\nQUIT\r\n", "220 250 500 221", 0},
		{"TLS at the port in the clear", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "220 421", 0},
		{"a PROXY header that nobody asked for (Stalwart 371)", "PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nEHLO x\r\nQUIT\r\n", "220 500 250 221", 0},
	} {
		q := &memQueue{}
		all := exchange(t, New(options(q)), Relay, tt.send)
		replies, open := replyLines(t, tt.send, all)
		var codes []string
		for _, r := range replies {
			codes = append(codes, r[:3])
		}
		if got := strings.Join(codes, " "); got != tt.want || open != "" || len(q.messages()) != tt.messages || q.unfinished() > 0 {
			t.Errorf("%s: %s, %d messages, want %s, %d\n%s", tt.name, got, len(q.messages()), tt.want, tt.messages, all)
		}
	}
}

// TestXClientForms are forms of XCLIENT that fronts have sent (Dovecot 90: a blank was
// missing; attributes twice, of which one may be what somebody put there).
func TestXClientForms(t *testing.T) {
	for _, args := range []string{"ADDR=192.0.2.1PORT=39074", "ADDR=192.0.2.1 ADDR=127.0.0.1", "addr=192.0.2.1 ADDR=127.0.0.1", "ADDR=", "ADDR", "=192.0.2.1", "ADDR=127.0.0.1\tPORT=1", "NAME=a+0D+0AQUIT LOGIN=x y", "ADDR=IPV6:192.0.2.1", "PROTO=LMTP", "REVERSE_NAME=x"} {
		c := dialFrom(t, New(withFront(&testenv.Log{})), Relay, "10.0.0.8:40000")
		c.do("EHLO front.example")
		if r := c.do("XCLIENT " + args); r.Code/100 != 5 {
			t.Errorf("XCLIENT %s: %v, want a refusal", args, r)
		}
		if r := c.do("NOOP"); r.Code != 250 {
			t.Errorf("behind XCLIENT %s: %v", args, r)
		}
	}
}
