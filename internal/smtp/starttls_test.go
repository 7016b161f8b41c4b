package smtp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"postoffice/internal/testenv"
)

func TestStartTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, pool := testenv.Certificate(t, "sink.example")
		sink := &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
		ours, theirs := net.Pipe()
		go sink.ServeConn(theirs)
		c := NewClient(ours, ClientOptions{Hello: "us.example"})
		start(t, c)
		if _, ok := c.Has("STARTTLS"); !ok {
			t.Fatal("STARTTLS not offered")
		}
		if err := c.StartTLS(&tls.Config{ServerName: "sink.example", RootCAs: pool}); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Has("PIPELINING"); ok {
			t.Error("what was offered in the clear is still believed")
		}
		if r, err := c.Hello(); err != nil || r.Code != 250 {
			t.Fatal(r, err)
		}
		if res, err := c.Send(transaction("p")); err != nil || !res.Accepted(0) {
			t.Fatal(codes(res), err)
		}
		if state, ok := c.TLS(); !ok || !state.HandshakeComplete {
			t.Error("no TLS")
		}
		c.Quit()
		sink.Close()
		if m := sink.Messages(); len(m) != 1 || !m[0].TLS {
			t.Errorf("got %+v", m)
		}
	})
}

func TestA9StartTLSInjection(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"text behind the 220", "S| 220 go\\r\\n250 AUTH PLAIN\\r\\n\nC!"},
		{"an octet behind the 220", "S| 220 go\\r\\n \nC!"},
		{"text behind another code", "S| 250 go\\r\\n250 AUTH PLAIN\\r\\n\nC!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withServer(t, pipelined+"C: STARTTLS\n"+tt.script, func(t *testing.T, c *Client) {
				start(t, c)
				if err := c.StartTLS(&tls.Config{ServerName: "them"}); err != ErrPlaintext {
					t.Errorf("got %v, want ErrPlaintext", err)
				}
				if _, err := c.Hello(); err == nil {
					t.Error("the connection is still open")
				}
			})
		})
	}
}

func TestA57StartTLSFails(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		refused      bool
	}{
		{"454", "S: 454 not now\nC: EHLO us.example\nS: 250 them\nC!", true},
		{"501", "S: 501 no\nC: EHLO us.example\nS: 250 them\nC!", true},
		{"250", "S: 250 fine\nC!", false},
		{"garbage", "S: what\nC!", false},
		{"end", "S!", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withServer(t, pipelined+"C: STARTTLS\n"+tt.script, func(t *testing.T, c *Client) {
				start(t, c)
				err := c.StartTLS(&tls.Config{ServerName: "them"})
				var refused *RefusedError
				if err == nil || errors.As(err, &refused) != tt.refused {
					t.Fatalf("got %v, want a RefusedError: %v", err, tt.refused)
				}
				if _, err := c.Hello(); (err == nil) != tt.refused {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // noise in place of the handshake
		ours, theirs := net.Pipe()
		go func() {
			r := bufio.NewReader(theirs)
			io.WriteString(theirs, "220 hi\r\n")
			for _, reply := range []string{"250 them\r\n", "220 go\r\n"} {
				r.ReadString('\n')
				io.WriteString(theirs, reply)
			}
			r.ReadByte()
			go io.Copy(io.Discard, r)
			io.WriteString(theirs, "no TLS here\r\n")
		}()
		c := NewClient(ours, ClientOptions{Hello: "us.example"})
		start(t, c)
		if err := c.StartTLS(&tls.Config{ServerName: "them"}); err == nil {
			t.Error("noise was taken for a handshake")
		}
		if _, err := ours.Write([]byte("x")); err != io.ErrClosedPipe {
			t.Errorf("the connection is still open: %v", err)
		}
	})
}
