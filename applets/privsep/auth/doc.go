// Package auth keeps what virtual domains' owners write, passwords' hashes above all,
// in a process of the vhost-user's, and lets the server ask it.
//
// It parses no file itself (see vhost), and never sees a session's socket. The master
// starts the process, tells it where the domains are, and gives its end of the link to
// the server.
//
// Invariants:
//   - A question and an answer are one packet each, of at most questionSize and
//     answerSize octets, and of one form for each meaning (A71): a number, what is
//     asked, a domain and a name; the number, yes, no or later, a figure and a text. One
//     without a number is a note for the log, of which maxNotes of a process count.
//   - Logins have a link of their own beside that of the questions, privsep/logins says
//     how: who waits for a hash keeps no mail waiting.
//   - No hash, and nothing of a passwd file but the spelling of a name that was asked
//     for, is part of an answer.
//   - What is none of these ends the link, whoever sends it; each side takes the other
//     for hostile.
//   - The process has the vhost-user's ids, nothing but its link, no capability and
//     no_new_privs; it can't be traced, leaves no core, and ends with its link.
//   - At most maxAsked questions of a server are under way, each for askWait, and maxOne
//     of them about one domain; the process works on all of them at a time. Those after
//     what is in a mailbox are at most maxCounting, and answered within countFor.
//
// Files:
//
//	wire.go     questions and answers as octets
//	where.go    what the process is told
//	process.go  the process, and its start
//	rooms.go    what is in mailboxes
//	logins.go   the accounts of virtual domains, for logins
//	client.go   the server's end
//	shares.go   how many questions about one domain are under way
//	ondemand.go the same, of a process that is started when it is needed
package auth
