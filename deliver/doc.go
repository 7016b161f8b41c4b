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
//     this runner (A38).
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
// An attempt works in rounds, and nothing in it calls back: what is to be started
// (todo) is started, answers are waited for, what has settled (tally) is
// recorded with one sync for each state, and what follows is planned from the
// recipients and what led to them (tree). record never plans, plan never
// records.
//
// Locks: the Runner has none. The Schedule's guards what is due and the gates
// (deliver/schedule), the Pool's the sessions (deliver/remote), and a third one
// the answers of DNS that are used again. None is taken while another one is
// held. An attempt belongs to its goroutine.
//
// Memory for a message that waits is its queue ID and a time.
//
// Files:
//
//	runner.go      Runner: Run, Pass, Wake; which messages are worked on
//	options.go     what a Runner is given
//	submitter.go   who a message comes from, for shares
//	attempt.go     one attempt, in rounds, from claim to close
//	message.go     message: a claimed message with its settings
//	log.go         its lines in the log
//	notes.go       its notes
//	watch.go       what whoever watches is told of it
//	tree.go        tree: recipients and what led to each
//	reached.go     what earlier attempts reached
//	todo.go        todo: what is to be planned and started
//	start.go       starts it: local targets, routes, next hops
//	delivery.go    the work for one local target
//	mailbox.go     into a mailbox
//	lmtp.go        into the LMTP server that keeps the mailboxes
//	answer.go      the answers, and the targets that they are about
//	tally.go       tally: what has come of the attempt
//	record.go      records it
//	plan.go        finds what follows from it
//	changed.go     what stands where something has vanished
//	bounce.go      what the senders are told
//	loop.go        what a header says of the message's way
//	admin.go       hold, release, retry, return and remove
//	unrecorded.go  deliveries whose process died before they were recorded
//	nexthop.go     what goes to a next hop, and what came of it
//	route.go       the answer for a domain, asked for or known
//	dnsanswers.go  what DNS said lately
package deliver
