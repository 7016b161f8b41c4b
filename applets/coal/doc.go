// Package coal keeps the scores of clients by what they were answered, and says who
// may be kept out for a low one.
//
// It judges no answer and knows no packet filter: see policy and coal/nft. What it
// decides has no clock: it is told the time.
//
// Invariants:
//   - A score decays, to nothing in the end (A89), and is lost rather than made up:
//     where there is no room for one, somebody's is forgotten.
//   - Whoever asks the Gate for something may have been taken over: it lets pass
//     few requests a second, and none for an address of this machine, of a trusted
//     client, or that is nobody's (A71).
//
// Files:
//
//	scores.go the server's side: scores by network
//	saved.go  the same as text, to be known after a restart
//	gate.go   the master's side: who may be kept out, and how many
//	keeper.go and its log
package coal
