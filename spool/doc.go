// Package spool keeps accepted messages on disk until every recipient is done.
//
// A message is one file: a first line with lengths and checksums, the envelope
// as lines of text, the message as it came, and behind it what became known
// since, appended. Each recipient has a slot of one octet that says how far it
// is. spool(5) is the format.
//
// It never expands an alias, opens a connection or picks a time: see deliver.
//
// Invariants:
//   - Commit returns nil only when the message file and its directory entry
//     are synced: the 250 takes responsibility (RFC 5321 section 4.2.5).
//   - A recipient recorded as done is never handed out again: Record returns
//     nil only when the slot's octet is synced.
//   - A published file is never truncated, rewritten or replaced. Octets in
//     it change in slots alone; all else is appended.
//   - One holder at a time has a message: flock(2) on its file, and then the
//     name must still lead to the locked file.
//   - What can't be read is moved to corrupt/, never removed; a read error
//     of the disk leaves the message where it is, for later.
//   - A message is never in memory whole, and never more than MaxRecipients
//     recipients of it.
//   - fsync is never repeated after an error: what it was to write is gone.
//
// All file access goes through disk.FS; the crash tests cut the power at every
// operation of it.
package spool
