//go:build linux

package privsep

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/account"
	"postoffice/internal/testenv"
)

// TestMailProcess: a process that writes a user's mailbox has the group of the mail
// directory beside the user's own, gains nothing by what it starts, and is the user's:
// what it sends beside the point ends it.
func TestMailProcess(t *testing.T) {
	h := start(t, byUsers)
	k := h.dial()
	k.want("delivered 2.0.0 <nil>", "deliver t1 u0 From-a")
	pid := ""
	if !testenv.Eventually(func() bool { pid = processOf(t, UserRole+"u0"); return pid != "" }) {
		t.Fatal("there is no process of u0")
	}
	status, err := os.ReadFile("/proc/" + pid + "/status")
	testenv.Must(t, err)
	gid := firstUID + 100
	for _, want := range []string{
		fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", firstUID), fmt.Sprintf("\nGid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", mailGID),
		fmt.Sprintf("\nGroups:\t%d \n", gid), "\nNoNewPrivs:\t1\n", "\nCapEff:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	testenv.Must(t, os.Chmod(h.mail, 0o755)) // nobody but root may make files there any more
	k.want("deferred 4.2.0", "deliver t2 u1 From-b")
}

// TestForwardsByUsers: whether there is a .forward is asked of a process of the user's.
func TestForwardsByUsers(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	home := h.path("home")
	testenv.Must(t, os.Mkdir(home, 0o700))
	testenv.Must(t, os.Chown(home, firstUID, firstUID))
	file := filepath.Join(home, ".forward")
	testenv.Must(t, os.WriteFile(h.path("passwd"), fmt.Appendf(nil, "root:x:0:0::/root:/bin/sh\nu0:x:%d:%[1]d::%s:/bin/sh\nu1:x:%d:%[3]d::%[2]s:/bin/sh\n", firstUID, home, firstUID+1), 0o644))
	o := optionsIn(h.dir, h.log)
	o.ByUsers = true
	m := newMaster(t.Context(), o)
	defer m.wait()
	look := func(user string, want bool, words string) {
		t.Helper()
		yes, err := m.forwards(t.Context(), user, "")
		if yes != want || (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, %v, want %v, %q", user, yes, err, want, words)
		}
	}
	look("u0", false, "")
	look("u1", false, "permission denied") // it is u0's, and closed
	testenv.Must(t, os.WriteFile(file, nil, 0o600))
	look("u0", true, "")
	look("root", false, "")
	look("u9", false, account.ErrNoUser.Error())
}

// processOf is the number of the child with that title; "": there is none.
func processOf(t *testing.T, title string) string {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testenv.Must(t, err)
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil || strings.TrimRight(string(b), "\x00") != title {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		if err == nil && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			return filepath.Base(filepath.Dir(name))
		}
	}
	return ""
}
