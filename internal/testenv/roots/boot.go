package roots

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// boot is what a boot loader and a kernel do: loopback, proc(5) and an empty /run, and the
// root's init as process 1.
const boot = `ip link set lo up && mount -t proc proc "$1/proc" && mount -t tmpfs -o mode=755 none "$1/run" && exec chroot "$@"`

// ended is the beginning of the line behind what a script printed, before its exit code.
const ended = "the script ended: "

// Boot has an init of the root start it, in namespaces of its own, until a script of the
// test's has ended, and returns what that printed. The root's configuration of init has to
// run it, as "sh /check".
func (r Root) Boot(t testing.TB, script string, init ...string) string {
	t.Helper()
	fifo := r.Path("out")
	if err := os.WriteFile(r.Path("check"), []byte("exec >/out 2>&1\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\n(set -eu\n"+script+"\n)\necho \""+ended+"$?\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(fifo)
	printed, err := os.OpenFile(fifo, os.O_RDWR|syscall.O_NONBLOCK, 0) // both ends, so that it has no end before the script's
	if err != nil {
		t.Fatal(err)
	}
	defer printed.Close()
	if err := printed.SetReadDeadline(time.Now().Add(scriptWait)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", append([]string{"--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", boot, "sh", string(r)}, init...)...)
	var console bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, &console, &console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		cmd.Wait()
		printed.SetReadDeadline(time.Unix(1, 0)) // nothing more comes
	}()
	defer func() { cmd.Process.Kill(); <-gone }()
	var out strings.Builder
	lines := bufio.NewReader(printed)
	for {
		line, err := lines.ReadString('\n')
		switch code, over := strings.CutPrefix(line, ended); {
		case over && code == "0\n":
			return out.String()
		case over, err != nil:
			cmd.Process.Kill()
			<-gone
			if over {
				err = errors.New(strings.TrimSpace(line))
			}
			t.Fatalf("%v, printed:\n%s\nthe console:\n%s", err, out.String(), console.String())
		}
		out.WriteString(line)
	}
}
