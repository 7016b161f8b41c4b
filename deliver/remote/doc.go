// Package remote hands a message to the next host over SMTP.
//
// It finds the hosts (Router), opens one session to the first that talks
// (Dial, DialAny) and sends messages through it (Session.Send). It never
// decides when to try, reads no queue and writes no bounce: see deliver.
//
// Invariants:
//   - Delivered is said only after a 2xx to the final dot, and whatever comes
//     after that changes nothing. Each recipient has its own result.
//   - Bounced is said only for a 5xx to MAIL, to this RCPT, to DATA or to the
//     final dot, for NXDOMAIN, a null MX, a domain that leads back to this
//     host, and for what the peer told us that it can't take. All else is
//     Deferred; the zero Outcome is Deferred.
//   - An address that an MX record led to is never connected to when it is
//     ours, loopback, unspecified or multicast. relay-host, the administrator's
//     own word, may be loopback, and no answer about it is ever permanent.
//   - Every wait has a limit: 30 s to connect, 5 minutes for a reply, 900 s for
//     a session as a whole, and the caller's context ends any of them.
//   - At most 20 addresses in one attempt, at most 100 recipients in one
//     transaction.
//
// 8-bit policy: a message with octets over 127 is declared BODY=8BITMIME to a
// peer that offers 8BITMIME, and sent to others as it is, undeclared. Servers
// without 8BITMIME that damage such mail are extinct; converting would break
// signatures, and bouncing would lose mail that arrives intact today.
package remote
