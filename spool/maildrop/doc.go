// Package maildrop is the directory in which anybody on this machine may leave a
// message while no server runs, and the way from there into the queue.
//
// Drop.Leave writes a file, for a sendmail that may do nothing else. PickUp goes
// through the files as a server does, and hands each to a function that submits
// it. decisions/0007 says why it is like this.
//
// It never submits, and it never believes a file: who left it is the inode's
// owner.
//
// Invariants:
//   - Leave returns nil only when file and name are durable; after an error
//     nothing is left.
//   - A file is removed only when its message is durable in the queue. A crash
//     in between picks it up twice, never not at all.
//   - A file is read through one descriptor, under a lock and after a second
//     look, and copied: its owner may have it open.
//   - What is no message is kept, in corrupt/ or where it lies. Only links and
//     FIFOs, and what an interrupted writer has left, go after 36 hours.
//   - No owner's files keep another's waiting, or fill corrupt/.
//
// Files:
//
//	maildrop.go  Open: the directory, its owner and mode
//	drop.go      Drop: a message that is left, and its text
//	pickup.go    PickUp: all that lies there, in turns between its owners
//	owners.go    whose turn it is
//	aside.go     what becomes of a file that is no message
//	waiting.go   Waiting: what mailq shows
package maildrop
