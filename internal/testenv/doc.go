// Package testenv is what tests of several packages share: SMTP peers that
// follow a script or misbehave, dialogues kept as files, DNS servers with
// scripted answers, faults put into system calls, certificates made in memory,
// and a collection of messages. Only tests import it.
//
// Invariants:
//   - It imports nothing of ours, so that it never agrees with the code under
//     test about what the protocol means by sharing that code.
//   - It is deterministic: the same call gives the same octets on every day and
//     machine (certificates excepted).
//   - Nothing outlives the test that started it, and every wait has a limit.
//   - All works over any net.Conn, also net.Pipe in a synctest bubble.
//
// Files:
//
//	dialogue.go, play.go
//	           conversations from files, and who plays them
//	sink.go, sinksession.go
//	           an SMTP server that does what a test says
//	dnsserver.go, dnsacts.go
//	           a DNS server that does
//	cert.go    certificates
//	messages.go, generated.go
//	           a collection of messages, and of recipients nobody may send to, and
//	           reports, as programs read them
//	process.go what a test binary is where the code under test has started it, how
//	           long its tests wait, on which address, and until what has stopped; who needs root; its log and descriptors; a
//	           value as another process reads it
//	strace.go  faults in system calls by strace
//	trace_linux.go, calls_linux.go
//	           faults in system calls by seccomp(2)
package testenv
