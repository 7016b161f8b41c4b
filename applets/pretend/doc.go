// Package pretend makes the connection of a client that has any address, for tests
// of what the server does with strangers: the flag -R of the original. It is in
// builds with the tag peerflag alone.
//
// Files:
//
//	conn_peerflag.go the connection
//	conn_none.go     none, in all other builds
package pretend
