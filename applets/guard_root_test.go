//go:build e2e

// These tests run the programs as another user, which takes root.

package applets

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// installed copies the test binary, which is every applet by its name, to
// where nobody may run it.
func installed(t *testing.T, name string, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "applets-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, name)
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o755}, {path, mode}} {
		if err := os.Chmod(c.path, c.mode); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// as runs a program as nobody and returns its exit code and standard error.
func as(t *testing.T, env []string, argv ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// TestRaisedRights is A68: no applet runs with rights that its caller lacks.
func TestRaisedRights(t *testing.T) {
	for _, mode := range []os.FileMode{0o755 | os.ModeSetuid, 0o755 | os.ModeSetgid} {
		path := installed(t, "mailq", mode)
		code, text := as(t, nil, path, "-V")
		if code != 77 || !strings.Contains(text, "raised rights") {
			t.Errorf("mode %v: exit code %d, %q, want 77", mode, code, text)
		}
	}
	if code, text := as(t, nil, installed(t, "mailq", 0o755), "-V"); code != 0 {
		t.Errorf("without: exit code %d, %q", code, text)
	}
}

// TestOptionsOfUsers is A42 and S30: what a user may say on the command line.
func TestOptionsOfUsers(t *testing.T) {
	sendmail := installed(t, "sendmail", 0o755)
	for _, tt := range []struct {
		argv string
		code int
		text string
	}{
		{"-C /dev/null -o relay-host=evil.example x@y.example", 77, "only root may set relay-host with -o"},
		{"-C /dev/null -oqueue-dir=/tmp/q x@y.example", 77, "only root may set queue-dir with -o"},
		{"-C /dev/null -o self=evil.example x@y.example", 77, "only root may set hostname with -o"},
		{"-C /root/cf x@y.example", 66, "/root/cf: permission denied"},
		{"-h 99999999999 -d-1.9999999999 -X/tmp/x -oQ/tmp -oi -V", 0, ""},
	} {
		code, text := as(t, nil, append([]string{sendmail}, strings.Fields(tt.argv)...)...)
		if code != tt.code || !strings.Contains(text, tt.text) {
			t.Errorf("sendmail %s: exit code %d, %q, want %d, %q", tt.argv, code, text, tt.code, tt.text)
		}
	}
}

// TestInheritedEnvironment is A68: a time zone that never answers, and
// descriptors that are closed, hold nothing up. mailq shows times.
func TestInheritedEnvironment(t *testing.T) {
	sendmail := installed(t, "sendmail", 0o755)
	dir := filepath.Dir(sendmail)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	fifo, cf := filepath.Join(dir, "fifo"), filepath.Join(dir, "cf")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, name := range []string{"queue", "mail", "run", "db"} {
		text += name + "-dir=" + filepath.Join(dir, name) + "\n"
	}
	text += "aliases=" + filepath.Join(dir, "aliases") + "\nhostname=here.example\nqueue-only=yes\nlog=stderr\n"
	if err := then(os.WriteFile(cf, []byte(text), 0o644), os.WriteFile(filepath.Join(dir, "aliases"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, tz := range []string{"UTC", fifo, ":" + fifo} {
		for _, argv := range []string{"echo | " + sendmail + " -C " + cf + " nobody@here.example", sendmail + " -C " + cf + " -bp"} {
			code, text := as(t, []string{"TZ=" + tz}, "timeout", "10", "sh", "-c", argv)
			if code != 0 {
				t.Errorf("TZ=%s %s: exit code %d: %q", tz, argv, code, text)
			}
		}
	}
	if code, text := as(t, nil, "sh", "-c", "exec "+sendmail+" -V <&- >&- 2>&-"); code != 0 {
		t.Errorf("without descriptors: exit code %d, %q", code, text)
	}
}

// TestDefaultFile is S29, in a mount namespace with an /etc of
// its own: everybody reads the default file, and nobody an insecure one.
func TestDefaultFile(t *testing.T) {
	postoffice := installed(t, "postoffice", 0o755)
	for _, tt := range []struct {
		name, spoil, want string
	}{
		{"good", "true", "qreturn=2d # /etc/postoffice.cf:1 0"},
		{"missing", "rm postoffice.cf", "qreturn=3d # default 0"},
		{"open", "chmod 666 postoffice.cf", "postoffice config: /etc/postoffice.cf: is not secure: everybody may write it postoffice config: hint: chmod go-w /etc/postoffice.cf, and give it to root with chown, or keep it in a file of your own and name that with -C 72"},
		{"a user's", "chown 1000 postoffice.cf", "its owner is uid 1000, not root"},
		{"open directory", "chmod 777 .", "postoffice config: [/etc]/postoffice.cf: is not a secure path: everybody may write to it"},
		{"wrong", "echo qretrun=2d >postoffice.cf", "postoffice config: /etc/postoffice.cf:1: no option \"qretrun\"; did you mean qreturn? 78"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script := `mount -t tmpfs -o mode=755 tmpfs /etc && cd /etc && echo qreturn=2d >postoffice.cf && ` + tt.spoil +
				` && setpriv --reuid=65534 --regid=65534 --clear-groups ` + postoffice + ` config qreturn; echo $?`
			out, err := exec.Command("unshare", "-m", "sh", "-c", script).CombinedOutput()
			if got := strings.Join(strings.Fields(string(out)), " "); err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// then is the first error; what its arguments do was done in their order.
func then(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
