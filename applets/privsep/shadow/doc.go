// Package shadow checks logins to the accounts of the machine, in a process that can read
// shadow(5) and nothing that others can't.
//
// It asks neither PAM nor any source of nsswitch.conf but files: who wants these has
// Dovecot ask them (applets/logins/dovecot).
//
// Invariants:
//   - The process has a uid of its own, no group, nothing but its links and a descriptor
//     of the file, no capability and no_new_privs; it can't be traced, leaves no core, and
//     ends with the link of logins.
//   - The master opens the file, each time that another one stands in its place, and never
//     reads it. It parses one octet of what the process says.
//   - No hash leaves the process, and none is kept: each login reads the file.
//   - An account with uid 0 can't log in, nor one that is locked, expired, without a
//     password, or whose password is too old or has to be changed; the shell says nothing.
//   - A file that can't be read, is empty or breaks off is "later", never "no such account"
//     (A36).
//
// Files:
//
//	process.go  the process, and its start
//	accounts.go the accounts, for logins
//	file.go     the file: who opens it, and a line of it
//	ondemand.go the server's end
package shadow
