// Package remote hands messages to the next host over SMTP, or to the LMTP
// server that keeps the mailboxes.
//
// It finds the hosts (Router), opens a session to the first that talks
// (DialAny, DialLMTP) and sends messages through it (Session.Send). The Pool has
// all sessions: it is given Jobs, one message for one Hop each, and answers for
// them. It never decides when a message is tried, reads no queue and writes no
// bounce: see deliver. How many messages wait for a hop is bounded by gates
// before it: see deliver/schedule.
//
// Invariants:
//   - Delivered is said only after a 2xx to the final dot, and whatever comes
//     after that changes nothing. Each recipient has its own result.
//   - Bounced is said only for a 5xx to MAIL, to this RCPT, to DATA or to the
//     final dot, for NXDOMAIN, a null MX, a domain that leads back to this
//     host, for what the peer told us that it can't take, and for a host that
//     can't have what needs TLS; never for what relay-host says when we are to
//     log in. All else is Deferred; the zero Outcome is Deferred.
//   - What needs TLS (RFC 8689) goes through no session but one with a verified
//     host that obeys REQUIRETLS; a report alone may go without.
//   - An address that an MX record led to is never connected to when it is
//     ours, loopback, unspecified or multicast. relay-host, the administrator's
//     own word, may be loopback, and no answer about it is ever permanent.
//   - Every wait has a limit: 30 s to connect, 5 minutes for a reply, 900 s for
//     a session as a whole, and the caller's context ends any of them.
//   - At most 20 addresses in one attempt, at most 100 recipients in one
//     transaction, fewer where the peer says so, as it may of transactions and
//     domains in a session (RFC 9422): the rest of a part has another session.
//   - A hop has one session, and up to 20 when it has taken mail. The first of
//     each hop is refused only beyond 1,000; more share another 100 (A39). One
//     network, an IPv4 address or an IPv6 /64, has 40 at most, counted before it
//     is connected to, whatever names lead there.
//   - Every part of a Job is answered for once, in order. A session is closed
//     before another one takes its place: the hop may allow no more.
//
// The Pool's mutex is held for its own books only: no answer is given, no
// connection opened and no other lock taken under it.
//
// 8-bit policy: a message with octets over 127 is declared BODY=8BITMIME to a
// peer that offers 8BITMIME, and sent to others as it is, undeclared. Servers
// without 8BITMIME that damage such mail are extinct; converting would break
// signatures, and bouncing would lose mail that arrives intact today.
//
// SMTPUTF8 (A15, A56): a message with a sender outside ASCII, or that came with SMTPUTF8
// and has a header outside ASCII, and a recipient outside ASCII, go to peers that offer
// it and are returned from others with 5.6.7. One that came with SMTPUTF8 and needs
// nothing of it goes to any. A header of eight bits without SMTPUTF8 goes as ever.
//
// Files:
//
//	hops.go       Router: the hosts of a domain
//	relayhost.go  the hosts of option relay-host
//	hop.go        Hop: where a message goes next, and its key in the Pool
//	job.go        Job and Answer
//	pool.go       Pool: jobs, workers and their number
//	worker.go     one worker: its session, and what is learnt of the hop
//	dial.go       a session with the first host that talks, or with an LMTP server
//	secure.go     what needs TLS: to which hosts it may go, and their certificates
//	session.go    Session: messages through one connection
//	delivery.go   one message: transactions, parameters, what the peer can take
//	judge.go      what a reply means for a recipient, and when it is that we are to log in
//	measure.go    size and form of a message
//	failure.go    errors with an outcome
//	transcript.go who sees the conversation
//	options.go    Options
package remote
