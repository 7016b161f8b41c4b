// Package filters asks the mail filters of option filter: which of them, when, and what
// their failure means.
//
// It speaks no protocol itself (milter does) and changes no message: what filters want
// made of one is returned as values.
//
// Invariants:
//   - Filters are asked in their order, and each sees the message as those before it
//     leave it, without our own trace field. The first that refuses ends the round.
//   - A filter that fails has one line in the log, and its mail goes where fail= says.
//     Neither the session nor another filter is any the worse for it, and none of a failed
//     filter's edits is made.
//   - A filter that can't be reached is left alone for a while that grows, by all sessions.
//     One that fails in the middle is so only when it has failed for two clients: nobody
//     gets others' mail past a filter, or held up, by what breaks it.
//   - A filter has a bounded number of connections, of which nobody has more than a
//     share, and a message is read in pieces, however many octets it has.
//   - Where fail= says open, it is a failure of the filter that opens, never a client
//     that has taken up its connections.
//
// Files:
//
//	counts.go   how each filter is, and what it has done
//	filters.go  the filters that there are, and the state that sessions share
//	doubts.go   failures in the middle of conversations, and who tries again
//	session.go  the filters of one session: commands
//	judge.go    a message that waits in the queue
//	message.go  the filters of one session: the end of a message
//	macros.go   what filters are told beside
//	words.go    replies
package filters
