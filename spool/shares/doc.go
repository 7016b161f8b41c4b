// Package shares knows for whom each message in the queue counts, so that nobody's mail
// takes all the room of the spool.
//
// It opens no file and refuses nothing: the sums are a peer.Held, which has the rule,
// and the server of SMTP sessions asks it. decisions/0013 has the reasons.
//
// Invariants:
//   - What a Ledger has counted is what the messages of the queue, held ones too, take
//     of the disk, in whole blocks, as soon as Count is through. A model test holds it
//     against the files.
//   - Each message counts once, whatever comes and goes while Count reads.
//   - What is another program's doing in the queue is found when the message is to be
//     worked on, or at the next start.
//
// Files:
//
//	ledger.go  Ledger: what each message takes, and for whom
//	who.go     Who: for whom a client's mail counts
package shares
