//go:build e2e

package flow

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestRightsOfProcesses: with virtual domains, logins to them and to accounts of the
// machine, and a user's program, each process of a running server has in each thread the
// ids, capabilities and no_new_privs that decisions/0016 has for it.
func TestRightsOfProcesses(t *testing.T) {
	const (
		masters = 1<<7 | 1<<6 | 1<<5 | 1<<10 | 1<<0 | 1<<1 | 1<<8 // setuid setgid kill net_bind_service chown dac_override setpcap, capability.h
		none    = "0000000000000000"
	)
	s, client := virtualSite(t, "auth=virtual,system", "msp=yes")
	gate, begun := s.Path("gate"), filepath.Join(s.Scratch("runs", lan.Nobody.UID), "begun")
	if err := syscall.Mkfifo(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	os.Chmod(gate, 0o666)
	lan.WriteFile(t, s.Path("aliases"), "wait: \"|echo begun >"+begun+" && read line <"+gate+"\"\n")
	s.Serve()
	s.Listening("587")
	for _, name := range []string{"bob@virtual.test", "no-such-account"} { // the first has the auth process asked, the second that for shadow
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, _ := client.Command(ctx, "python3", "-c", pythonLogin, s.IP, "587", name, "wrong", name, "bob@virtual.test").CombinedOutput()
		cancel()
		if !strings.Contains(string(out), "5.7.8 name or password is wrong") {
			t.Errorf("a login as %s:\n%s", name, out)
		}
	}
	s.Submit("alice", "Subject: x\n\n", "wait")
	lan.Until(t, 20*time.Second, "the program runs", func() bool { return lan.Contains(begun, "begun") })
	own, bounding := status(os.Getpid(), "CapPrm"), strings.TrimSpace(status(os.Getpid(), "CapBnd"))
	mine, err := strconv.ParseUint(strings.TrimSpace(own), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for pid, argv0 := range s.Family() {
		want, ok := map[string]struct{ uid, has, bounding, noNewPrivs string }{
			lan.Applet("smtpd"):       {"0", fmt.Sprintf("%016x", mine&masters), bounding, "0"},
			"postoffice: server":      {"901", none, none, "1"},
			"postoffice: signer":      {"65531", none, none, "1"},
			"postoffice: auth":        {fmt.Sprint(mailUID), none, none, "1"},
			"postoffice: shadow":      {"65530", none, none, "1"},
			"postoffice: user nobody": {fmt.Sprint(lan.Nobody.UID), none, bounding, "0"},
		}[argv0]
		if !ok {
			t.Errorf("a process %q, which decisions/0016 doesn't have", argv0)
			continue
		}
		seen[argv0] = true
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(tasks) < 2 {
			t.Errorf("%s: threads %q, %v", argv0, tasks, err)
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(task))
			ids := "\t" + strings.Join([]string{want.uid, want.uid, want.uid, want.uid}, "\t")
			for name, want := range map[string]string{"Uid": ids, "CapPrm": "\t" + want.has, "CapEff": "\t" + want.has, "CapBnd": "\t" + want.bounding, "CapInh": "\t" + none, "CapAmb": "\t" + none, "NoNewPrivs": "\t" + want.noNewPrivs} {
				if got := status(tid, name); got != want {
					t.Errorf("thread %d of %s: %s%s, want%s", tid, argv0, name, got, want)
				}
			}
		}
	}
	if len(seen) != 6 {
		t.Errorf("only these run: %v", seen)
	}
	lan.WriteFile(t, gate, "go\n")
	s.Drained(20 * time.Second)
}
