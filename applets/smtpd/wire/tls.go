package wire

import (
	"crypto/tls"
	"errors"
	"os"
	"time"
)

// Secure begins TLS (RFC 8446, RFC 5246) as the server: the handshake has wait as a
// whole, ten seconds where few places are left. Replies that wait are written before
// it; what was read and not used must be nothing, since it came in the clear (RFC 3207
// section 4.2, A9): the caller has looked. An error ends the connection, but for Close.
func (w *Conn) Secure(conf *tls.Config, wait time.Duration) (tls.ConnectionState, error) {
	if err := w.Flush(); err != nil {
		return tls.ConnectionState{}, err
	}
	if w.Crowded != nil && w.Crowded() {
		wait = min(wait, IdleWait)
	}
	t := tls.Server(w.sock, conf)
	w.sock.SetDeadline(time.Now().Add(wait))
	if _, ok := w.stopped(); ok { // see armRead
		return tls.ConnectionState{}, ErrStopped
	}
	if err := t.Handshake(); err != nil {
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
	w.Swap(t)
	return t.ConnectionState(), nil
}
