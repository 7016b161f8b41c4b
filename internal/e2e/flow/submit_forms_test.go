//go:build e2e

package flow

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// form is a way to run sendmail in which no set-id bit, or hardly any file, is
// of use.
type form struct {
	name    string
	sender  string
	program []string // runs as root of the host, before sendmail's arguments
	drop    string   // what it says where no server runs; "" is nothing, and the message waits in maildrop/
}

// forms are the ways on a site.
func forms(s *lan.Site) []form {
	send := []string{lan.Applet("sendmail"), "-C", s.Config}
	as := func(id string, more ...string) []string {
		return append([]string{"setpriv", "--reuid", id, "--regid", "2001", "--clear-groups"}, append(more, send...)...)
	}
	readOnly := append([]string{"unshare", "-m", "sh", "-euc", `
		mount --make-rprivate /
		findmnt -rno TARGET | while read -r dir; do mount -o remount,bind,ro "$dir" 2>/dev/null || :; done
		if touch "$1" 2>/dev/null; then exit 1; fi
		shift
		exec "$@"`, "sh", s.Path("touched")}, as("alice")...)
	return []form{
		{"no new privileges", "alice@one.test", as("alice", "--no-new-privs"), ""},
		{"a user namespace, as its root", "alice@one.test", as("alice", "unshare", "-U", "-r"), ""},
		{"a user namespace that knows nobody", "alice@one.test", as("alice", "unshare", "-U"), ""},
		{"a user namespace, as itself", "alice@one.test", as("alice", "unshare", "-U", "-c"), ""},
		{"no account", "uid-2999@one.test", as("2999"), ""},
		{"no capabilities", "alice@one.test", as("alice", "--bounding-set=-all", "--inh-caps=-all"), ""},
		{"a read-only root", "alice@one.test", readOnly, "read-only"},
		{"a chroot", "alice@one.test", []string{"chroot", "--userspec=2001:2001", s.Path("jail"), "/sendmail"}, "no mail server"},
	}
}

// jail makes a directory with a binary and the server's socket, and nothing else.
func jail(s *lan.Site) {
	s.T.Helper()
	run := s.Path("jail", "run", "postoffice")
	if err := os.MkdirAll(run, 0o755); err != nil {
		s.T.Fatal(err)
	}
	lan.Sh(s.T, "cp", lan.Binary, s.Path("jail", "sendmail"))
	if err := os.Link(s.Path("run", "submission"), filepath.Join(run, "submission")); err != nil {
		s.T.Fatal(err)
	}
}

// TestSubmission is A70 in every form: no set-id bit is anywhere, and the
// message gets to the server, or waits in maildrop/, or the caller is told in a
// line what is wrong, and what to do.
func TestSubmission(t *testing.T) {
	var recipients []lan.User
	for i := range 8 {
		recipients = append(recipients, lan.Account(lan.Nth("f", i), 3000+i))
	}
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	s := l.Host("one.test", recipients...).Install()
	if info, err := os.Stat(lan.Binary); err != nil || info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		t.Fatalf("%s: %v, %v", lan.Binary, info.Mode(), err)
	}
	p := s.Serve()
	jail(s)
	each(s, t, "with a server", func(f form) (int, string) { return 0, "" })
	text, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, s.Config, string(text)+"qretrun = 3d\n")
	each(s, t, "with an error in the configuration", func(f form) (int, string) {
		if f.name == "a chroot" { // it has none
			return 0, ""
		}
		return 0, "no option"
	})
	lan.WriteFile(t, s.Config, string(text))
	if err := os.Chmod(s.Path("run", "submission"), 0o600); err != nil {
		t.Fatal(err)
	}
	each(s, t, "with a socket that is shut", dropped(""))
	p.Stop()
	each(s, t, "without a server", dropped(""))
	lan.WriteFile(t, s.Config, string(text)+"qretrun = 3d\n")
	each(s, t, "without a server, with an error in the configuration", dropped("no option"))
	lan.WriteFile(t, s.Config, string(text)+"spool = /somewhere/else\n")
	each(s, t, "without a server, and in doubt which queue is meant", func(f form) (int, string) {
		if f.name == "a chroot" {
			return 75, f.drop
		}
		return 78, "no option"
	})
	lan.WriteFile(t, s.Config, string(text))
	maildrop := s.Path("queue", "maildrop")
	if err := os.Chmod(maildrop, 0o700); err != nil {
		t.Fatal(err)
	}
	each(s, t, "without a server and maildrop", func(form) (int, string) { return 75, "no mail server answers here" })
	if err := syscall.Chmod(maildrop, 0o3733); err != nil {
		t.Fatal(err)
	}
	s.Serve()
	for i, f := range forms(s) {
		want := 5
		if f.drop != "" {
			want = 2
		}
		rcpt := lan.Nth("f", i)
		lan.Until(t, 20*time.Second, f.name+": the messages are there", func() bool { return len(s.Messages(rcpt)) >= want })
	}
	s.Drained(10 * time.Second)
	for i, f := range forms(s) {
		for _, m := range s.Messages(lan.Nth("f", i)) {
			if !strings.HasPrefix(m, "Return-Path: <"+f.sender+">\n") || strings.Contains(m, "X-Authentication-Warning") {
				t.Errorf("%s: not %s's own:\n%s", f.name, f.sender, m)
			}
		}
	}
}

// dropped is what the forms come to where a message goes into maildrop/.
func dropped(words string) func(form) (int, string) {
	return func(f form) (int, string) {
		if f.drop != "" {
			return 75, f.drop
		}
		return 0, words
	}
}

// each has every form send a message, and compares its exit code and a piece of
// what it says.
func each(s *lan.Site, t *testing.T, state string, want func(form) (int, string)) {
	t.Run(state, func(t *testing.T) {
		for i, f := range forms(s) {
			t.Run(f.name, func(t *testing.T) {
				cmd := s.Command(t.Context(), append(f.program, lan.Nth("f", i))...)
				cmd.Stdin = strings.NewReader("Subject: " + state + "\n\nhello\n")
				out, err := cmd.CombinedOutput()
				code, words := want(f)
				lines := strings.Count(string(out), "\n")
				if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), words) || lines > 2 || lines > 0 && words == "" && code == 0 {
					t.Errorf("exit code %d, %v, said:\n%s\nwant %d and %q", cmd.ProcessState.ExitCode(), err, out, code, words)
				}
			})
		}
	})
}
