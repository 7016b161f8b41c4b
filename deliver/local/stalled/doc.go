// Package stalled gives out places for work on files of users, and leaves work
// behind that a file system doesn't answer: a call into the home directory on a
// dead file server can't be ended, only counted.
//
// It opens no file of a user's itself.
//
// Invariants:
//   - Work that has not come a step further for StepWait has no place any more:
//     others go on (A39).
//   - A file system on which MaxPerSystem pieces of work were left behind, and
//     which has not answered for StepWait, is not entered; where MaxLeft were left
//     behind in all, only those that are known to answer are.
//   - What waits for such a file system is refused, with words, as soon as
//     others may need the room, and after LongWait anyhow.
//
// Files:
//
//	places.go  places, and who waits for one
//	mounts.go  which file system a path leads to
//	unmounted.go
//	           what may be missing where a directory isn't there
package stalled
