//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// binary is the postoffice under test, built as `make` builds it.
var binary string

func TestMain(m *testing.M) {
	if err := testenv.RunTraced(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(126)
	}
	code, err := setUp(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// setUp checks what the suite needs, builds the binary, and runs the tests.
func setUp(run func() int) (int, error) {
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("these tests make network namespaces and need root; run them with sudo, or `make quick` without them")
	}
	var missing []string
	for _, tool := range []string{"ip", "ss", "setpriv", "swaks", "unbound", "strace", "apt-get", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		return 1, fmt.Errorf("these programs are missing: %s; `make deps` installs them", strings.Join(missing, ", "))
	}
	dir, err := os.MkdirTemp("", "po-bin-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	binary = filepath.Join(dir, "postoffice")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "postoffice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build postoffice: %v\n%s", err, out)
	}
	for _, name := range []string{"sendmail", "mailq", "runq", "smtpd", "newaliases"} {
		if err := os.Symlink(binary, filepath.Join(dir, name)); err != nil {
			return 1, err
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(applet("launcher"), self, 0o755); err != nil {
		return 1, err
	}
	return run(), nil
}

// applet is the path of one of the binary's names.
func applet(name string) string { return filepath.Join(filepath.Dir(binary), name) }

// site is one installation of postoffice on a host.
type site struct {
	*host
	cf   string // its configuration file
	mail string // its mail directory
	log  string // its log file
	user string // "" the root tree, else everything as this account
}

// install writes a configuration for the root tree on the host: port 25 of its
// address, a 2775 root:mail mail directory as Debian has it.
func (h *host) install(settings ...string) *site {
	s := &site{host: h, cf: h.path("postoffice.cf"), mail: h.path("mail"), log: h.path("log")}
	if err := os.Mkdir(s.mail, 0o755); err != nil {
		h.t.Fatal(err)
	}
	os.Chown(s.mail, 0, 8)
	os.Chmod(s.mail, 0o775|os.ModeSetgid)
	s.configure("listen="+h.IP+":25", settings...)
	return s
}

// installFor does the same for an ordinary user: a high port, directories of his.
func (h *host) installFor(u user, settings ...string) *site {
	s := &site{host: h, cf: h.path("postoffice.cf"), mail: h.path("mail"), log: h.path("log"), user: u.Name}
	os.Chown(h.Dir, u.UID, u.GID)
	s.configure("listen="+h.IP+":2525", settings...)
	os.Chown(s.cf, u.UID, u.GID)
	os.Mkdir(s.mail, 0o700)
	os.Chown(s.mail, u.UID, u.GID)
	return s
}

func (s *site) configure(listen string, settings ...string) {
	s.t.Helper()
	lines := append([]string{
		listen,
		"queue-dir=" + s.path("queue"),
		"run-dir=" + s.path("run"),
		"db-dir=" + s.path("db"),
		"mail-dir=" + s.mail,
		"aliases=" + s.path("aliases"),
		"hostname=" + s.Name,
		"local-domains=" + s.Name,
		"clients-per-address=0",
		"log=file:" + s.log,
	}, settings...)
	writeFile(s.t, s.cf, strings.Join(lines, "\n")+"\n")
}

// applet runs one of the binary's names as the site's owner and returns what it printed.
func (s *site) applet(name string, args ...string) string {
	s.t.Helper()
	out, err := s.tryApplet("", name, args...)
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// tryApplet runs one of the binary's names with an input; it may fail.
func (s *site) tryApplet(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{applet(name), "-C", s.cf}, args...)
	cmd := s.command(ctx, args...)
	if s.user != "" {
		cmd = s.as(ctx, s.user, args...)
	}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serve starts the site's server in the foreground and waits until it answers.
func (s *site) serve() *process {
	s.t.Helper()
	ctx := context.Background()
	cmd := s.command(ctx, applet("smtpd"), "-bD", "-C", s.cf)
	port := "25"
	if s.user != "" {
		cmd, port = s.as(ctx, s.user, applet("smtpd"), "-bD", "-C", s.cf), "2525"
	}
	p := s.start(cmd)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			log, _ := os.ReadFile(s.log)
			s.t.Logf("%s: its log:\n%s", s.Name, tail(string(log), 60))
		}
	})
	s.listening(port)
	return p
}

// mailbox is the path of a user's mailbox.
func (s *site) mailbox(user string) string { return filepath.Join(s.mail, user) }

// drained waits until the queue is empty.
func (s *site) drained(limit time.Duration) {
	s.t.Helper()
	until(s.t, limit, s.Name+"'s queue is empty", func() bool {
		return strings.Contains(s.applet("mailq"), "Mail queue is empty.")
	})
}
