// Package signer keeps private keys in a process of their own, and lets the server
// sign with them: the server's memory holds none, whoever reads it.
//
// It reads no file and knows no certificate: a key is a number. The master starts the
// process, hands it the keys and gives its end of the link to the server.
//
// Invariants:
//   - What passes between the server and the signer are messages of one size each way,
//     with one form for each meaning (A71): a key's number, a scheme, and a digest, or
//     at most 255 octets where the scheme has no digest of its own.
//   - A key signs what TLS signs and nothing else: digests of SHA-256 and longer, RSA
//     with the digest's length of salt.
//   - Once the keys have come nothing but questions is understood, and whatever is none
//     of these ends the process.
//   - The process has an account of its own, nothing but its link, no capability and
//     no_new_privs; it can't be traced, leaves no core, and ends with its link.
//   - At most 64 questions of a server are under way, each for 10 seconds. A signer that
//     answers none of them in that time has hung: it is killed, and another one follows.
//
// Files:
//
//	wire.go     questions and answers as octets
//	keys.go     keys, and signing with one
//	process.go  the process, and its start
//	keep.go     one signer after the other for a server
//	client.go   the server's end
package signer
