// Package wire is the connection below an SMTP session (RFC 5321): command lines and
// messages in, replies out, each within its time.
//
// It knows no verb and writes nothing of its own.
//
// Invariants:
//   - Every wait has a deadline that is a total, never one per octet.
//   - Who waits for a command holds no buffer, and nobody holds more than 64 KiB.
//   - Under TLS, too, who waits for a command has a small stack: the handshake has one of
//     its own, and TLS is asked for octets only when some have come.
//   - What is read and written may be swapped, for TLS; what was accepted stays, and
//     with it deadlines and the end, which others may set and bring about.
//
// Files:
//
//	conn.go    reads, replies, time limits, the end
//	line.go    command lines
//	data.go    the time that a message may take
//	hangup.go, hangup_rdhup.go, hangup_other.go
//	           a client that has gone while nothing is read
//	tls.go     the change to TLS
package wire
