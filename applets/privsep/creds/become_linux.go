package creds

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Identity is what a process becomes for good.
type Identity struct {
	UID, GID int
	Groups   []uint32
	Bare     bool // with an empty bounding set: it and what it starts never have a capability
}

// Bear makes the calling thread, which must end then, one whose child can become
// somebody: it has the groups already and stays root, with no inheritable
// capabilities. A bare child's bounding set is empty, and it inherits what it
// needs for the last step. Who isn't root bears none but itself. attr is for systems
// without ids of threads.
func Bear(i Identity, _ *syscall.SysProcAttr) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := (ids{0, i.GID, i.Groups}).assume(); err != nil {
		return err
	}
	gid := uintptr(i.GID)
	if _, _, errno := unix.RawSyscall(sysSetresgid, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setresgid: %w", errno)
	}
	if !i.Bare {
		return inherit(0)
	}
	if err := inherit(capSet(unix.CAP_SETUID)); err != nil { // while the bounding set has it
		return err
	}
	return dropBounding(0, dropOnThread)
}

// Become gives this process, whose parent has borne it so, the uid for good, in
// all of its threads, and takes every capability from it. At no instant can another
// process of the user trace it: as root it can't; after the switch the kernel
// takes it for one with secrets, and where fs.suid_dumpable is 1, so that it
// doesn't, it keeps a capability that the user lacks until it has hidden. An error
// means that the process must end: it may be neither the one nor the other. One
// that has the uid already, since an ordinary user started it, hides and stays
// what it is.
func Become(i Identity) error {
	if err := Hide(); err != nil {
		return fmt.Errorf("hide from other processes: %w", err)
	}
	if i.UID == os.Geteuid() {
		return nil
	}
	keeps := traceable()
	if keeps {
		if err := prctlAll("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS, 1); err != nil {
			return errors.Join(errExposed, err)
		}
	}
	// For all threads; it ends the process if one of them can't.
	if err := syscall.Setresuid(i.UID, i.UID, i.UID); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	if err := hideAgain(); err != nil {
		return err
	}
	if keeps || i.Bare {
		if err := setCaps(0); err != nil {
			return err
		}
	}
	return i.check()
}

// traceable reports whether processes that switch can be traced by their users,
// proc_sys_fs(5). What is so is looked at once more afterwards.
func traceable() bool {
	b, err := os.ReadFile("/proc/sys/fs/suid_dumpable")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

// errExposed is where a process of the user could have come in.
var errExposed = errors.New("other processes of its user could have traced it: fs.suid_dumpable is 1, and it kept no capability that they lack (sysctl -w fs.suid_dumpable=2)")

// hideAgain looks whether the switch was one that nobody could use, and hides the
// process from then on.
func hideAgain() error {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("PR_GET_DUMPABLE: %w", err)
	}
	kept, err := threadCaps()
	if err != nil {
		return err
	}
	if err := exposed(dumpable, kept.permitted); err != nil {
		return err
	}
	if err := Hide(); err != nil {
		return fmt.Errorf("hide from other processes: %w", err)
	}
	return nil
}

// exposed says why processes of the same user could have traced this one, in
// the state after the switch: ptrace(2) looks at both.
func exposed(dumpable int, permitted uint64) error {
	if dumpable == 1 && permitted == 0 {
		return errExposed
	}
	return nil
}

// check looks at each thread: there must be none that kept what was given up.
func (i Identity) check() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	want := map[string]string{
		"Uid": repeated(i.UID), "Gid": repeated(i.GID),
		"CapInh": noCaps, "CapPrm": noCaps, "CapEff": noCaps, "CapAmb": noCaps,
	}
	if i.Bare {
		want["CapBnd"] = noCaps
	}
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return err
		}
		if wrong := differs(string(status), want); wrong != "" {
			return fmt.Errorf("thread %s still has %q", task.Name(), wrong)
		}
	}
	return nil
}

const noCaps = "0000000000000000"

func repeated(id int) string {
	return strings.Join(slices.Repeat([]string{fmt.Sprint(id)}, 4), "\t")
}

// differs returns the first line of a status, proc_pid_status(5), that is not as
// wanted.
func differs(status string, want map[string]string) string {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		if w, ok := want[name]; ok && value != w {
			return name + ": " + value
		}
	}
	return ""
}
