// Package control speaks to a running server over the socket
// RUN-DIR/control: what mailq, runq and the queue commands ask for, and both
// ends of the connection.
//
// A connection carries one request, a JSON object on one line, and its answer,
// one JSON object a line up to one that says done or what went wrong. Long
// answers stream: a message with many recipients is several lines, and so are
// the octets of one.
//
// Invariants:
//   - No line is longer than MaxLine, either way; a longer one ends the
//     connection.
//   - The handler learns who asks from the kernel (SO_PEERCRED), never from
//     the request.
//   - Every read and write has a deadline, and connections served at once are
//     bounded: a user has a quarter of what the others leave, and who doesn't read
//     goes when few are left. Only root, who could stop the server anyway, and the
//     server's user are never turned away. So no client can hold up the others.
//
// Files:
//
//	control.go  requests and messages, as both ends know them
//	wire.go     their lines
//	client.go   the client's end
//	serve.go    the server's end
//	watch.go    what happens to messages, while it happens
//	question.go how many questions are answered at once
//	route.go    where an address leads
//	session.go  who is connected
//	records.go  what the server keeps of strangers
package control
