// Package alias turns a local name into recipients: aliases(5).
//
// It reads the text file itself, knows no account and delivers nothing. A
// lookup never answers "no such alias" for a file that could not be read: it
// is an error that is no ErrNotFound, and the caller tries later (hostile.md
// A36). A missing file is a file without aliases.
//
// A target is an address, or something that is no address: a program, a
// file, a list. Those come back with their kind, so that nothing that a file
// names is mistaken for an address or dropped (A18).
//
// The package starts no goroutine and keeps one table in memory, the file's.
package alias
