// Package schedule decides which message may be worked on now: due times,
// arrivals, and gates before all that mail goes to.
//
// It knows a message by its queue ID alone: it opens none, starts no goroutine
// and never says where a message goes or what becomes of it. Whoever works on
// a message has a Work from Next; see deliver.
//
// A Gate lets a few messages through to one destination at a time, and a few
// to all of its kind: the one place where "so many for each, so many in all"
// is counted. Whoever finds it full waits in its line, by ID if it has nothing
// else to do, and is called with a place reserved. A Gate that is down answers
// instead of letting anybody through.
//
// Invariants:
//   - At most MaxActive messages are in work, more than wait at gates of any
//     kind: what one kind waits for stops no other. Nobody who submits has more
//     than a quarter of it (decision 13).
//   - So are at most 50,000 of their recipients, and beside them what one message
//     has beyond 20,000. One with many recipients waits in work, see Work.Hold, and
//     yields when it had its turn.
//   - Arrivals and due messages take turns, and so do the submitters of what
//     arrives or waits in a line; what is called from a line goes before both.
//   - Time is a monotonic clock's: setting the wall clock moves no message, and
//     ages none (A40).
//   - A message set aside is not handed out again (A38).
//   - A full gate holds messages in its line, not goroutines (A39), and
//     whoever waits in one stands in the line of a gate that was full when
//     last looked at: every place that gets free is offered to its line.
//
// The Schedule's one mutex guards all of it. Nothing is called while it is
// held, and it may be taken under any other lock.
//
// Memory for a message that waits is its ID and a time.
//
// Files:
//
//	schedule.go  Schedule: what arrives, what is due, what comes next
//	item.go      a message as the schedule knows it, and the heap of due times
//	work.go      Work: one message in work, from Next to its end
//	gate.go      Kind, Gate: places, and what is down
//	memory.go    the recipients of messages in work
//	line.go      who waits at a gate, and who is called
//	turns.go     a line in which submitters take turns
//	clock.go     the wall clock's jumps
//	delay.go     the wait between two attempts
package schedule
