package smtpd

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// helloFor is a ClientHello that asks for a name that crypto/tls itself would not ask for.
func helloFor(t *testing.T, name string) []byte {
	t.Helper()
	const end = ".example"
	stand := strings.Repeat("a", max(1, len(name)-len(end))) + end
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- tls.Client(theirs, &tls.Config{ServerName: stand}).Handshake() }()
	head := make([]byte, 5)
	_, err := io.ReadFull(ours, head)
	testenv.Must(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(ours, body)
	testenv.Must(t, err)
	ours.Close()
	<-done
	if bytes.Count(body, []byte(stand)) != 1 || len(stand) != len(name) {
		t.Fatalf("no place for %q in the hello", name)
	}
	return append(head, bytes.Replace(body, []byte(stand), []byte(name), 1)...)
}

// TestServerNames: whatever name a client asks for, it gets a ServerHello with the first
// certificate where there is none of that name, or an alert; the log holds the name or the
// failure in one line, and the session's place is free again. A name that ends in a dot is
// none (RFC 6066 section 3), and crypto/tls says so with decode_error: a client that asks
// for one has to leave the dot out.
func TestServerNames(t *testing.T) {
	const (
		alert     = 21
		handshake = 22
	)
	for _, tt := range []struct {
		name string
		want byte
		says string // of an alert
	}{
		{"mail.us.example", handshake, ""},
		{"US.EXAMPLE.EXAMPLE", handshake, ""},
		{"us.example.example.", alert, "decoding"},
		{"us\x00example.example", handshake, ""},
		{"192.0.2.25.192.0.2", handshake, ""},
		{"[2001:db8::25]....", alert, "decoding"},
		{"\r\nQUIT\r\n\x1b[31m level=error", handshake, ""},
		{"b\xc3\xbccher.example.xx", handshake, ""},
		{strings.Repeat("x", 255), handshake, ""},
		{strings.Repeat("x.", 200) + "y", handshake, ""},
	} {
		var log testenv.Log
		o, _ := tlsOptions(t, &memQueue{})
		o.Log = log.Logger()
		s := New(o)
		conn, end := peerOf(s, SubmissionTLS, strangerAddr)
		conn.SetDeadline(time.Now().Add(time.Minute))
		go conn.Write(helloFor(t, tt.name))
		head := make([]byte, 7)
		if _, err := io.ReadFull(conn, head); err != nil || head[0] != tt.want {
			t.Errorf("%q: % x, %v, want a record of type %d", tt.name, head, err, tt.want)
		}
		conn.Close()
		<-end
		text := log.String()
		if strings.Count(text, "TLS handshake failed") != 1 || strings.ContainsAny(text, "\r\x1b\x00") || !strings.Contains(text, tt.says) {
			t.Errorf("%q: the log has %q", tt.name, text)
		}
		for range s.Sessions() {
			t.Errorf("%q: a session is left", tt.name)
		}
	}
}

// pieces writes the first records in records of one octet each.
type pieces struct {
	net.Conn
	left int // records
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.left == 0 || b[0] != 22 {
		return p.Conn.Write(b)
	}
	p.left--
	n := int(b[3])<<8 | int(b[4])
	for _, octet := range b[5 : 5+n] {
		if _, err := p.Conn.Write([]byte{22, b[1], b[2], 0, 1, octet}); err != nil {
			return 0, err
		}
	}
	if len(b) == 5+n {
		return len(b), nil // an empty write on a pipe waits for a reader
	}
	_, err := p.Conn.Write(b[5+n:])
	return len(b), err
}

// TestHelloInPieces: a hello that comes in records of one octet is one (RFC 8446 section
// 5.1), records without an octet are none, and what is more than a hello may be ends the
// handshake.
func TestHelloInPieces(t *testing.T) {
	o, trust := tlsOptions(t, &memQueue{})
	s := New(o)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		trust.MinVersion, trust.MaxVersion = version, version
		conn, end := peerOf(s, SubmissionTLS, strangerAddr)
		c := &talker{t: t, conn: &pieces{conn, 1}}
		c.secure(trust)
		c.want(220)
		if r := c.do("QUIT"); r.Code != 221 {
			t.Errorf("%s: %v", tls.VersionName(version), r)
		}
		conn.Close()
		<-end
	}
	for name, sent := range map[string][]byte{
		"records without an octet": bytes.Repeat([]byte{22, 3, 1, 0, 0}, 100),
		"a hello of 16 MiB":        append([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, make([]byte, 0x4000-4)...),
		"an alert first":           {21, 3, 1, 0, 2, 2, 40},
		"warnings without end":     bytes.Repeat([]byte{21, 3, 1, 0, 2, 1, 90}, 100),
		"data first":               {23, 3, 3, 0, 1, 'x'},
		"SSL 2":                    {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10},
		"SMTP":                     []byte("EHLO client.example\r\n"),
		"HTTP":                     []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		conn, end := peerOf(s, SubmissionTLS, strangerAddr)
		conn.SetDeadline(time.Now().Add(time.Minute))
		written := make(chan bool)
		go func() { conn.Write(sent); close(written) }()
		got, err := io.ReadAll(conn)
		conn.Close()
		<-written
		if <-end == nil || err != nil || bytes.Contains(got, []byte("220")) {
			t.Errorf("%s: %q, %v, and the session ended well", name, got, err)
		}
	}
	for range s.Sessions() {
		t.Error("a session is left")
	}
}
