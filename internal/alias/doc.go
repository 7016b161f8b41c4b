// Package alias turns a local name into recipients: aliases(5).
//
// It reads the text file itself, knows no account and delivers nothing. A
// lookup never answers "no such alias" for a file that could not be read: it
// is an error that is no ErrNotFound, and the caller tries later
// (A36). A missing file is a file without aliases.
//
// A target is an address, or something that is no address: a program, a
// file, a list. Those come back with their kind, so that nothing that a file
// names is mistaken for an address or dropped (A18).
//
// The package starts no goroutine and keeps one table in memory, the file's.
//
// Files:
//
//	alias.go     the alias file, or the database made of it
//	lines.go     the lines of an alias file, and their names
//	parse.go     the text of an alias file, and of the targets in it
//	target.go    what an alias leads to
//	list.go      lists and .forward files
//	hash.go      a target by its hash, for privsep
//	database.go  the database
//	usermap.go   the option usermap
//	circle.go    aliases that lead back to themselves
package alias
