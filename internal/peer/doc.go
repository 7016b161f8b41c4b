// Package peer asks the kernel who is at the other end of a unix socket, or of a
// connection on TCP from this machine, and counts who is served and what they hold. It is the one place where a program of this machine
// gets its identity: nobody tells us who they are.
//
// It never decides what somebody may do: see applets/control and
// applets/smtpd.
//
//	peer.go        the question and the answer
//	peer_linux.go, peer_bsd.go, peer_dragonfly.go, peer_ids.go
//	               how it is asked
//	tcp.go         whose a connection on TCP from this machine is
//	tcp_linux.go, tcp_other.go
//	               how that is asked
//	room.go        n in all and m for each, or a part of what is left
//	users.go       places for programs, by whose they are
//	strangers.go   places for clients from elsewhere, and turns of one address
//	held.go        what each has of the disk where mail is kept, and may have
//	network.go     the addresses that count as one
//	networks.go    which addresses are in networks of a list
package peer
