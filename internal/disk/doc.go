// Package disk is the only way from postoffice to the file system: directory
// handles, and names relative to them.
//
// It is small on purpose, about as many calls as a durable queue, a mailbox
// and a database file need, so that one second implementation, package
// crashfs, can model what each of them leaves behind when the power fails.
//
// Invariants:
//   - A name is one path component. No call follows a symbolic link in a name,
//     nor blocks on a FIFO; Open returns regular files only.
//   - A name is never replaced, Rename alone excepted: Create is exclusive,
//     Link and RenameNoReplace fail with fs.ErrExist.
//   - A write is whole or an error; a short one is an error even when the rest
//     could have been written. A failed Sync is never tried again.
//   - A File or Dir is one descriptor, close-on-exec, without a finalizer: who
//     opens it closes it. Calls run on the calling thread, so that a
//     goroutine locked to a thread with other ids opens and writes with them.
//   - EINTR is never seen by a caller.
//
// Errors are *fs.PathError around a syscall.Errno, or one of the sentinels
// here: ask with errors.Is (fs.ErrExist, fs.ErrNotExist, syscall.EIO) or Full.
//
// Any number of goroutines may use one Dir or File until Close. Calls of one
// File that change its length or its locks are the caller's to put in order.
//
// Files:
//
//	disk.go       the interfaces FS, Dir and File
//	os_unix.go    the operating system behind them
//	dir_unix.go   directories
//	file_unix.go  files
//	version.go
//	              whether a file is still the one that was read
//	os_linux.go, os_other.go
//	              what systems do in different ways
//	os_bsd.go, os_dragonfly.go, os_netbsd.go, os_openbsd.go
//	              and where each of the others has a way of its own
//	blind_linux.go
//	              directories that may be written and not read
//	walk.go, walk_linux.go, walk_other.go
//	              ways that others may change, step by step
package disk
