package crashfs

import (
	"fmt"
	"io"
	"syscall"
)

// Op names a call in traces.
type Op string

const (
	opOpenDir    Op = "opendir"
	opCloseDir   Op = "closedir"
	opCreate     Op = "create"
	opOpen       Op = "open"
	opMkdir      Op = "mkdir"
	opStat       Op = "stat"
	opRename     Op = "rename"
	opLink       Op = "link"
	opUnlink     Op = "unlink"
	opNames      Op = "list"
	opSyncDir    Op = "sync directory"
	opSpace      Op = "statfs"
	opWrite      Op = "append"
	opWriteAt    Op = "overwrite"
	opRead       Op = "read"
	opTruncate   Op = "truncate"
	opAllocate   Op = "allocate"
	opSync       Op = "sync"
	opDatasync   Op = "datasync"
	opLock       Op = "flock"
	opLockRecord Op = "fcntl lock"
	opChmod      Op = "chmod"
	opChown      Op = "chown"
	opClose      Op = "close"
)

// changes reports whether the call alters what a power cut leaves.
func (op Op) changes() bool {
	switch op {
	case opOpenDir, opCloseDir, opOpen, opStat, opNames, opSpace, opRead, opLock, opLockRecord, opClose, opAllocate:
		return false
	}
	return true
}

// errnos are the failures that EveryError tries, each at every call that it
// can come from.
var errnos = []error{
	syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EFBIG, syscall.EINTR, io.ErrShortWrite,
}

// possible reports whether a call can fail so.
func possible(errno error, op Op) bool {
	switch errno {
	case syscall.EIO, syscall.EINTR:
		return true
	case io.ErrShortWrite:
		return op == opWrite || op == opWriteAt
	case syscall.EFBIG:
		return op == opWrite || op == opWriteAt || op == opAllocate
	case syscall.EROFS:
		return op.changes() && op != opSync && op != opDatasync && op != opSyncDir
	case syscall.ENOSPC, syscall.EDQUOT:
		return op.changes() || op == opAllocate || op == opClose
	}
	return false
}

// fault is one failure to inject: the at-th call that can fail so, and, if
// forever is set, all such calls from then on.
type fault struct {
	errno   error
	at      int
	forever bool
	keep    int // of a short write: octets written; negative: so many less than all

	met   int // calls so far that could have failed so
	fired bool
}

func (f *fault) String() string {
	if f == nil {
		return "no error"
	}
	s := fmt.Sprintf("%v at call %d that can fail so", f.errno, f.at)
	if f.errno == io.ErrShortWrite {
		s += fmt.Sprintf(", keeping %d octets", f.keep)
	}
	if f.forever {
		s += " and from then on"
	}
	return s
}

// fires counts the call and returns f if it is to fail.
func (f *fault) fires(op Op) *fault {
	if f == nil || !possible(f.errno, op) {
		return nil
	}
	f.met++
	if f.met == f.at || f.forever && f.met > f.at {
		f.fired = true
		return f
	}
	return nil
}

// length is how much of a write of n octets gets through.
func (f *fault) length(n int) int {
	if f.errno != io.ErrShortWrite {
		return 0
	}
	if f.keep < 0 {
		return max(n+f.keep, 0)
	}
	return min(f.keep, max(n-1, 0))
}
