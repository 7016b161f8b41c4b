// Package testfilter is a mail filter for tests, the filter's side of the milter
// protocol, which does what a test says and misbehaves if it says so. Only tests
// import it.
//
// It imports nothing of ours, so that it never agrees with the code under test about
// what the protocol means by sharing that code, and works over any net.Conn, also
// net.Pipe in a synctest bubble.
//
// Files:
//
//	filter.go  the filter
//	listen.go  its socket
package testfilter
