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

// TestNoAccount: a uid without a passwd entry that has HOME set, as in a
// container, submits without a server: one is started for the message, and
// delivers it to that uid's mailbox.
func TestNoAccount(t *testing.T) {
	testenv.NeedsRoot(t, "runs a program as an unknown user")
	const uid = 64998
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	cf := fmt.Sprintf("queue-dir=%s/q\nmail-dir=%[1]s\nrun-dir=%[1]s/run\naliases=%[1]s/aliases\nhostname=us.example\nlog=file:%[1]s/log\n", home)
	err := then(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Mkdir(home, 0o755), os.Chown(home, uid, uid),
		os.WriteFile(filepath.Join(dir, "cf"), []byte(cf), 0o644), os.WriteFile(filepath.Join(home, "aliases"), nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"sendmail", "--wait=30s", "uid-64998"}, {"runq"}, {"route", "uid-64998"}} {
		cmd := exec.Command("/proc/self/exe", append([]string{"-C", filepath.Join(dir, "cf")}, args[1:]...)...)
		cmd.Args[0], cmd.Dir, cmd.Stdin = args[0], "/", strings.NewReader("Subject: x\n\nhello\n")
		cmd.Env = append(os.Environ(), "HOME="+home)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	if text, err := os.ReadFile(filepath.Join(home, "uid-64998")); !strings.Contains(string(text), "\nhello\n") {
		t.Errorf("the mailbox holds %q, %v", text, err)
	}
}
