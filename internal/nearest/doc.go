// Package nearest guesses which word was meant by one that isn't known.
//
// It knows no words by itself, and what it guesses is told and never used.
//
// Files:
//
//	nearest.go  the fewest changes from one word to another
package nearest
