//go:build e2e

package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// TestOldQueue: after queue-dir was changed, the log and config --check tell of the
// mail in the old one, and the command that they name delivers it.
func TestOldQueue(t *testing.T) {
	testenv.NeedsRoot(t, "runs a server as root")
	dir := t.TempDir()
	text := "queue-dir=%[1]s/%[2]s\nmail-dir=%[1]s/mail\nrun-dir=%[1]s/run\ndb-dir=%[1]s/db\naliases=%[1]s/aliases\nhostname=us.example\nlog=file:%[1]s/log\nserver-user=nobody\nlisten=127.0.0.1:2599\ntls-cert=none\n"
	err := then(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "mail"), 0o755), os.Chmod(filepath.Join(dir, "mail"), 0o775), os.WriteFile(filepath.Join(dir, "aliases"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "old"), fmt.Appendf(nil, text, dir, "q1"), 0o644), os.WriteFile(filepath.Join(dir, "new"), fmt.Appendf(nil, text, dir, "q2"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("/proc/self/exe", args[1:]...)
		cmd.Args[0], cmd.Dir, cmd.Stdin = args[0], "/", strings.NewReader("Subject: x\n\nhello\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	serve := func(cf string) (stop func()) {
		t.Helper()
		run("smtpd", "-C", filepath.Join(dir, cf))
		name := filepath.Join(dir, "run", "postoffice.pid")
		pid, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
		if err != nil {
			t.Fatal(err)
		}
		stop = sync.OnceFunc(func() {
			_ = syscall.Kill(n, syscall.SIGTERM) // its end is what is waited for
			for syscall.Kill(n, 0) == nil {
				<-time.After(10 * time.Millisecond)
			}
		})
		t.Cleanup(stop)
		return stop
	}
	check := func(cf string) string { return run("postoffice", "config", "--check", "-C", filepath.Join(dir, cf)) }
	stop := serve("old")
	run("sendmail", "-C", filepath.Join(dir, "old"), "-odq", "root")
	if got := check("old"); strings.Contains(got, "queue-dir") {
		t.Errorf("before the change: %q", got)
	}
	if got := check("new"); !strings.Contains(got, dir+"/q1 was queue-dir before") {
		t.Errorf("before the restart: %q", got)
	}
	stop()
	serve("new") // the test ends it
	got := check("new")
	_, command, ok := strings.Cut(got, "postoffice runq -v ")
	command, _, _ = strings.Cut(command, " tries")
	if log := readAll(t, filepath.Join(dir, "log")); !ok || !strings.Contains(log, "mail left in another queue") {
		t.Fatalf("after the restart: %q, log:\n%s", got, log)
	}
	run(append([]string{"runq", "-C", filepath.Join(dir, "new"), "-v"}, strings.Fields(command)...)...)
	if text := readAll(t, filepath.Join(dir, "mail", "root")); !strings.Contains(text, "hello") {
		t.Errorf("the mailbox holds %q", text)
	}
	if got := check("new"); strings.Contains(got, "queue-dir") {
		t.Errorf("when nothing waits: %q", got)
	}
}

func readAll(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
