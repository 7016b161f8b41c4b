// Package databases is the program dbm: it reads and changes database files, which
// newaliases makes, and what the server keeps, in a store that nobody has open or over the
// control socket.
//
// Invariants:
//   - What root does in a store's directory is done with the rights of its owner, who may
//     have put anything there (B77).
//
// Files:
//
//	dbm.go   the program, its commands, and what they do with a file
//	store.go what they do with a store
package databases
