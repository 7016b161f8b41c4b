// Package login is AUTH (RFC 4954): what is said on the wire until a client has logged in
// or was refused. Whose passwords there are a Source knows.
//
// Invariants:
//   - What a client sends for a login is in no error and in no reply, and nobody outside a
//     Source keeps it.
//   - A refusal doesn't tell an unknown name from a wrong password, an account that is
//     closed, or one that can't be used so (A66).
//   - What may pass is 454, never 535: a program asks its user for another password then.
//
// Files:
//
//	login.go    what a Source is
//	dialogue.go one AUTH, from the command to its last reply
package login
