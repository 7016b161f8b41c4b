// Package rates counts how fast strangers come: connections, messages, recipients and
// unknown recipients, for each address and for the networks around it, in a table of a
// fixed size.
//
// Who has had as many as they may in a time is let on as that passes, evenly: a bucket
// of tokens for each. The clock is given by who asks, and who is never counted, as this
// machine and trusted clients, is decided in applets/smtpd.
//
// Invariants:
//   - The table never grows. What is forgotten for want of room is forgiven, and is what
//     was nearest to being forgiven anyway: nobody is refused for what others did, but
//     for their own network.
//   - What a network is refused is counted for none of its addresses: who has a large one
//     can't fill the table with them.
//
// Files:
//
//	rates.go what is counted, and the answer
//	table.go where it is kept
//	saved.go what of it is text, to be known after a restart
package rates
