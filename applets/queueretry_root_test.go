//go:build e2e

package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/testenv"
)

// TestRetryAlone: where no server runs, retry tries what it names, and no other
// message, for root and for the owner of a queue of their own.
func TestRetryAlone(t *testing.T) {
	testenv.NeedsRoot(t, "runs servers as two users")
	for _, uid := range []uint32{0, nobody} {
		dir := t.TempDir()
		home := filepath.Join(dir, "home")
		cf := fmt.Sprintf("server-user=nobody\nqueue-dir=%s/q\nmail-dir=%[1]s/../mail\nrun-dir=%[1]s/run\naliases=%[1]s/aliases\nhostname=us.example\nlog=file:%[1]s/log\n", home)
		err := then(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(home, 0o755), os.Chown(home, int(uid), int(uid)),
			os.Mkdir(filepath.Join(dir, "mail"), 0o755), os.Chmod(filepath.Join(dir, "mail"), 0o777|os.ModeSticky),
			os.WriteFile(filepath.Join(dir, "cf"), []byte(cf), 0o644), os.WriteFile(filepath.Join(home, "aliases"), nil, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		run := func(argv0, stdin string, args ...string) (string, int) {
			cmd := exec.Command("/proc/self/exe", append([]string{"-C", filepath.Join(dir, "cf")}, args...)...)
			cmd.Args[0], cmd.Dir, cmd.Stdin = argv0, "/", strings.NewReader(stdin)
			cmd.Env = append(os.Environ(), "HOME="+home)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			out, err := cmd.CombinedOutput()
			t.Logf("uid %d: %s %q: %v\n%s", uid, argv0, args, err, out)
			return string(out), cmd.ProcessState.ExitCode()
		}
		queued := func() (ids []string) {
			entries, err := os.ReadDir(filepath.Join(home, "q/queue"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				ids = append(ids, e.Name())
			}
			return ids
		}
		for range 2 {
			if _, code := run("sendmail", "Subject: x\n\nhello\n", "-odq", "nobody"); code != 0 {
				t.Fatalf("uid %d: exit code %d", uid, code)
			}
		}
		ids := queued()
		if len(ids) != 2 {
			t.Fatalf("uid %d: %q are queued, want two", uid, ids)
		}
		out, code := run("queue", "", "retry", ids[1], "GONE")
		if !strings.Contains(out, ids[1]+": tried\n") || !strings.Contains(out, "GONE: no message") || code != 69 {
			t.Errorf("uid %d: exit code %d, %s", uid, code, out)
		}
		if got := queued(); len(got) != 1 || got[0] != ids[0] {
			t.Errorf("uid %d: %q are left, want %s", uid, got, ids[0])
		}
	}
}
