// Package edits holds what a filter makes of a message, as values: changes of its
// header, another body, another sender, recipients more and less.
//
// It knows no filter and no queue, and never holds a message: who reads through Edits
// gets the message in pieces, as all of them together leave it.
//
// Invariants:
//   - A field that would break the header is an error and not in the Edits: no name but
//     a field's, and no line end in a value but in front of a blank.
//   - Memory is bounded: the changes of one message have at most 1 MiB in all.
//
// Files:
//
//	edits.go   the values, and what is no change
//	reader.go  the message as they leave it
package edits
