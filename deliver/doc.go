// Package deliver runs the queue: which message is due, where each recipient
// goes, what follows from the answer, and what the sender is told.
//
// It never listens, never parses a command line, and never makes a message
// file itself: see spool. It opens no connection and no mailbox itself: see
// deliver/remote and deliver/local.
//
// Invariants:
//   - One runner delivers: Run and Pass hold the queue's lock.
//   - An outcome is recorded as soon as it is known, recipient by recipient;
//     where it can't be recorded nothing more of that message is delivered by
//     this runner (hostile.md A38).
//   - A slow or dead destination holds no more than its own small share of
//     what may be in work at a time; all else that waits for it is remembered
//     by its queue ID alone (A39).
//   - Permanent is only what table_test.go lists as permanent (A41). Too old
//     is judged after an attempt (A40).
//   - A bounce is durable in the spool before a recipient is recorded as
//     bounced, and nothing with a null reverse-path is ever answered (A59).
//   - Aliases are looked up at delivery; what was found is recorded in the
//     spool as a block before it is used, and a name that leads back to
//     itself is neither expanded nor dropped.
//
// Memory for a message that waits is its queue ID and a time.
package deliver
