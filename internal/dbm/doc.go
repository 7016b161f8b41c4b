// Package dbm keeps keys and values in a database file, with ndbm's verbs:
// fetch, store, delete, first and next key.
//
// A database is one immutable file: a Build sorts all records and writes them,
// and every change (Edit) writes the file anew. It is meant for what is
// written seldom and read by many short-lived processes.
//
// Invariants:
//   - A name always leads to a whole database, the old or the new: it is
//     written beside the old one, synced and renamed, and the directory is
//     synced (A79). An error before the rename leaves the old one.
//   - Readers take no lock. An open File goes on showing the database that
//     it was opened on; Current tells when the name leads to another.
//   - Edits of one file come one after the other: flock(2) on a file beside it
//     that only its owner may open, since whoever may read a file may lock it.
//   - What cannot be read is a *DamageError or the system's error, never
//     ErrNotFound (A36): every block carries a checksum.
//   - Memory is bounded whatever the size: by Options.Memory while a file is
//     built, by a few blocks of 4 KiB while it is read.
//
// The file is a sorted table of Pebble's (format 4, rows, snappy). With the
// build tag lite there is no Pebble: every function returns ErrLite.
//
// All file access goes through disk.FS; crash_test.go cuts the power before
// every operation.
//
// Files:
//
//	dbm.go    records, options and errors
//	file.go   reading a database
//	build.go  making one
//	edit.go   changing one
//	sort.go, run.go
//	          sorting what does not fit into memory
//	source.go, stamp.go
//	          which text a database was made of
//	table.go, table_lite.go
//	          the table on disk, with Pebble and without
package dbm
