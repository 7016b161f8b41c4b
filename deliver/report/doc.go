// Package report writes delivery status notifications (RFC 3461, 3462, 3464):
// sentences for people, fields for programs, and what goes back of the
// message.
//
// It never claims, queues or records anything, and knows no clock, no queue and
// no attempt: a Report is plain values, written to a writer.
//
// Invariants:
//   - What peers and messages say can't add a line, a field or a part: it is
//     printable ASCII, cut (A61), or the message's own header in a part that
//     ends it.
//   - Text and fields are bounded, whatever the number of recipients and
//     their words (A59).
//
// Files:
//
//	report.go    Report, its header and its parts
//	text.go      what people read
//	status.go    what programs read (RFC 3464 section 2)
//	original.go  what goes back of the message
package report
