package mailbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lockOwner is who made a dot lock. Every program writes its process number; ours
// also says which boot, pid namespace and start it belongs to, so that one
// whose process was killed is known to be dead at once.
type lockOwner struct {
	pid    int
	boot   string // random for each boot of the machine; "": not signed
	pidNS  string
	starts string // when the process was started, as in /proc/PID/stat
}

// lockSignature marks the locks that postoffice makes.
const lockSignature = "postoffice"

func (h lockOwner) signed() bool { return h.boot != "" }

// sameMachine reports whether both are signed, and process numbers mean the
// same in both.
func (h lockOwner) sameMachine(o lockOwner) bool {
	return h.signed() && h.boot == o.boot && h.pidNS == o.pidNS
}

// String is what stands in the lock.
func (h lockOwner) String() string {
	if !h.signed() {
		return strconv.Itoa(h.pid)
	}
	return fmt.Sprintf("%d %s %s %s %s\n", h.pid, lockSignature, h.boot, h.pidNS, h.starts)
}

func parseLockOwner(text string) lockOwner {
	f := strings.Fields(text)
	if len(f) == 0 {
		return lockOwner{}
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil || pid <= 0 {
		return lockOwner{}
	}
	if len(f) == 5 && f[1] == lockSignature {
		return lockOwner{pid, f[2], f[3], f[4]}
	}
	return lockOwner{pid: pid}
}

// ourselves is this process, without a signature where /proc is missing.
func ourselves() lockOwner {
	h := lockOwner{pid: os.Getpid()}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return h
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return h
	}
	_, starts, ok := procStat(h.pid)
	if !ok {
		return h
	}
	h.boot, h.pidNS, h.starts = strings.TrimSpace(string(boot)), ns, starts
	return h
}

// alive reports whether the process exists; for a signed one, whether it is
// still the same.
func (h lockOwner) alive() bool {
	if err := syscall.Kill(h.pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	state, starts, ok := procStat(h.pid)
	if !ok { // hidden from us, or no /proc
		return true
	}
	return state != "Z" && state != "X" && (!h.signed() || starts == h.starts)
}

// procStat reads two fields of proc_pid_stat(5), behind the command's name,
// which may hold anything.
func procStat(pid int) (state, starts string, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", false
	}
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return "", "", false
	}
	return f[0], f[19], true
}
