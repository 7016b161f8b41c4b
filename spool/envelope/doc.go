// Package envelope holds the values that a queued message is made of beside its
// header and body, and their text in the message's file, spool(5).
//
// A file is a first line with lengths and checksums, the envelope as lines of
// text, the message as it came, and behind it what became known since: expansion
// blocks and notes, which are appended. Each recipient has a slot of one octet
// that says how far it is.
//
// It opens, locks, writes and syncs nothing, and asks no clock: Encoder and
// AppendBlock make octets, Parse reads those of an io.ReaderAt, spool does the
// rest.
//
// Invariants:
//   - One value has one text: what is read is encoded again, and a difference is
//     ErrDamaged.
//   - No value can hold a line end, or become two fields (A22).
//   - The text of a program, a file name or a list never stands in a file (A18).
//   - A file is never in memory whole, and never more than MaxRecipients
//     recipients of it. A line has at most 64 KiB.
//   - A read error is never ErrDamaged (A32).
//
// Files:
//
//	envelope.go    the values: Envelope, Recipient, State, Expansion, Note …
//	client.go      who a message comes from
//	errors.go      ErrInvalid, ErrDamaged, and what may be written
//	encoder.go     Encoder: first line and envelope of an arrival
//	firstline.go   the first line, its checksums, the limits of the format
//	target.go      a recipient's line
//	block.go       expansion blocks
//	note.go        notes
//	parse.go       Parse: a file from front to back
//	file.go        File: what was read, and which recipients count
//	outline.go     the same without the recipients' text, for who only looks
//	word.go        words, paths, parameters, numbers and times as text
//	linereader.go  lines and checksums from a pooled buffer
package envelope
