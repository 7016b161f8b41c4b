// Package statedir keeps small files that the server makes for itself below option db-dir:
// each in a directory of its own that nobody else may enter, put in place in one step.
//
// It doesn't know what is in them.
//
// Files:
//
//	statedir.go all of it
package statedir
