// Package local has the words of local delivery: what is asked of those who
// have users' rights, what they answer, and what a message looks like where it
// is going. deliver says them, the master's threads (deliver/local/mailbox) and
// users' processes (deliver/local/user) do what they say.
//
// It never opens a file, starts a program or waits.
//
// Invariants:
//   - A Delivery and a Job name an account and an item, never a uid, a path or
//     a command (A18, A71).
//   - What a List from a user's process says is decoded whole, within limits,
//     or not at all.
//   - A message that has been through Format can't be taken for two, and its
//     first header field is ours (R10, A24, A27).
//
// Files:
//
//	local.go   a delivery, and what becomes of it
//	mailer.go  who does what is done with users' rights
//	job.go     a program or file that is run for one message
//	list.go    a .forward or list that is read, and its lines
//	codec.go   such lines on their way between processes
//	body.go    reading a message that is delivered
//	escape.go  what is done to lines that look like a From_ line
//	format.go  the octets that a mailbox, a program or a server gets
package local
