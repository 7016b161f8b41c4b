package creds

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"postoffice/internal/account"
)

// Threads says that single threads can have ids.
const Threads = true

// As runs f on a thread whose effective user is the account, whose group is
// the account's or, unless it is -1, dirGID, and whose supplementary group is
// the account's alone. Real and saved ids stay root's: the user can't signal
// us, and the kernel counts what is written against the user's quota. f must not
// start goroutines or processes that count on the ids. Who is not root can
// only be itself.
func As(a account.Account, dirGID int, f func() error) error {
	if euid := os.Geteuid(); euid != 0 {
		if a.UID != euid {
			return fmt.Errorf("become user %s: %w", a.Name, unix.EPERM)
		}
		return f()
	}
	gid := a.GID
	if dirGID >= 0 {
		gid = dirGID
	}
	own, err := ownIDs()
	if err != nil {
		return err
	}
	OnThread(func() (clean bool) {
		if err = (ids{a.UID, gid, []uint32{uint32(a.GID)}}).assume(); err == nil {
			err = Guard(f)
		} else {
			err = fmt.Errorf("become user %s: %w", a.Name, err)
		}
		if back := own.assume(); back != nil {
			err = errors.Join(err, fmt.Errorf("be root again: %w", back))
			return false
		}
		return true
	})
	return err
}

// OnThread runs f on a thread that nothing else uses meanwhile, never on the
// process's first one, whose ids stand for the process in /proc. If f is not
// clean afterwards the thread ends, and has ended when OnThread returns: a system
// call in all threads (Reduce) would have another result in it, for which the
// runtime ends the process. The runtime makes no new threads from a locked one, so
// that nothing inherits what f changes.
func OnThread(f func() (clean bool)) {
	unclean := make(chan int, 1) // a thread's ID
	go func() {
		defer close(unclean)
		runtime.LockOSThread()
		tid := unix.Gettid()
		if tid == os.Getpid() {
			OnThread(f) // this one stays taken meanwhile
			runtime.UnlockOSThread()
			return
		}
		if f() {
			runtime.UnlockOSThread()
		} else {
			unclean <- tid
		}
	}()
	if tid, ok := <-unclean; ok {
		awaitEnd(tid)
	}
}

// threadWait is for a thread to end that has nothing left to do: only who debugs us
// can keep it.
const threadWait = 10 * time.Second

// awaitEnd returns when a thread of this process has ended. Before Linux 6.9 (pidfd_open
// with PIDFD_THREAD) no event tells of that.
func awaitEnd(tid int) {
	for end := time.Now().Add(threadWait); unix.Tgkill(os.Getpid(), tid, 0) == nil && time.Now().Before(end); {
		time.Sleep(50 * time.Microsecond)
	}
}

// ids are the effective ids of a thread.
type ids struct {
	uid, gid int
	groups   []uint32
}

// ownIDs are the process's own, asked for once.
func ownIDs() (ids, error) {
	own.once.Do(func() {
		groups, err := unix.Getgroups()
		if err != nil {
			own.err = fmt.Errorf("getgroups: %w", err)
			return
		}
		own.ids = ids{uid: os.Geteuid(), gid: os.Getegid()}
		for _, g := range groups {
			own.ids.groups = append(own.ids.groups, uint32(g))
		}
	})
	return own.ids, own.err
}

var own struct {
	once sync.Once
	ids  ids
	err  error
}

// assume gives the ids to the calling thread alone: raw system calls, since
// those of package syscall are for all threads. A thread that is not root has
// to become root first, else it may not change its groups.
func (i ids) assume() error {
	const keep = ^uintptr(0)
	if i.uid == 0 {
		if _, _, e := unix.RawSyscall(sysSetresuid, keep, 0, keep); e != 0 {
			return fmt.Errorf("setresuid: %w", e)
		}
	}
	var list unsafe.Pointer
	if len(i.groups) > 0 {
		list = unsafe.Pointer(&i.groups[0])
	}
	if _, _, e := unix.RawSyscall(sysSetgroups, uintptr(len(i.groups)), uintptr(list), 0); e != 0 {
		return fmt.Errorf("setgroups: %w", e)
	}
	if _, _, e := unix.RawSyscall(sysSetresgid, keep, uintptr(i.gid), keep); e != 0 {
		return fmt.Errorf("setresgid: %w", e)
	}
	if i.uid != 0 {
		if _, _, e := unix.RawSyscall(sysSetresuid, keep, uintptr(i.uid), keep); e != 0 {
			return fmt.Errorf("setresuid: %w", e)
		}
	}
	return nil
}

// NoNewPrivs sets no_new_privs for the calling thread and what it starts.
func NoNewPrivs() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }

// Hide keeps other processes of our user from tracing this one, and its memory
// out of core files.
func Hide() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
