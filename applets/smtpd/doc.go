// Package smtpd is the SMTP server (RFC 5321): sessions on TCP and on the
// submission socket, their verbs, limits, and the trace fields of the messages
// that they take in.
//
// It decides nothing about who may connect or relay, who exists or where mail is
// kept: Checker and Queue do, and they are the only way out of here.
//
// Invariants:
//   - 250 to the final dot, or the last chunk, is written only after Incoming.Commit returned nil.
//   - A command line gets one reply, whatever its length or octets, and neither
//     the rest of a refused line nor a chunk of BDAT ever runs as a command.
//   - A reply holds printable ASCII only, and no path and no option's name.
//   - Every wait has a deadline that is a total, never one per octet.
//   - A session that waits for a command holds no buffer, but for the header of a
//     message that comes in chunks and its block for the queue, and no session holds
//     more than 256 KiB whatever its client sends.
//   - The accept loop writes to nobody and waits for nobody: whose a connection is
//     the kernel and files of this machine tell, and one too many is answered
//     beside it.
//   - No user, address or network has more than its share of the sessions, and of
//     the room for mail, with what is being received and what waits in the queue.
//   - Trust comes from the connection: peer address or socket credentials.
//
// One goroutine is one session, and all of a session's state is its own; what
// sessions share is the table of limits, behind one mutex, and the settings,
// swapped whole.
//
// Files:
//
//	options.go    settings, and what the server asks of those behind it
//	server.go     listeners, one connection, the end
//	accept.go     the accept loop
//	claim.go      room for what comes and is made of it, a client's share of that, and how
//	              fast clients come
//	client.go     who the client is
//	passedon.go   clients that another passes on: the PROXY header, and XCLIENT
//	session.go    a session from greeting to end
//	patience.go   who is kept waiting: before the greeting, for many errors, and where a
//	              client was refused and may only quit
//	verbs.go      the table of commands, their order, and the short ones: HELO, EHLO
//	              and all that take no mail
//	starttls.go   TLS: its beginning, and what is known of it
//	mail.go       MAIL and RCPT
//	login.go      AUTH: as whom the client logs in
//	data.go       DATA and BDAT, and what becomes of a message at its end
//	header.go     the header of what comes, its hops, and our trace fields
//	sessions.go   which sessions there are, and the end of one
package smtpd
