// Package client is how the programs of this machine reach the mail server: in
// SMTP over the submission socket, over the control socket, and, where no
// server runs, by starting one or through the queue's files and maildrop/.
//
// It accepts and delivers nothing itself, and prints no more than what a
// message comes to: the programs in applets do the rest.
//
// Invariants:
//   - A message that Send is given ends in the queue, in maildrop/, or with an
//     error.
//   - Mail goes to a server of root's, of the server-user's or of our own user,
//     to nobody else who listens at the socket.
//   - root parses no file of the queue: another process does it (owner.go).
//
// Files:
//   - drop.go: a message left in maildrop/
//   - input.go: standard input, as lines of the spool
//   - letter.go: a message with its envelope, from flags and input; the header that
//     -t and -F read
//   - owner.go: root's programs, run again as the owner of the queue
//   - queue.go: the queue of a server, or in files
//   - records.go: the store of a server, or in files
//   - replay.go: a message that can be read again
//   - route.go: who answers where a message would go
//   - run.go: the whole queue, tried now, and a server started for one pass
//   - send.go: sendmail's main work
//   - submission.go: finding a server, or starting one for one message
//   - session.go: -bs
//   - transaction.go: a submission and its replies; the parameters of RFC 3461
//   - viewer.go: what is shown of deliveries
//   - wait.go: -v and --wait
package client
