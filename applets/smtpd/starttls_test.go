package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// tlsOptions are options of a server with a certificate for us.example, and what a
// client trusts that. Session tickets would be written while a client on a pipe
// writes too.
func tlsOptions(t testing.TB, q Queue) (Options, *tls.Config) {
	cert, pool := testenv.Certificate(t, "us.example")
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}
	o := options(q)
	o.TLS = func() *tls.Config { return conf }
	return o, &tls.Config{RootCAs: pool, ServerName: "us.example"}
}

// secure changes to TLS.
func (c *talker) secure(conf *tls.Config) {
	c.t.Helper()
	conn := tls.Client(c.conn, conf)
	conn.SetDeadline(time.Now().Add(time.Minute))
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// offers says whether EHLO is answered with a keyword.
func (c *talker) offers(keyword string) bool {
	c.t.Helper()
	r := c.do("EHLO client.example")
	return r.Code == 250 && strings.Contains(r.Text, keyword)
}

// TestStartTLSA9: nothing that was said before TLS is known in it.
func TestStartTLSA9(t *testing.T) {
	q, log := &memQueue{}, &testenv.Log{}
	o, trust := tlsOptions(t, q)
	o.Log = log.Logger()
	c := dial(t, New(o))
	if !c.offers("STARTTLS") {
		t.Error("EHLO does not offer STARTTLS")
	}
	for _, line := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>"} {
		if r := c.do(line); r.Code != 250 {
			t.Fatalf("%s: %v", line, r)
		}
	}
	if r := c.do("STARTTLS now"); r.Code != 501 {
		t.Errorf("STARTTLS with an argument: %v, want 501", r)
	}
	if r := c.do("STARTTLS"); r.Code != 220 {
		t.Fatalf("STARTTLS: %v", r)
	}
	c.secure(trust)
	for _, line := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<bob@us.example>", "DATA", "STARTTLS"} {
		if r := c.do(line); r.Code != 503 {
			t.Errorf("%s before EHLO within TLS: %v, want 503", line, r)
		}
	}
	if c.offers("STARTTLS") {
		t.Error("STARTTLS is offered within TLS")
	}
	if r := c.do("STARTTLS"); r.Code != 503 {
		t.Errorf("STARTTLS within TLS: %v, want 503", r)
	}
	c.envelope("a@b.example", "bob@us.example")
	c.send("Subject: x\r\n\r\n" + strings.Repeat("line\r\n", 20_000) + ".\r\n")
	c.want(250)
	if r := c.do("QUIT"); r.Code != 221 {
		t.Errorf("QUIT: %v", r)
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("behind QUIT: %v, want the end that TLS tells of", err)
	}
	all := q.messages()
	if len(all) != 1 || len(all[0].To) != 1 || all[0].To[0].Local != "bob" {
		t.Fatalf("stored: %v", all)
	}
	cipher := tls.CipherSuiteName(c.conn.(*tls.Conn).ConnectionState().CipherSuite) // as the processor can
	if want := " with ESMTPS (version=TLS1_3 cipher=" + cipher + " sni=us.example)\n\tid Q2\n\tfor <bob@us.example>; "; !strings.Contains(all[0].Data, want) {
		t.Errorf("%.400q has no %q", all[0].Data, want)
	}
	if want := `msg="TLS begun"`; !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "sni=us.example") ||
		!strings.Contains(log.String(), `tls="TLS 1.3 `+cipher+`"`) {
		t.Errorf("log: %s", log)
	}
	for line := range strings.Lines(log.String()) { // of transaction and name that were said in the clear
		if strings.Contains(line, "TLS begun") && (strings.Contains(line, "qid=Q1") || strings.Contains(line, "helo=")) {
			t.Errorf("forgotten only at EHLO: %s", line)
		}
	}
}

// TestStartTLSFirst: who knows that there is TLS need not ask, as GNU SASL's program
// doesn't: RFC 3207 has no word on it, and what was said before is forgotten anyway.
func TestStartTLSFirst(t *testing.T) {
	o, trust := tlsOptions(t, &memQueue{})
	c := dial(t, New(o))
	if r := c.do("STARTTLS"); r.Code != 220 {
		t.Fatalf("STARTTLS before EHLO: %v", r)
	}
	c.secure(trust)
	if r := c.do("MAIL FROM:<a@b.example>"); r.Code != 503 {
		t.Errorf("MAIL before EHLO: %v, want 503", r)
	}
	if c.offers("STARTTLS") {
		t.Error("STARTTLS is offered within TLS")
	}
}

