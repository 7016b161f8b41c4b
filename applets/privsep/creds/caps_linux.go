package creds

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// caps are the capabilities of a thread, a bit for each.
type caps struct{ effective, permitted, inheritable uint64 }

func capSet(numbers ...int) (set uint64) {
	for _, n := range numbers {
		set |= 1 << n
	}
	return set
}

// threadCaps are those of the calling thread.
func threadCaps() (caps, error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return caps{}, fmt.Errorf("capget: %w", err)
	}
	join := func(low, high uint32) uint64 { return uint64(high)<<32 | uint64(low) }
	return caps{
		effective:   join(data[0].Effective, data[1].Effective),
		permitted:   join(data[0].Permitted, data[1].Permitted),
		inheritable: join(data[0].Inheritable, data[1].Inheritable),
	}, nil
}

// setCaps makes the set the permitted and the effective one of all threads. The
// inheritable and the ambient one become empty.
func setCaps(set uint64) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(set), Permitted: uint32(set)},
		{Effective: uint32(set >> 32), Permitted: uint32(set >> 32)},
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// prctlAll calls prctl(2) in all threads.
func prctlAll(name string, option int, arg uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, uintptr(option), arg, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("%s: %w", name, errno)
	}
	return nil
}

// dropBounding takes all capabilities but those of the set from the bounding set,
// with drop: no program that is executed gets others.
func dropBounding(keep uint64, drop func(n int) error) error {
	for n := range 64 {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // the kernel knows no more
		}
		if err != nil {
			return fmt.Errorf("PR_CAPBSET_READ: %w", err)
		}
		if has == 0 || keep&capSet(n) != 0 {
			continue
		}
		if err := drop(n); err != nil {
			return fmt.Errorf("PR_CAPBSET_DROP: %w", err)
		}
	}
	return nil
}

func dropOnThread(n int) error { return unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0) }

func dropOnAll(n int) error { return prctlAll("all threads", unix.PR_CAPBSET_DROP, uintptr(n)) }

// inherit makes the set the inheritable one of the calling thread. The ambient
// one becomes empty, whatever it was.
func inherit(set uint64) error {
	have, err := threadCaps()
	if err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(have.effective), Permitted: uint32(have.permitted), Inheritable: uint32(set)},
		{Effective: uint32(have.effective >> 32), Permitted: uint32(have.permitted >> 32), Inheritable: uint32(set >> 32)},
	}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

// allThreads reports whether system calls of our own can be made in all threads:
// not where C's library keeps threads too.
func allThreads() bool {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
	return errno != syscall.ENOTSUP
}

// masterCaps are what a master uses: mailboxes and processes of other users
// (setuid, setgid), what it ends (kill), ports below 1024, files that it gives to
// the server or that are the server's (chown, dac_override), and the bounding set
// of what it starts (setpcap).
func masterCaps() uint64 {
	return capSet(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL, unix.CAP_NET_BIND_SERVICE, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_SETPCAP)
}

// Reduce leaves all threads of this process what a master uses, and net_admin with
// filter, and of that what they have. With bounding, nothing that it executes or starts has others, set-id
// programs neither; without, what it starts as root has what the bounding set
// allows until it becomes somebody else. It comes before a thread is switched.
// With cgo, which has threads of its own, it is an errors.ErrUnsupported.
func Reduce(bounding, filter bool) error {
	if !allThreads() {
		return fmt.Errorf("capabilities of all threads: %w in a binary built with cgo", errors.ErrUnsupported)
	}
	set := masterCaps()
	if filter {
		set |= capSet(unix.CAP_NET_ADMIN)
	}
	if bounding {
		if err := dropBounding(set, dropOnAll); err != nil {
			return err
		}
	}
	have, err := threadCaps()
	if err != nil {
		return err
	}
	return setCaps(have.permitted & set)
}

// MayCut reports whether this process can empty the bounding set of one that it
// starts.
func MayCut() bool {
	have, err := threadCaps()
	return err == nil && have.effective&capSet(unix.CAP_SETPCAP) != 0 && allThreads()
}

// CheckSwitch tries on a thread, which then ends, whether what becomes a user
// loses root's capabilities, for a while and for good. With some securebits,
// capabilities(7), it keeps them. The uid must be one that no process has.
func CheckSwitch(uid int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var err error
	OnThread(func() bool {
		if err = (ids{uid, uid, nil}).assume(); err != nil {
			return false
		}
		if err = keepsNothing("while it acts as a user", func(c caps) uint64 { return c.effective }); err != nil {
			return false
		}
		id := uintptr(uid)
		if _, _, errno := unix.RawSyscall(sysSetresuid, id, id, id); errno != 0 {
			err = fmt.Errorf("setresuid: %w", errno)
			return false
		}
		err = keepsNothing("after it has become a user", func(c caps) uint64 { return c.effective | c.permitted })
		return false
	})
	return err
}

func keepsNothing(when string, of func(caps) uint64) error {
	c, err := threadCaps()
	if err != nil {
		return err
	}
	if left := of(c); left != 0 {
		bits, _ := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
		return fmt.Errorf("a thread %s keeps the capabilities %#x (securebits %#x)", when, left, bits)
	}
	return nil
}
