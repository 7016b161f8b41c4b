// Package store keeps keys and values that are written all the time, for one
// process that owns them: what the server has to remember of strangers.
//
// It is for what mail can go on without. No call hangs: each has a deadline,
// also where the disk doesn't answer, and an error is the caller's to judge.
//
// Invariants:
//   - What Update and Delete answered is on disk: many callers share one sync.
//   - A change of a key sees what the one before it made of it.
//   - One process has a store; another one gets ErrLocked at once.
//   - Where there is no room nothing is changed and all can be read, and it goes
//     on by itself when there is room.
//   - What can't be read is a *DamageError that says how to mend it, never a
//     panic; after what can't be written ErrLost, and the process lives.
//
// Files:
//
//	store.go  opening, again and again if need be, and closing; options and errors
//	part.go   what callers use: the keys that begin alike
//	life.go   a store while it is open: who waits for what, and for how long
//	change.go changes, and the one goroutine that makes them
//	engine.go, engine_lite.go
//	          what keeps the octets: Pebble, a tree of sorted tables with a log,
//	          and in the lite build nothing
//	check.go  looking whether it can be opened
//	spoiled.go
//	          what can't be read while it is open: noted until it is mended
//	mend.go   making a damaged store anew of what can be read
//	room.go   full disks: the ballast, and when to go on
//	files.go  Pebble's files: what is to become of their errors
package store
