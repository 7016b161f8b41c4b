// Package login is what a session with a smarthost has beside mail: TLS with a
// certificate that is good, and a login; and what is remembered of those that failed.
//
// It opens no connection, and knows neither messages nor where they go: see
// deliver/remote.
//
// Invariants:
//   - For each host and user one session at a time is being opened.
//   - After a failure none is before a pause is over, which grows with each further
//     failure, unless the password has become another one.
//   - A password is kept for as long as a session is being opened; of one that was
//     refused a keyed hash stays.
//   - At most maxKnown hosts and users are remembered, those that nobody wants for
//     forgetWait not at all.
//   - No failure is ever an answer about a message.
//
// Files:
//
//	keeper.go   Keeper: turns and pauses
//	memory.go   what the next process is to know of failures
//	failure.go  why it came to nothing, in words that say what to do
//	tls.go      which certificate is good
//	auth.go     the login itself
package login
