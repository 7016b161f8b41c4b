// Package watched reads small files that an administrator edits while the server runs,
// again when they have changed.
//
// Invariants:
//   - What was read stays in force while the file can't be read: without its rules
//     somebody might be let in, or kept out. Such a fault is told once.
//   - A file that isn't there is an empty one; what can't be opened at once, as a FIFO,
//     keeps nobody waiting.
//
// Files:
//
//	file.go one file and what it says
package watched
