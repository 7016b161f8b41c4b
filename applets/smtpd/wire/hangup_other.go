//go:build !linux && !freebsd

package wire

import "golang.org/x/sys/unix"

// hangupEvent: without POLLRDHUP only a connection that is closed in both directions is
// seen, as far as the system tells.
const hangupEvent = unix.POLLHUP
