// Package message reads and edits the header of a message: one grammar of
// header lines for all who look at them (RFC 5322 section 2.2, blanks before
// the colon as in section 4.5).
//
// It never looks at a body, never holds a message, and knows nothing of where
// one comes from or goes to. Messages are in the form of the spool: lines that
// end in LF.
//
// Invariants:
//   - Memory depends on the limits that a caller sets, not on the message: a
//     header of 100 MB, a field or a line of that length pass like any other.
//   - The header ends at an empty line, or at the first line that is none of
//     a header; that line is the body's.
//   - An Edit without operations copies each octet, however the message is cut
//     into pieces, but for one: a message that begins with what is no header
//     line gets an empty line in front, so that it can't continue a field that
//     was written before it (A24).
//   - No operation can make more than one field: a line end in a value is a
//     folded line.
//
// Files:
//
//	field.go   a header field, and what the start of a line says of it
//	fields.go  reading a header field by field
//	header.go  a header held in memory
//	check.go   what a field may be called and hold
//	edit.go    the operations on a message that passes
//	write.go   the message passing
//	phrase.go  a display name as a field may have it
//	authserv.go who says to have looked, in Authentication-Results
package message
