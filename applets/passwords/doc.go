// Package passwords finds the passwords that this machine logs in with at smarthosts: in
// the file of option relay-passwords, or by the command of relay-password-command.
//
// It is of the process that may read them, the master or a server of one user's, and
// never says why something is wanted.
//
// Invariants:
//   - A file that others may read or write is not used: the error says what to do.
//   - It is read anew for each question, and nothing of it is kept.
//   - The command runs in a process of its user's, never as root, and has ten seconds for
//     one line. What it printed is kept for a moment, so that nobody's mail runs it often.
//   - No error has a password in it.
//
// Files:
//
//	file.go    the file
//	command.go the command, and the process that runs it
//	source.go  Source: who answers
package passwords
