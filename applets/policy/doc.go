// Package policy judges the clients of the SMTP server and what they ask for, by
// the options of the configuration: who may connect, which names and senders are
// taken, where mail may go.
//
// It speaks no SMTP, decides no route and keeps nothing of a session: see smtpd and
// deliver/route. What it knows of the world is asked through Options.
//
// Invariants:
//   - Every check is a row of the table, with the stage that it belongs to, the
//     option that turns it on, and the clients that it is for.
//   - What DNS doesn't say now refuses nobody for good (B38).
//   - A reply names no file and no option.
//
// Files:
//
//	policy.go     Options, Policy, and a session's way through the table
//	table.go      the table
//	hostsfiles.go hosts.allow and hosts.deny
//	forbidden.go  what becomes of clients that are denied, or have no name
//	names.go      clients without a name, or whose name does not lead back, and those for
//	              whose name this machine is an exchanger
//	banner.go     the lines behind the greeting
//	debug.go      what the verb DEBUG shows of a session
//	checkhelo.go  clients that call themselves as we are called
//	verifyfrom.go reverse-paths
//	audit.go      what clients say and are answered, mailaudit(5)
//	goodness.go   what an answer is worth to the client's score
//	ownsender.go  who has logged in sends as themselves
//	greylist.go   strangers who were never seen wait
//	recipient.go  who may send where, and the null sender
//	filters.go    the mail filters
package policy
