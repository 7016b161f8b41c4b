//go:build e2e

package lan

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Modes are the two ways in which the whole flow must work.
var Modes = []struct {
	Name    string
	Install func(h *Host, settings ...string) *Site
	Port    string
}{
	{"root tree", (*Host).Install, "25"},
	{"ordinary user", func(h *Host, settings ...string) *Site { return h.InstallFor(Alice, settings...) }, "2525"},
}

// Says runs a program of the site's as an account, "" for root, and returns its
// exit code and what it wrote on both streams.
func (s *Site) Says(user, input string, argv ...string) (code int, stdout, stderr string) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	argv = append([]string{Applet(argv[0]), "-C", s.Config}, argv[1:]...)
	cmd := s.Command(ctx, argv...)
	if user != "" {
		cmd = s.As(ctx, user, argv...)
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err := cmd.Run()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		s.T.Fatalf("%v: %v", argv, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Submit hands a message to the site's sendmail as one of its users.
func (s *Site) Submit(user, text string, args ...string) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := s.As(ctx, user, append([]string{Applet("sendmail"), "-C", s.Config}, args...)...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.T.Fatalf("sendmail: %v\n%s", err, out)
	}
}

// Site is one installation of postoffice on a host.
type Site struct {
	*Host
	Config string // its configuration file
	Mail   string // its mail directory
	Log    string // its log file
	User   string // "" the root tree, else everything as this account
}

// Install writes a configuration for the root tree on the host: port 25 of its
// address, a 2775 root:mail mail directory as Debian has it.
func (h *Host) Install(settings ...string) *Site {
	s := &Site{Host: h, Config: h.Path("postoffice.cf"), Mail: h.Path("mail"), Log: h.Path("log")}
	if err := os.Mkdir(s.Mail, 0o755); err != nil {
		h.T.Fatal(err)
	}
	os.Chown(s.Mail, 0, 8)
	os.Chmod(s.Mail, 0o775|os.ModeSetgid)
	s.Configure("listen="+h.IP+":25", settings...)
	return s
}

// InstallFor does the same for an ordinary user: a high port, and directories that the user owns.
func (h *Host) InstallFor(u User, settings ...string) *Site {
	s := &Site{Host: h, Config: h.Path("postoffice.cf"), Mail: h.Path("mail"), Log: h.Path("log"), User: u.Name}
	os.Chown(h.Dir, u.UID, u.GID)
	s.Configure("listen="+h.IP+":2525", settings...)
	os.Chown(s.Config, u.UID, u.GID)
	os.Mkdir(s.Mail, 0o700)
	os.Chown(s.Mail, u.UID, u.GID)
	return s
}

// Configure writes the configuration file: a listener, the directories of the
// site, and further settings, which may stand in for those.
func (s *Site) Configure(listen string, settings ...string) {
	s.T.Helper()
	lines := append([]string{listen}, settings...)
	for _, line := range []string{
		"queue-dir=" + s.Path("queue"),
		"run-dir=" + s.Path("run"),
		"db-dir=" + s.Path("db"),
		"mail-dir=" + s.Mail,
		"aliases=" + s.Path("aliases"),
		"hostname=" + s.Name,
		"local-domains=" + s.Name,
		"clients-per-address=0",
		"verify-from=no", // DNS knows few of the clients' own names
		"hosts-allow=" + s.Path("hosts.allow"),
		"hosts-deny=" + s.Path("hosts.deny"),
		"log=file:" + s.Log,
	} {
		name, _, _ := strings.Cut(line, "=")
		if !slices.ContainsFunc(settings, func(set string) bool { return strings.HasPrefix(set, name+"=") }) {
			lines = append(lines, line)
		}
	}
	WriteFile(s.T, s.Config, strings.Join(lines, "\n")+"\n")
	for _, name := range []string{"aliases", "hosts.allow", "hosts.deny"} { // which are named above
		if f, err := os.OpenFile(s.Path(name), os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			f.Close()
		}
	}
}

// Applet runs one of the binary's names as the site's owner and returns what it printed.
func (s *Site) Applet(name string, args ...string) string {
	s.T.Helper()
	out, err := s.TryApplet("", name, args...)
	if err != nil {
		s.T.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// TryApplet runs one of the binary's names with an input; it may fail.
func (s *Site) TryApplet(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{Applet(name), "-C", s.Config}, args...)
	cmd := s.Command(ctx, args...)
	if s.User != "" {
		cmd = s.As(ctx, s.User, args...)
	}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Serve starts the site's server in the foreground and waits until it answers.
func (s *Site) Serve() *Process {
	s.T.Helper()
	ctx := context.Background()
	cmd := s.Command(ctx, Applet("smtpd"), "-bD", "-C", s.Config)
	port := "25"
	if s.User != "" {
		cmd, port = s.As(ctx, s.User, Applet("smtpd"), "-bD", "-C", s.Config), "2525"
	}
	p := s.Start(cmd)
	s.T.Cleanup(func() {
		if s.T.Failed() {
			log, _ := os.ReadFile(s.Log)
			s.T.Logf("%s: its log:\n%s", s.Name, Tail(string(log), 60))
		}
	})
	s.Listening(port)
	return p
}

// Mailbox is the path of a user's mailbox.
func (s *Site) Mailbox(user string) string { return filepath.Join(s.Mail, user) }

// Drained waits until the queue is empty.
func (s *Site) Drained(limit time.Duration) {
	s.T.Helper()
	Until(s.T, limit, s.Name+"'s queue is empty", func() bool {
		return strings.Contains(s.Applet("mailq"), "Mail queue is empty.")
	})
}

// On is the site for another test.
func (s *Site) On(t *testing.T) *Site {
	c := *s
	c.Host = s.Host.On(t)
	return &c
}
