// Package route decides where a recipient leads: to what an alias, option
// usermap, a .forward or a list says, to a mailbox, a program, a file, another
// machine, or nowhere.
//
// It never delivers, records or waits for a turn: see deliver. It has no state,
// no goroutine and no clock; what it asks are aliases, accounts, DNS and, for
// files of users, Options.Users.
//
// Invariants:
//   - Permanent is only: no such user, and what remote.Router's answers of DNS
//     say. A mistake in a file, a loop or a limit is a deferral (A41, A50).
//   - What could not be read now is never "no such user" (A36).
//   - The queue run and DryRun take the same steps.
//
// Files:
//
//	options.go  the settings, and what reads users' files
//	router.go   what is local, who exists
//	recipient.go  the answer to RCPT, with the room in mailboxes
//	resolve.go  the step that follows from a recipient
//	node.go     a recipient and what led to it; circles, details
//	virtual.go  names of virtual domains
//	read.go     lists that have to be read first
//	replace.go  what stands now where a recipient was found, and what becomes of pending ones
//	circle.go   what of an alias leads on, and what back to it
//	limits.go   how deep and how wide aliases may be
//	nexthop.go  the hosts that take a domain's mail
//	leadsto.go whose address a name is
//	viewer.go   who is shown what stands in users' files
//	way.go      how a message gets into a mailbox
//	dryrun.go   all of it for one address, without a message
package route
