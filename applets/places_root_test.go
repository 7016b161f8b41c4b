//go:build e2e

package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/testenv"
)

// TestStartSaysWhatToDo: whatever keeps a server from starting, standard error
// says what, and a hint what to do about it; the exit code is smtpd(8)'s.
func TestStartSaysWhatToDo(t *testing.T) {
	testenv.NeedsRoot(t, "runs servers as another user")
	dir := t.TempDir()
	ours, file := filepath.Join(dir, "ours"), filepath.Join(dir, "file")
	err := then(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(ours, 0o700), os.Chown(ours, nobody, nobody), os.WriteFile(file, nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, option string
		code         int
		text, hint   string
	}{
		{"no such address", "listen=192.0.2.1:2525", 71, "listen on 192.0.2.1:2525", "no interface has that address now"},
		{"a port of root's", "listen=127.0.0.1:25", 71, "listen on 127.0.0.1:25", "ports below 1024 are root's"},
		{"a name without address", "listen=no.such.invalid:2525", 71, "listen on no.such.invalid:2525", "/etc/hosts or the DNS"},
		{"run-dir's parent missing", "run-dir=" + dir + "/no/run", 73, "run directory", "mkdir -p " + dir + "/no"},
		{"run-dir not ours to make", "run-dir=" + dir + "/run", 77, "run directory", "start it as root, or with a configuration of your own"},
		{"run-dir of root's", "run-dir=" + dir, 73, "belongs to uid 0, want 65534", "option run-dir says where it is"},
		{"run-dir in a file", "run-dir=" + file + "/run", 73, "run directory", "no directory"},
		{"queue-dir's parent missing", "queue-dir=" + dir + "/no/q", 75, "open the queue", "mkdir -p " + dir + "/no"},
		{"queue-dir not ours to make", "queue-dir=" + dir + "/q", 77, "open the queue", "start it as root, or with a configuration of your own"},
		{"log's parent missing", "log=file:" + dir + "/no/log", 73, "open the log", "option log says where it goes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := fmt.Sprintf("queue-dir=%s/q\nmail-dir=%[1]s\nrun-dir=%[1]s/run\nlisten=127.0.0.1:2599\nhostname=us.example\nlog=file:%[1]s/log\n", ours)
			name, _, _ := strings.Cut(tt.option, "=")
			cf := ""
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, name+"=") {
					cf += line
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "cf"), []byte(cf+tt.option+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			cmd := exec.Command("/proc/self/exe", "-C", filepath.Join(dir, "cf"))
			cmd.Args[0] = "smtpd"
			cmd.Dir, cmd.Stderr = "/", &said
			cmd.Env = append(os.Environ(), "HOME="+ours)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			_ = cmd.Run() // its exit code tells
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			what, hint, ok := strings.Cut(said.String(), "smtpd: hint: ")
			if !ok || !strings.Contains(what, tt.text) || !strings.Contains(hint, tt.hint) {
				t.Errorf("standard error:\n%swant %q, and the hint %q", said.String(), tt.text, tt.hint)
			}
		})
	}
}
