// Package ask asks over a link to another process, and answers there: each question has a number, and so
// has its answer, whichever comes first. What is asked is the caller's, see
// privsep/signer, privsep/auth and privsep/logins.
//
// Invariants:
//   - The first packet that is no answer ends the link (A71).
//   - Whoever gives up waiting leaves nothing behind; an answer that comes too late is
//     dropped.
//   - An end that answers nobody while a question waits for its whole time has hung,
//     where that is asked for: its link ends, as if it had ended itself.
//
// Files:
//
//	ask.go   Client: the end that asks
//	serve.go the end that answers, for questions of one packet each
package ask
