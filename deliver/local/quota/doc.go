// Package quota says how much is in a mailbox, whether one more message fits, and what
// that is in a Maildir's own account of it.
//
// It never writes a message, and knows neither users nor rights: who calls it may read the
// mailbox.
//
// Invariants:
//   - One look at a Maildir sees at most maxNames names, and what it saw is remembered so
//     long that looking takes a twentieth of the time at most.
//   - What a file is called is believed where it says a size, as all readers of Maildirs
//     do; links and what else is no file count for nothing.
//
// Files:
//
//	count.go   what is there
//	record.go  maildirsize, where somebody keeps it
//	book.go    what was counted last
package quota
