//go:build linux && !cgo

package privsep

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postoffice/internal/testenv"
)

// masterCaps is setuid, setgid, kill, net_bind_service, chown, dac_override and
// setpcap, of capability.h.
const masterCaps = 1<<7 | 1<<6 | 1<<5 | 1<<10 | 1<<0 | 1<<1 | 1<<8

// noCaps is an empty set in /proc/PID/status.
const noCaps = "0000000000000000"

// netAdmin is CAP_NET_ADMIN of capability.h.
const netAdmin = 1 << 12

// TestCapabilities: what each thread of each process of a server may, with and
// without option program-capabilities: the master what it uses, the others
// nothing. The packet filter is of that where option coal is on alone. A set-id program of a user's has capabilities unless it may not.
func TestCapabilities(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	own := status(t, os.Getpid())
	ours, err := strconv.ParseUint(own["CapPrm"], 16, 64)
	testenv.Must(t, err)
	grep, err := os.ReadFile("/bin/grep")
	testenv.Must(t, err)
	for _, option := range []string{"", "bare", "filter", "bare filter"} {
		bare, filter := strings.Contains(option, "bare"), strings.Contains(option, "filter")
		h := prepare(t)
		setid := h.path("setid")
		testenv.Must(t, os.WriteFile(setid, grep, 0o755))
		testenv.Must(t, os.Chmod(setid, 0o755|os.ModeSetuid))
		g := h.gate()
		r := startReady(t, h, strings.Fields(option)...)
		k := h.dial()
		answer := k.begin("run u3 alias ask t 10")
		user := g.next()
		server, err := strconv.Atoi(strings.Fields(h.dial().say("hello"))[0])
		testenv.Must(t, err)
		uses := uint64(masterCaps)
		if filter {
			uses |= netAdmin
		}
		kept := fmt.Sprintf("%016x", ours&uses)
		bounding := own["CapBnd"]
		masters, users := bounding, bounding
		if bare {
			masters, users = kept, noCaps
		}
		wantCaps(t, r.cmd.Process.Pid, kept, masters, "0")
		wantCaps(t, server, noCaps, noCaps, "1")
		wantCaps(t, user.pid, noCaps, users, "0")
		user.say("delivered")
		k.answer(answer)
		k.want("delivered 2.0.0", "run u3 alias program t2 10")
		got := k.say("run u3 alias program t3 10")
		for _, want := range []string{"CapInh:\t" + noCaps, "CapPrm:\t" + noCaps, "CapEff:\t" + noCaps, "CapAmb:\t" + noCaps, "CapBnd:\t" + users} {
			if !strings.Contains(got, want) {
				t.Errorf("%q: a program has %q, want %q", option, got, want)
			}
		}
		k.want("delivered 2.0.0 CapEff:\t"+users, "run u3 alias setid:%s t4 10", setid)
		testenv.Must(t, r.cmd.Process.Kill())
		r.cmd.Wait()
	}
}

// wantCaps looks at each thread.
func wantCaps(t *testing.T, pid int, has, bounding, noNewPrivs string) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) < 2 {
		t.Errorf("threads %q, %v", tasks, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		testenv.Must(t, err)
		s := status(t, tid)
		for name, want := range map[string]string{
			"CapPrm": has, "CapEff": has, "CapBnd": bounding, "CapInh": noCaps, "CapAmb": noCaps, "NoNewPrivs": noNewPrivs,
		} {
			if s[name] != want {
				t.Errorf("thread %d of process %d (%s): %s %q, want %q", tid, pid, s["Name"], name, s[name], want)
			}
		}
	}
}
