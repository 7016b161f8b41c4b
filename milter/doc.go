// Package milter speaks to mail filters: one conversation of a mail server with
// one filter, in the protocol of sendmail 8's filters, versions 2 to 6, as
// libmilter and Postfix have it.
//
// It is the wire and nothing else. It knows no option, no SMTP session and no
// spool: what it is told goes to the filter, and what the filter wants comes back
// as values, a Verdict at each step and the edits at the end of a message. When a
// filter is asked, what its failure means, and who makes the edits is decided
// elsewhere.
//
// A filter is a peer like any stranger. Invariants:
//   - Every length is checked before memory is taken for it. A conversation holds
//     at most 1 MiB, whatever the filter says and however long messages are.
//   - Every step has a total time, and so has a message. Progress prolongs a step,
//     never a message.
//   - What a filter says of a reply, a header field or an address is checked before
//     it is returned: nothing can end a line, a field or a reply.
//   - After an error the connection is closed, and every call returns that error.
//   - There is no goroutine, and nothing is written but to the filter.
//
// Files:
//
//	words.go   steps, verdicts, edits, macros: the values
//	conn.go    a conversation: its start, its end, its time
//	terms.go   what both sides agree on at the start
//	macros.go  which macros go with which step
//	steps.go   the steps up to the end of a message
//	end.go     the end of a message
//	edit.go    an edit as it comes, checked
//	packet.go  packets, both ways
//	reply.go   a reply for the client as it comes, checked
package milter
