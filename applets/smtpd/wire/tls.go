package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"time"

	"postoffice/internal/sasl"
)

// Bindings tie a login to the TLS that is spoken.
func (w *Conn) Bindings() sasl.Bindings {
	if t, ok := w.conn.(*tls.Conn); ok {
		return sasl.BindingsOf(t.ConnectionState(), w.shown)
	}
	return nil
}

// Shown reports whether a handshake has gone as far as our certificate, whatever became of
// it then.
func (w *Conn) Shown() bool { return w.shown != nil }

// Secure begins TLS (RFC 8446, RFC 5246) as the server: the handshake has wait as a
// whole, and ends at the next idleWait where few places are left. Replies that wait
// are written before it; what was read and not used must be nothing, since it came in
// the clear (RFC 3207 section 4.2, A9): the caller has looked. An error ends the
// connection, but for Close.
func (w *Conn) Secure(conf *tls.Config, wait time.Duration) (tls.ConnectionState, error) {
	if err := w.Flush(); err != nil {
		return tls.ConnectionState{}, err
	}
	if w.Crowded != nil && w.Crowded() {
		wait = min(wait, w.idleWait())
	}
	t := tls.Server(looking{w.sock, w}, conf)
	w.sock.SetDeadline(time.Now().Add(wait))
	if _, ok := w.stopped(); ok { // see armRead
		return tls.ConnectionState{}, ErrStopped
	}
	if err := w.handshake(t); err != nil {
		_, stopped := w.stopped()
		switch {
		case stopped:
			err = ErrStopped
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = ErrTimeout
		}
		w.writeErr = err // nothing of ours may follow in the clear
		return tls.ConnectionState{}, err
	}
	w.release()
	w.conn = t
	return t.ConnectionState(), nil
}

// handshake goes through the handshake on a stack of its own, which is given back: the
// session's would have a good deal of it for as long as the session is idle. Meanwhile it
// looks every idleWait whether this stands in the way of others.
func (w *Conn) handshake(t *tls.Conn) error {
	done, crashed := make(chan error, 1), make(chan any, 1)
	go func() {
		defer func() {
			if crash := recover(); crash != nil {
				crashed <- crash
			}
		}()
		done <- t.Handshake()
	}()
	look := time.NewTicker(w.idleWait())
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case crash := <-crashed:
			panic(crash) // it is the session's
		case <-look.C:
			if w.Crowded != nil && w.Crowded() {
				w.sock.SetDeadline(time.Unix(1, 0))
			}
		}
	}
}

// looking is a connection below TLS. While the session only looks whether octets have
// come, see tryRead, it does not wait for them, so that who is idle has nothing of TLS
// on their stack, and no buffer.
type looking struct {
	net.Conn
	w *Conn
}

// Show hears which certificate the client is shown: crypto/tls doesn't tell a server
// behind the handshake.
func (l looking) Show(c *x509.Certificate) { l.w.shown = c }

func (l looking) Read(p []byte) (int, error) {
	if b := l.w.buffers; b != nil && b.src.fd >= 0 {
		return readNow(b.src.fd, p)
	}
	return l.Conn.Read(p)
}
