// Package greykeeper is the greylist at work: it asks the store about strangers, writes down
// that they came, counts, and forgets. The rules are in applets/smtpd/greylist.
//
// It speaks no SMTP: applets/policy asks it at MAIL and refuses at DATA.
//
// Invariants:
//   - A session waits for it a few seconds at most, and mail goes on without the store (A65).
//   - What one address can have written down is bounded, and so is the whole; what was
//     decided by hand is never forgotten.
//   - What the clock does forgets nothing.
//
// Files:
//
//	keeper.go  options, and who is exempt
//	ask.go     what becomes of a contact
//	after.go   what is written down later: recipients that nobody is, junk, good mail,
//	           and whom somebody here has written to
//	sweep.go   what is forgotten
//	count.go   what is counted, and the line of each day
//	trouble.go the store, when it can't be asked
package greykeeper
