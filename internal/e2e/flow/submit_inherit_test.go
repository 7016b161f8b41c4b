//go:build e2e

package flow

import (
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// inheritances are what a caller may hand to sendmail, each a shell script that
// runs it at last; drop is the exit code where no server runs.
var inheritances = []struct {
	name, script string
	drop         int
}{
	{"closed output", `exec "$@" >&- 2>&-`, 0},
	{"no environment", `exec env -i "$@"`, 0},
	{"odd environment", `mkfifo ~/fifo 2>/dev/null; TZ=$HOME/fifo GODEBUG=asyncpreemptoff=1,netdns=9 GOMAXPROCS=1 GOGC=1 GOTRACEBACK=crash ` +
		`TMPDIR=/nonexistent HOME=/nonexistent LANG=xx USER=bob LOGNAME=bob exec "$@"`, 0},
	{"umask that takes everything", `umask 777; exec "$@"`, 0},
	{"ignored signals", `trap '' HUP INT QUIT PIPE TERM CHLD XFSZ ALRM; exec "$@"`, 0},
	{"few descriptors", `ulimit -n 12; exec "$@"`, 0},
	{"no core, little stack", `ulimit -c 0; ulimit -s 256; exec "$@"`, 0},
	{"files of half a kilobyte", `ulimit -f 1; exec "$@"`, 75},
	{"no files", `ulimit -f 0; exec "$@"`, 75},
	{"a directory that is gone", `mkdir ~/gone; cd ~/gone; rmdir ~/gone; exec "$@"`, 0},
	{"many open files", `exec 3</etc/passwd 4</etc/group 9>/dev/null; exec "$@"`, 0},
}

// TestSubmissionInherits is A68: sendmail trusts nothing that it inherits. Its
// message gets there whole and once, or its caller is told, and there is no
// half of it.
func TestSubmissionInherits(t *testing.T) {
	var recipients []lan.User
	for i := range inheritances {
		recipients = append(recipients, lan.Account(lan.Nth("f", i), 3000+i))
	}
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	s := l.Host("one.test", recipients...).Install()
	p := s.Serve()
	inherit(s, t, "with a server", func(int) int { return 0 })
	p.Stop()
	inherit(s, t, "without a server", func(i int) int { return inheritances[i].drop })
	want := 0
	for _, in := range inheritances {
		if in.drop == 0 {
			want++
		}
	}
	if all := lan.ReadDir(t, s.Path("queue", "maildrop")); len(all) != want {
		t.Errorf("%d files in maildrop/, want %d: %v", len(all), want, all)
	}
	s.Serve()
	for i, in := range inheritances {
		rcpt, want := lan.Nth("f", i), 2
		if in.drop != 0 {
			want = 1
		}
		lan.Until(t, 20*time.Second, in.name+": the messages are there", func() bool { return len(s.Messages(rcpt)) >= want })
		for _, raw := range s.Messages(rcpt) {
			m := lan.ParseMessage(t, raw)
			lan.Differ(t, in.name, []byte(m.Text), []byte(lan.ProgramText))
			if m.Header.Get("Return-Path") != "<alice@one.test>" {
				t.Errorf("%s: not alice's:\n%s", in.name, raw)
			}
		}
	}
	s.Drained(10 * time.Second)
	for i, in := range inheritances {
		want := 2
		if in.drop != 0 {
			want = 1
		}
		if n := len(s.Messages(lan.Nth("f", i))); n != want {
			t.Errorf("%s: %d messages, want %d", in.name, n, want)
		}
	}
}

// inherit sends a message under each inheritance.
func inherit(s *lan.Site, t *testing.T, state string, want func(int) int) {
	for i, in := range inheritances {
		cmd := s.As(t.Context(), "alice", "env", "HOME="+s.Path("home", "alice"),
			"sh", "-c", in.script, "sh", lan.Applet("sendmail"), "-C", s.Config, "-i", lan.Nth("f", i))
		cmd.Stdin = strings.NewReader("Subject: " + state + "\n\n" + lan.ProgramText)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want(i) || code == 0 && len(out) > 0 {
			t.Errorf("%s, %s: exit code %d, %v, said:\n%s\nwant %d", state, in.name, code, err, out, want(i))
		}
	}
}
