// Package virtual has the programs that look after virtual domains: vdomain and vpasswd.
//
// What stands in their files is vhost's to know; who delivers and who logs in is the
// server's.
//
// Invariants:
//   - What root does in a domain's directory is done with the owner's rights: the owner may
//     have put anything there (B77).
//   - A password is never an argument, and in no message.
//
// Files:
//
//	files.go   commands and their operands; a domain's directory, and whose rights
//	vdomain.go the list of domains
//	vpasswd.go users and passwords
package virtual
