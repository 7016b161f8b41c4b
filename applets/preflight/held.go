package preflight

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postoffice/applets/service"
)

// manager is the process that may hold sockets for a server which it starts.
const manager = "1"

// held says of a TCP port that is taken whether the server of a run directory has it, or
// will get it, and else, in words, who has it, as far as the caller may see that.
func held(port int, runDir string) (ours bool, words string) {
	running, err := service.Running(runDir)
	if err != nil {
		running = false
	}
	sockets := listening(port)
	if len(sockets) == 0 {
		return running, "" // not to be seen on this system
	}
	pid, _ := os.ReadFile(filepath.Join(runDir, service.PIDFile))
	server := strings.TrimSpace(string(pid))
	for _, pid := range []string{server, manager} {
		if pid == manager || running {
			has, known := holds(pid, sockets)
			if has || !known && pid == server {
				return true, ""
			}
		}
	}
	for _, pid := range processes() {
		if has, _ := holds(pid, sockets); has {
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return false, fmt.Sprintf("%s has port %d, process %s: stop it, and keep it from starting again", strings.TrimSpace(string(name)), port, pid)
		}
	}
	return false, ""
}

// listening are the sockets that listen on a port, as /proc/PID/fd calls them (proc(5)).
func listening(port int) []string {
	const listen = "0A" // TCP_LISTEN
	suffix := fmt.Sprintf(":%04X", port)
	var all []string
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], suffix) {
				all = append(all, "socket:["+f[9]+"]")
			}
		}
	}
	return all
}

// holds reports whether a process has one of the sockets; known: it could be seen.
func holds(pid string, sockets []string) (has, known bool) {
	dir := filepath.Join("/proc", pid, "fd")
	fds, err := os.ReadDir(dir)
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(dir, fd.Name()))
		if slices.Contains(sockets, to) {
			return true, true
		}
	}
	return false, err == nil && pid != ""
}

// processes are the numbers of all that run.
func processes() []string {
	entries, _ := os.ReadDir("/proc")
	var all []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, e.Name())
		}
	}
	return all
}
