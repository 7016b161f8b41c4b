// Package state keeps what the server is to know again after a restart: the store of
// internal/dbm/store in db-dir, where it is, whose it is, and who has which part of it.
//
// Invariants:
//   - Mail never waits for it, and no start fails for it: the log says what is wrong.
//   - Its directory is the server's, mode 0700; what is above it is root's.
//
// Files:
//
//	dir.go   the directory
//	owner.go its owner's rights, for root
//	state.go the store that a server has open
//	keep.go  tables in memory that are saved in it
package state