// TestStartTLSPipelinedA9: what comes behind STARTTLS is never a command, and is not
// forgotten in silence either.
func TestStartTLSPipelinedA9(t *testing.T) {
	for _, behind := range []string{"NOOP\r\n", "\r\n", "\x16\x03\x01\x02\x00\x01"} {
		o, _ := tlsOptions(t, &memQueue{})
		c := dial(t, New(o))
		c.offers("STARTTLS")
		c.send("STARTTLS\r\n" + behind)
		if r := c.read(); r.Code != 421 {
			t.Errorf("STARTTLS and %q: %v, want 421", behind, r)
		}
		if r := c.read(); !r.IsZero() {
			t.Errorf("STARTTLS and %q: then %v, want the end", behind, r)
		}
	}
}

// TestTLSNotNow: it is offered when it can be done, and refused for a while else.
func TestTLSNotNow(t *testing.T) {
	o, trust := tlsOptions(t, &memQueue{})
	conf := o.TLS()
	var ready atomic.Bool
	o.TLS = func() *tls.Config {
		if !ready.Load() {
			return nil
		}
		return conf
	}
	c := dial(t, New(o))
	if c.offers("STARTTLS") {
		t.Error("STARTTLS is offered")
	}
	if r := c.do("STARTTLS"); r.Code != 454 {
		t.Errorf("STARTTLS: %v, want 454", r)
	}
	ready.Store(true)
	if r := c.do("STARTTLS"); r.Code != 220 {
		t.Fatalf("STARTTLS: %v", r)
	}
	c.secure(trust)
	o.TLS = nil
	c = dial(t, New(o))
	if c.offers("STARTTLS") {
		t.Error("STARTTLS is offered by a server without TLS")
	}
	if r := c.do("STARTTLS"); r.Code != 500 {
		t.Errorf("STARTTLS without TLS: %v, want 500", r)
	}
}

// TestSubmissionTLS: on that port TLS comes first, and a word in the clear is none.
func TestSubmissionTLS(t *testing.T) {
	q, log := &memQueue{}, &testenv.Log{}
	o, trust := tlsOptions(t, q)
	o.Log = log.Logger()
	s := New(o)
	conn, end := peerOf(s, SubmissionTLS, "127.0.0.1:1")
	c := &talker{t: t, conn: conn}
	c.secure(trust)
	c.want(220)
	if c.offers("STARTTLS") {
		t.Error("STARTTLS is offered within TLS")
	}
	if r := c.do("HELO client.example"); r.Code != 250 {
		t.Fatal(r)
	}
	for _, line := range []string{"MAIL FROM:<a@us.example>", "RCPT TO:<x@far.example>"} {
		if r := c.do(line); r.Code != 250 {
			t.Fatalf("%s: %v", line, r)
		}
	}
	c.do("DATA")
	c.send("x\r\n.\r\n")
	c.want(250)
	c.do("QUIT")
	c.r.ReadByte() // the end
	if err := <-end; err != nil {
		t.Error(err)
	}
	if all := q.messages(); len(all) != 1 || !strings.Contains(all[0].Data, " with SMTP (version=TLS1_3 ") {
		t.Errorf("stored %v", all)
	}
	for _, tt := range []struct {
		name string
		conf func() *tls.Config
		say  string
	}{
		{"a word in the clear", o.TLS, "EHLO client.example\r\n"},
		{"no TLS now", func() *tls.Config { return nil }, ""},
		{"no TLS at all", nil, ""},
	} {
		o.TLS = tt.conf
		conn, end := peerOf(New(o), SubmissionTLS, "127.0.0.1:1")
		go io.WriteString(conn, tt.say)
		all, _ := io.ReadAll(conn)
		if err := <-end; err == nil || strings.Contains(string(all), "220") || len(all) > 7 { // an alert at most
			t.Errorf("%s: it hears %q, the session ended with %v", tt.name, all, err)
		}
		conn.Close()
	}
}

// TestTLSVersions: TLS 1.1 is refused, whatever Go thinks of it one day.
func TestTLSVersions(t *testing.T) {
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		o, trust := tlsOptions(t, &memQueue{})
		log := &testenv.Log{}
		o.Log = log.Logger()
		trust.MinVersion, trust.MaxVersion = version, version
		conn, end := peerOf(New(o), SubmissionTLS, strangerAddr)
		err := tls.Client(conn, trust).Handshake()
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		conn.Close()
		<-end
		if !ok && !strings.Contains(log.String(), `msg="TLS handshake failed"`) {
			t.Errorf("%s: log %s", tls.VersionName(version), log)
		}
	}
}

