package remote

import (
	"context"
	"time"
)

// lmtpStep is what an LMTP server on this machine gets for one reply, and
// lmtpTotal for a whole session: a store that hangs must not hold the queue.
const (
	lmtpStep  = time.Minute
	lmtpTotal = 10 * time.Minute
)

// DialLMTP opens a session with the LMTP server (RFC 2033) that listens on a
// unix socket. Its replies are judged as an SMTP server's, each recipient's on
// its own. Errors are as DialAny's.
func DialLMTP(ctx context.Context, socket string, o Options) (*Session, error) {
	o = o.withDefaults()
	o.TLS = TLSNever
	o.Step, o.Total = min(o.Step, lmtpStep), min(o.Total, lmtpTotal)
	ctx, cancel := context.WithTimeoutCause(ctx, o.Total, ErrLimit)
	defer cancel()
	return endpoint{network: "unix", addr: socket, relay: "lmtp:" + socket, lmtp: true}.open(ctx, o)
}
