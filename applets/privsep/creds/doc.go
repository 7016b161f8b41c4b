// Package creds switches ids for one thread, and those of a new process for good;
// and it takes capabilities away.
//
// It decides nothing: whose ids are taken, and what is done with them, is its
// callers' affair.
//
// Invariants:
//   - The goroutine is locked to its thread, only the effective ids change (a
//     user must not be able to signal the master), and a thread that can't be
//     switched back ends, before anything else goes on.
//   - Ids of all threads change in Become alone, in a process that has done
//     nothing else.
//   - The process's first thread, whose ids stand for the process in /proc,
//     keeps its own.
//
// Files:
//
//	creds_linux.go, creds_other.go
//	         threads with other ids
//	become_linux.go
//	         a process becomes somebody for good, and nobody traces it meanwhile
//	caps_linux.go
//	         capabilities, and whether a switch takes them away
//	sys_linux.go, sys_linux_32.go
//	         the numbers of the system calls
//	guard.go panics of what runs there
package creds