// TestClientCertificate: it is shown in the log and believed nowhere (A17).
func TestClientCertificate(t *testing.T) {
	o, trust := tlsOptions(t, &memQueue{})
	log := &testenv.Log{}
	o.Log = log.Logger()
	o.TLS().ClientAuth = tls.RequestClientCert
	theirs, _ := testenv.Certificate(t, "them.example")
	trust.Certificates = []tls.Certificate{theirs}
	conn, end := peerOf(New(o), SubmissionTLS, strangerAddr)
	c := &talker{t: t, conn: conn}
	c.secure(trust)
	c.want(220)
	c.do("EHLO client.example")
	c.do("MAIL FROM:<a@b.example>")
	if r := c.do("RCPT TO:<x@far.example>"); r.Code != 550 {
		t.Errorf("relaying with a certificate: %v, want 550", r)
	}
	c.conn.Close()
	<-end
	if !strings.Contains(log.String(), "cert_name=testenv") || !strings.Contains(log.String(), " cert=") {
		t.Errorf("log: %s", log)
	}
}

// cutConn ends after so many octets from its side.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left >= 0 {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:len(p)+c.left])
	c.Conn.Close()
	return n, errors.New("cut")
}

// TestHandshakeCut: a handshake that breaks off at any octet ends its session, and
// leaves nothing.
func TestHandshakeCut(t *testing.T) {
	q := &memQueue{}
	o, trust := tlsOptions(t, q)
	trust.CurvePreferences = []tls.CurveID{tls.X25519} // a short hello
	s := New(o)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		trust.MaxVersion = version
		for cut := 0; ; cut++ {
			conn, end := peerOf(s, SubmissionTLS, strangerAddr)
			err := tls.Client(&cutConn{conn, cut}, trust).Handshake()
			conn.Close()
			if serr := <-end; serr == nil {
				t.Fatalf("%s cut at %d: the session ended well", tls.VersionName(version), cut)
			}
			if err == nil {
				if cut < 200 {
					t.Errorf("%s: a handshake of %d octets", tls.VersionName(version), cut)
				}
				break
			}
		}
	}
	for range s.Sessions() {
		t.Error("a session is left")
	}
}

// TestHandshakeStalled: its time is one for the whole, and short where places are few, or
// become few.
func TestHandshakeStalled(t *testing.T) {
	for _, tt := range []struct {
		name    string
		crowded bool
		later   time.Duration // when another client comes; 0: none does
		want    time.Duration
	}{{"places are left", false, 0, handshakeWait}, {"few are left", true, 0, idleWait}, {"few are left then", false, 15 * time.Second, 16 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			o, _ := tlsOptions(t, &memQueue{})
			o.Clients = 2
			if tt.crowded {
				o.Clients = 1
			}
			l := servePipes(t, New(o), Relay)
			c, _ := l.connect(t, strangerAddr)
			c.offers("STARTTLS")
			if r := c.do("STARTTLS"); r.Code != 220 {
				t.Fatal(r)
			}
			begun := time.Now()
			var dripping sync.WaitGroup
			dripping.Go(func() { // an octet a second of a record that never ends
				for _, octet := range "\x16\x03\x01\x3f\xff" + strings.Repeat("x", 100) {
					if _, err := c.conn.Write([]byte{byte(octet)}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			if tt.later > 0 {
				dripping.Go(func() {
					time.Sleep(tt.later)
					other, _ := l.connect(t, "198.51.100.9:1")
					other.r.ReadByte() // until it is sent away itself
				})
			}
			c.r.ReadByte()
			if took := time.Since(begun); took != tt.want {
				t.Errorf("%s: it ended after %v, want %v", tt.name, took, tt.want)
			}
			dripping.Wait()
		})
	}
}

// TestHandshakeStopped: the end of the server waits for no handshake.
func TestHandshakeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := tlsOptions(t, &memQueue{})
		s := New(o)
		conn, end := peerOf(s, SubmissionTLS, strangerAddr)
		synctest.Wait()
		begun := time.Now()
		go io.Copy(io.Discard, conn)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-end; err == nil || time.Since(begun) > lingerWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		conn.Close()
	})
}

// TestIdleInTLS: a session under TLS is ended when its time is over, with words.
func TestIdleInTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, trust := tlsOptions(t, &memQueue{})
		conn, end := peerOf(New(o), SubmissionTLS, strangerAddr)
		c := &talker{t: t, conn: conn}
		c.secure(trust)
		c.want(220)
		begun := time.Now()
		if r := c.read(); r.Code != 421 || time.Since(begun) != defaultTimeout {
			t.Errorf("%v after %v", r, time.Since(begun))
		}
		conn.Close()
		<-end
	})
}

