// Package smtpd is the SMTP server (RFC 5321): sessions on TCP and on the
// submission socket, their verbs, limits, and the trace fields of the messages
// that they take in.
//
// It decides nothing about who may relay, who exists or where mail is kept:
// Policy and Queue do, and they are the only way out of here.
//
// Invariants:
//   - 250 to the final dot is written only after Incoming.Commit returned nil.
//   - A command line gets one reply, whatever its length or octets, and the
//     rest of a refused line never runs as a command.
//   - A reply holds printable ASCII only, and no path and no option's name.
//   - Every wait has a deadline that is a total, never one per octet.
//   - A session that waits for a command holds no buffer, and no session holds
//     more than 256 KiB whatever its client sends.
//   - The accept loop writes to nobody and asks nobody.
//   - Trust comes from the connection: peer address or socket credentials.
//
// One goroutine is one session, and all of a session's state is its own; what
// sessions share is the table of limits, behind one mutex, and the settings,
// swapped whole.
package smtpd
