// Package server is the running mail server: it joins the packages, turns the
// configuration into their options and answers the programs of this machine.
//
// It speaks no protocol itself, decides no route and keeps no message: see
// smtpd, control, deliver and spool.
//
// Invariants:
//   - Only this package sees the configuration and the other packages' options
//     together.
//   - As root it is the master and a server without rights behind a link; for
//     an ordinary user it is one process, in which that user has the only
//     mailbox.
//   - What clients of the control socket see of foreign text is printable.
//
// Files:
//   - change.go: what the control socket offers, to whom; what people do to queued
//     messages
//   - daemon.go: a server in one process, and the master; accounts that we ask for by
//     name or uid
//   - inbox.go: spool, policy and filters as the SMTP server sees them; whose word is taken
//     for a reverse-path
//   - link.go: the server behind the master, and the processes that it has the master
//     start; virtual domains and their account
//   - listing.go: the queue as people see it, and what a message's notes tell
//   - maildrop.go: the pick-up of maildrop/, submitted to ourselves; what waits in the queue to
//     be judged, and by whom
//   - pass.go: a server for one session and one pass; -bs on a connection from the
//     network
//   - private.go: local delivery for the user who started the process, and what
//     signals ask of it; where a server in the foreground logs, what it says of what
//     a reload leaves and of a former queue, and whose a queue directory is
//   - route.go: what is wrong with aliases and virtual domains; where a message would go, and how much of that is shown; the same
//     without a server
//   - settings.go: what a configuration means to the other packages, and to the log
//   - start.go: how a server is started, what would keep it from that, and what to do
//     then; the processes that it is made of, and their independence of what they inherit
//   - system.go: the packages, joined
//   - tls.go: certificates and who has their keys; ports, and what sessions they have
//   - userrole.go: a user's process; what the master keeps of its rights, and the clients
//     that it keeps out
//   - watch.go: who watches deliveries, and what they are shown
package server
