// Package birth starts processes of ours that have another user's ids, so that
// no other process of that user can trace them or take their descriptors, from
// their first instruction on.
//
// It never decides who somebody is, and knows nothing of what is said over a
// link.
//
// Invariants:
//   - A child is executed as root, with the user's groups, and takes the uid
//     itself (creds.Become), before it reads anything but who it is to be. So it
//     never has that uid while it shares our memory, between fork and execve, or
//     while it can be traced (A85).
//   - What it is started with, the door, gives nothing away: who it is to be
//     goes in while it is root, and its link comes out, made by the child once
//     it can't be traced any more. We take what the kernel says comes from that
//     child, with those ids, and nothing else: a stolen door is worth nothing.
//   - It has standard error, or /dev/null, its door, and no other descriptor of
//     ours.
//
// Files:
//
//	start.go    our side
//	child.go    the child's
//	identity.go who it is to be, as octets
//	link.go     a link
//	vouched_linux.go, vouched_other.go
//	            whose message it is, by the kernel
package birth
