// Package service is what it takes to be a service, whatever is served: one run
// directory whose lock says who it is, sockets that are bound again when they
// break, sockets and words of a service manager, and a start in the background.
//
// It knows no user, no message and no protocol, and starts nothing but this
// program again.
//
// Invariants:
//   - A run directory belongs to the one process that holds the lock on its
//     file "lock". That lock, and nothing else, says that a daemon runs.
//   - All listeners are bound or none.
//   - What is started gets the descriptors that are named, no other, and an
//     environment of one PATH and TZ (A77); below process 1 it gets that one's.
//
// Files:
//
//	rundir.go      the run directory, its lock and its pid file
//	queuedirs.go   the queue directories that its servers had
//	listen.go      binding sockets
//	sockets.go     sockets that are bound again
//	inherit.go     sockets of a service manager, sd_listen_fds(3)
//	notify.go      words for a service manager, sd_notify(3)
//	background.go  a server behind the program that needs one, both ends
//	child.go       processes that we start, and how they ended
//	name.go        what ps(1) calls them
//	first.go       being process 1: a parent that only reaps
//	signals.go     what people send to a server
//	pair.go        a connection to hand over
//	descriptors.go, descriptors_linux.go, descriptors_other.go
//	               descriptors that are handed over or kept back
package service
