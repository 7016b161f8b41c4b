// Package sasl has the mechanisms of SASL (RFC 4422) as state machines: who logs in
// is asked for answers to what the server says, and decides at the end whether a
// success may be believed; who is logged in to reads answers and checks them.
//
// It never reads or writes, and knows no protocol that carries it: base64 and
// commands are the caller's.
//
// Invariants:
//   - No error holds a password, a token or anything made from one.
//   - SCRAM says that it is done after a server that has shown that it knows the
//     password, and after no other (RFC 5802 section 3).
//   - SCRAM tells a server without channel binding that we could have had it, so
//     that whoever takes the -PLUS mechanisms off a list is found out (section 6).
//   - How often a server may have a password hashed has a limit, in both directions.
//
// Passwords outside ASCII are taken as they are written, without SASLprep, as
// Dovecot takes them.
//
// Files:
//
//	client.go   Client, Credentials; which mechanism is taken
//	plain.go    PLAIN, LOGIN and CRAM-MD5
//	token.go    OAUTHBEARER and XOAUTH2
//	scram.go    SCRAM, the client's side
//	server.go   the server's side of PLAIN and SCRAM
//	verifier.go what a server keeps of a password for SCRAM
//	message.go  the messages and keys of SCRAM, which both sides have
//	binding.go  channel binding
package sasl
