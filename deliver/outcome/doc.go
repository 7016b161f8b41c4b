// Package outcome is what one attempt brought one recipient: the one type for
// it, from the mailbox or the peer to the log and the report.
//
// It never decides what follows from an outcome: see deliver.
//
// Invariants:
//   - The zero Outcome is a deferral, so that what is forgotten is never lost.
//   - An error that is no Failure is a deferral (Of).
//
// Files:
//
//	outcome.go  Action, Outcome and what is read from it
//	words.go    outcomes in our own words
//	failure.go  an error that carries an outcome
package outcome
