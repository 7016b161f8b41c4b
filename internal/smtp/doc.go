// Package smtp holds the words of the protocol that both sides speak: paths,
// parameters, replies, the two forms of a message (on the wire and in the
// spool), and a client.
//
// It has no policy and touches no disk: who may relay, what a 4xx means for a
// message and when to try again are decided elsewhere.
//
// Invariants:
//   - A message from DATA ends at CR LF "." CR LF and nowhere else, whatever
//     the buffers, the destination or the sizes are (RFC 5321 section 4.1.1.4).
//   - What ReadData hands on has no CR; what WriteData sends has no CR without
//     LF, no LF without CR, and no line "." but the last.
//   - A Path that was parsed prints to text that parses to the same Path.
//   - A Reply is one code, bounded when read, printable ASCII when written.
//   - Nothing that was read in the clear is believed after STARTTLS.
//   - No transcript and no reply has what a login sends, also where the server says
//     it again.
//   - Nothing here allocates per line of a message.
//
// Files:
//
//	path.go, parsepath.go
//	                reverse-paths and forward-paths
//	literal.go      address literals, networks
//	params.go       parameters of MAIL and RCPT
//	dsn.go          those of RFC 3461
//	reply.go        replies
//	text.go         folding, printable text, errors in words
//	mailboxes.go, fieldtokens.go
//	                addresses in header fields
//	readdata.go, writedata.go
//	                messages on the wire
//	client.go       a client: greeting, EHLO, TLS
//	auth.go         its login
//	transaction.go  its transactions
//	body.go         its message and the replies to that
package smtp
