//go:build linux || freebsd

package wire

import "golang.org/x/sys/unix"

// hangupEvent is what poll(2) has for an end that sends nothing more.
const hangupEvent = unix.POLLRDHUP
