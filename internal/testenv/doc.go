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
package testenv
