// Package greylist keeps strangers waiting who were never seen: a server tries again, and
// most of what sends junk doesn't.
//
// It speaks no SMTP and opens no store. What decides (Decide, Keys, Record) asks neither
// clock nor disk.
//
// Invariants:
//   - The date from which a key passes never moves because it came too early (B29).
//   - What a person has decided no program takes back (B31, R61).
//   - Whatever the clock does, nobody waits longer than a first contact could (A65).
//
// Files:
//
//	record.go what is known of a key, smtpauth(5)
//	key.go    under which key that is
//	decide.go the rules, greylist(7)
//	tally.go  what became of strangers in a time
//	store.go  where records are kept
//	memory.go a store for tests
package greylist