// FuzzTLS: whatever was said in the clear, under TLS the session begins anew, and
// stays in step.
func FuzzTLS(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\n", "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob>\r\nDATA\r\n\r\nx\r\n.\r\n")
	f.Add("EHLO x\r\nSTARTTLS", "STARTTLS\r\nEHLO x\r\nSTARTTLS")
	f.Add("HELO x", "\x16\x03\x01\x00\x05hello")
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice>\r\nDATA\r\n", "RCPT TO:<bob>\r\n\r\nDATA")
	cert, pool := testenv.Certificate(f, "us.example")
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}
	f.Fuzz(func(t *testing.T, before, within string) {
		q := &memQueue{}
		o := options(q)
		o.Timeout = 10 * time.Second
		o.TLS = func() *tls.Config { return conf }
		conn, end := peerOf(New(o), Relay, strangerAddr)
		defer func() { conn.Close(); <-end }()
		r := bufio.NewReader(conn)
		go io.WriteString(conn, before+"\r\n.\r\nHELP NOOP\r\n")
		for {
			reply, err := smtp.ReadReply(r)
			if err != nil || reply.Code == 220 && !strings.Contains(reply.Text, "postoffice") { // TLS, in the middle of its input
				return
			}
			if reply.Code == 214 && reply.Text == "NOOP [text]" {
				break
			}
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, "STARTTLS\r\n")
		if reply, err := smtp.ReadReply(r); err != nil || reply.Code != 220 {
			if err == nil && reply.Code != 503 && reply.Code != 421 && reply.Code != 214 {
				t.Errorf("%q, then STARTTLS: %v", before, reply)
			}
			return
		}
		taken := len(q.messages())
		c := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "us.example"})
		if err := c.Handshake(); err != nil {
			t.Fatalf("%q: %v", before, err)
		}
		io.WriteString(c, "DATA\r\n")
		if reply, err := smtp.ReadReply(bufio.NewReader(c)); err != nil || reply.Code != 503 && reply.Code != 421 {
			t.Fatalf("%q, then DATA within TLS: %v, %v", before, reply, err)
		}
		if n := len(q.messages()); n != taken {
			t.Errorf("%q: %d messages behind STARTTLS", before, n-taken)
		}
		read := make(chan string)
		go func() {
			all, _ := io.ReadAll(c)
			read <- string(all)
		}()
		io.WriteString(c, within+fuzzTail)
		if all := <-read; all != "" {
			checkReplies(t, within, "220 x\r\n"+all)
		}
	})
}

// TestRequireTLS: REQUIRETLS is offered and taken under TLS, and by programs of this
// machine, and is kept with the message; in the clear it is refused (RFC 8689).
func TestRequireTLS(t *testing.T) {
	q := &memQueue{}
	o, trust := tlsOptions(t, q)
	c := dial(t, New(o))
	if c.offers("REQUIRETLS") {
		t.Error("REQUIRETLS is offered in the clear")
	}
	if r := c.do("MAIL FROM:<a@b.example> REQUIRETLS"); r.Code != 530 || r.Status != "5.7.0" {
		t.Errorf("REQUIRETLS in the clear: %v, want 530 5.7.0", r)
	}
	c.do("STARTTLS")
	c.secure(trust)
	if !c.offers("\nREQUIRETLS") {
		t.Error("REQUIRETLS is not offered under TLS")
	}
	if r := c.do("MAIL FROM:<a@b.example> REQUIRETLS=yes"); r.Code != 501 {
		t.Errorf("REQUIRETLS with a value: %v, want 501", r)
	}
	program := dialFrom(t, New(o), Local, "127.0.0.1:1")
	if !program.offers("\nREQUIRETLS") {
		t.Error("REQUIRETLS is not offered to programs")
	}
	for _, c := range []*talker{c, program} {
		for _, line := range []string{"MAIL FROM:<a@b.example> requiretls", "RCPT TO:<alice@us.example>"} {
			if r := c.do(line); r.Code != 250 {
				t.Fatalf("%s: %v", line, r)
			}
		}
		c.do("DATA")
		c.send("Subject: x\r\n\r\nx\r\n.\r\n")
		c.want(250)
		all := q.messages()
		if _, ok := smtp.FindParam(all[len(all)-1].Params, smtp.ParamTLS); !ok {
			t.Errorf("stored with %v", all[len(all)-1].Params)
		}
	}
}
