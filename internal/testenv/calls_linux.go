package testenv

import (
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a system call works on. Each has errors of its own.
const (
	OnFile   = "file" // by path or by descriptor, directories and devices as well
	OnSocket = "socket"
	OnPipe   = "pipe"
)

// watched is a system call that is looked at, and how it names its object.
type watched struct {
	name string
	nr   uintptr
	how  int
}

// newfstatat is the number of fstatat(2), which package unix calls otherwise on each
// processor.
func newfstatat() uintptr {
	switch runtime.GOARCH {
	case "amd64":
		return 262
	case "mips":
		return 4293
	}
	return 79 // arm64, riscv64
}

const (
	byDescriptor = iota // the first argument
	byPath              // the second is a path, the first its directory
	ofSocket            // makes a socket
)

// watchedCalls are the calls by which a program of ours touches files and
// sockets. What the Go runtime does with its own event descriptors goes through
// some of them and is left alone.
func watchedCalls() []watched {
	return []watched{
		{"openat2", unix.SYS_OPENAT2, byPath},
		{"openat", unix.SYS_OPENAT, byPath},
		{"mkdirat", unix.SYS_MKDIRAT, byPath},
		{"renameat2", unix.SYS_RENAMEAT2, byPath},
		{"renameat", unix.SYS_RENAMEAT, byPath},
		{"linkat", unix.SYS_LINKAT, byPath},
		{"unlinkat", unix.SYS_UNLINKAT, byPath},
		{"fchmodat", unix.SYS_FCHMODAT, byPath},
		{"fchownat", unix.SYS_FCHOWNAT, byPath},
		{"newfstatat", newfstatat(), byPath},
		{"readlinkat", unix.SYS_READLINKAT, byPath},
		{"statx", unix.SYS_STATX, byPath},
		{"utimensat", unix.SYS_UTIMENSAT, byPath},
		{"read", unix.SYS_READ, byDescriptor},
		{"readv", unix.SYS_READV, byDescriptor},
		{"pread64", unix.SYS_PREAD64, byDescriptor},
		{"write", unix.SYS_WRITE, byDescriptor},
		{"writev", unix.SYS_WRITEV, byDescriptor},
		{"pwrite64", unix.SYS_PWRITE64, byDescriptor},
		{"pwritev2", unix.SYS_PWRITEV2, byDescriptor},
		{"ftruncate", unix.SYS_FTRUNCATE, byDescriptor},
		{"fallocate", unix.SYS_FALLOCATE, byDescriptor},
		{"fsync", unix.SYS_FSYNC, byDescriptor},
		{"fdatasync", unix.SYS_FDATASYNC, byDescriptor},
		{"copy_file_range", unix.SYS_COPY_FILE_RANGE, byDescriptor},
		{"sendfile", unix.SYS_SENDFILE, byDescriptor},
		{"splice", unix.SYS_SPLICE, byDescriptor},
		{"fchmod", unix.SYS_FCHMOD, byDescriptor},
		{"fchown", unix.SYS_FCHOWN, byDescriptor},
		{"flock", unix.SYS_FLOCK, byDescriptor},
		{"fcntl", unix.SYS_FCNTL, byDescriptor},
		{"fstat", unix.SYS_FSTAT, byDescriptor},
		{"fstatfs", unix.SYS_FSTATFS, byDescriptor},
		{"getdents64", unix.SYS_GETDENTS64, byDescriptor},
		{"lseek", unix.SYS_LSEEK, byDescriptor},
		{"close", unix.SYS_CLOSE, byDescriptor},
		{"socket", unix.SYS_SOCKET, ofSocket},
		{"socketpair", unix.SYS_SOCKETPAIR, ofSocket},
		{"bind", unix.SYS_BIND, byDescriptor},
		{"listen", unix.SYS_LISTEN, byDescriptor},
		{"connect", unix.SYS_CONNECT, byDescriptor},
		{"accept4", unix.SYS_ACCEPT4, byDescriptor},
		{"sendto", unix.SYS_SENDTO, byDescriptor},
		{"sendmsg", unix.SYS_SENDMSG, byDescriptor},
		{"recvfrom", unix.SYS_RECVFROM, byDescriptor},
		{"recvmsg", unix.SYS_RECVMSG, byDescriptor},
		{"shutdown", unix.SYS_SHUTDOWN, byDescriptor},
		{"getsockopt", unix.SYS_GETSOCKOPT, byDescriptor},
		{"setsockopt", unix.SYS_SETSOCKOPT, byDescriptor},
		{"getsockname", unix.SYS_GETSOCKNAME, byDescriptor},
		{"getpeername", unix.SYS_GETPEERNAME, byDescriptor},
	}
}

// errorsOf are the errors that a call can give in earnest, by what it works on.
// A pipe's or socket's close has none; nor has a fcntl that asks for flags, which
// Go's runtime does at its very start.
func errorsOf(call, on string) []syscall.Errno {
	type row struct {
		on     string
		calls  string
		errnos []syscall.Errno
	}
	rows := []row{
		{OnFile, "openat2 openat", []syscall.Errno{unix.EIO, unix.EMFILE, unix.ENOSPC, unix.EINTR}},
		{OnFile, "mkdirat renameat2 renameat linkat", []syscall.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT}},
		{OnFile, "write writev pwrite64 pwritev2", []syscall.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EINTR}},
		{OnFile, "ftruncate fallocate fsync fdatasync copy_file_range", []syscall.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT}},
		{OnFile, "flock fcntl_lock", []syscall.Errno{unix.ENOLCK, unix.EINTR}},
		{OnFile, "read readv pread64", []syscall.Errno{unix.EIO, unix.EINTR}},
		{OnSocket, "socket socketpair", []syscall.Errno{unix.EMFILE, unix.ENOBUFS}},
		{OnSocket, "accept4", []syscall.Errno{unix.EMFILE, unix.ECONNABORTED, unix.EINTR}},
		{OnSocket, "connect", []syscall.Errno{unix.ECONNRESET}}, // after EINTR it goes on, which an injected one does not
		{OnSocket, "read readv recvfrom recvmsg write writev sendto sendmsg", []syscall.Errno{unix.ECONNRESET, unix.EINTR}},
		{OnSocket, "bind listen getsockopt setsockopt shutdown", []syscall.Errno{unix.ENOBUFS}},
		{OnSocket, "getpeername", []syscall.Errno{unix.ENOTCONN}},
		{OnPipe, "read", []syscall.Errno{unix.EINTR}}, // it can give nothing else
		{OnPipe, "write", []syscall.Errno{unix.EPIPE, unix.EINTR}},
	}
	for _, r := range rows {
		if r.on == on && slices.Contains(strings.Fields(r.calls), call) {
			return r.errnos
		}
	}
	if on == OnFile && call != "fcntl" {
		return []syscall.Errno{unix.EIO}
	}
	return nil
}

// Faults are all faults that calls of a recording are worth: each one may be
// the last of its process, and each may fail with every error of its kind.
func Faults(recorded []Call) []Fault {
	var all []Fault
	for _, c := range recorded {
		f := Fault{Role: c.Role, Call: c.Name, On: c.On, N: c.N}
		all = append(all, f)
		for _, errno := range errorsOf(c.Name, c.On) {
			f.Errno = errno
			all = append(all, f)
		}
	}
	return all
}
