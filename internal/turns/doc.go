// Package turns lets some in at a time where many wait, and those from whom they come take
// turns.
//
// It knows nothing of what is done inside, and asks no clock.
//
// Files:
//
//	turns.go  Line: who is inside, who waits, and whose turn is next
package turns
