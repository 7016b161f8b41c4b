// Package spool keeps accepted messages on disk until every recipient is done.
//
// A message is one file, whose text package envelope makes and reads; spool(5)
// is the format.
//
// It never expands an alias, opens a connection or picks a time: see deliver.
//
// Invariants:
//   - Commit returns nil only when the message file and its directory entry
//     are synced: the 250 takes responsibility (RFC 5321 section 4.2.5).
//   - A recipient recorded as done is never handed out again: Record returns
//     nil only when the slot's octet is synced.
//   - A published file is never truncated or rewritten. Octets in it change in
//     slots alone; all else is appended. It is replaced once at most, while it waits
//     for filters, by the copy that they have edited.
//   - One holder at a time has a message: flock(2) on its file, and then the
//     name must still lead to the locked file.
//   - What can't be read is moved to corrupt/, never removed; a read error
//     of the disk leaves the message where it is, for later.
//   - A message is never in memory whole.
//   - fsync is never repeated after an error: what it was to write is gone.
//
// All file access goes through disk.FS; the crash tests cut the power at every
// operation of it.
//
// Files:
//
//	queue.go     Open: the spool's directories, and whether there is room
//	incoming.go  Create, Write, Commit: a message that arrives
//	id.go        queue IDs
//	claim.go     Claim: a message that is worked on, and what is in it
//	append.go    Expand and Note: what is added to its file
//	record.go    Record and Finish: who is done
//	list.go      Entries and Read: what is in the queue; Look: one message, for who shows it
//	waiting.go   what waits for filters, and how it passes them
//	move.go      Hold and Release, and what is set aside as damaged
//	admin.go     what an administrator does to one message
//	lock.go      the queue lock
//	clean.go     Clean: what crashes leave behind
//	ballast.go   room that is kept back for recording
//	syncer.go    one directory sync for all who wait for one
//	errors.go    what a caller may branch on
package spool
