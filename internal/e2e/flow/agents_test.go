//go:build e2e

package flow

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// agents is a site whose alice and whose aliases have programs, files and
// lists.
type agents struct {
	*lan.Site
	alias     lan.User // whose the programs of aliases are
	out, home string   // where they leave something; alice's
}

func newAgents(t *testing.T, install func(h *lan.Host, settings ...string) *lan.Site) *agents {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	s := &agents{Site: install(l.Host("one.test"), "usermap=~-*:~/.alias,~", "program-time=10s"), alias: lan.Nobody}
	owner := lan.User{}
	if s.User != "" {
		s.alias, owner = lan.Alice, lan.Alice
	}
	s.out, s.home = s.Path("out"), s.Path("home", "alice")
	os.Mkdir(s.out, 0o700)
	os.Chown(s.out, s.alias.UID, s.alias.GID)
	os.Chmod(s.home, 0o700)
	for _, f := range []struct {
		name, text string
		owner      lan.User
	}{
		{s.Path("aliases"), `program: "|id > ` + s.out + `/id; cat > ` + s.out + `/message"` + "\n" +
			"file: " + s.out + "/file\n" +
			"list: :include:" + s.home + "/list\n" +
			`broken: "|echo the disk is out of paper; exit 69"` + "\n" +
			`later: "|exit 75"` + "\n", owner},
		{s.home + "/list", "# closed to others\nfile, \\alice\n", lan.Alice},
		{s.home + "/.forward", "\\alice\n\"|id > " + s.home + "/id\"\n", lan.Alice},
		{s.home + "/.forward+x", s.home + "/detail\n", lan.Alice},
		{s.home + "/.alias", "alice-shop: " + s.home + "/shop\n", lan.Alice},
	} {
		lan.WriteFile(t, f.name, f.text)
		os.Chown(f.name, f.owner.UID, f.owner.GID)
	}
	os.Chmod(s.home+"/list", 0o600)
	return s
}

// TestAgents: programs, files and lists of aliases, of a .forward and of a
// personal alias file, each with the ids that it has to have (R16, R17, B53 to
// B56), in the root tree and in a private server.
func TestAgents(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			s := newAgents(t, mode.Install)
			s.Serve()
			for _, to := range []string{"program", "file", "list", "alice", "alice+x", "alice-shop", "broken", "later"} {
				if out, err := s.TryApplet("Subject: to "+to+"\n\nFrom here\n", "sendmail", "-f", "alice", to); err != nil {
					t.Fatalf("sendmail: %v\n%s", err, out)
				}
			}
			box := s.Mailbox("alice")
			for _, want := range []struct{ name, text string }{
				{s.out + "/id", "uid=" + strconv.Itoa(s.alias.UID) + "(" + s.alias.Name + ") gid=" + strconv.Itoa(s.alias.GID)},
				{s.out + "/message", "\nReturn-Path: <alice@one.test>\n"},
				{s.out + "/message", "\nSubject: to program\n"},
				{s.out + "/file", "\nSubject: to file\n"},
				{s.out + "/file", "\nSubject: to list\n"},
				{box, "\nSubject: to list\n"},
				{box, "\nSubject: to alice\n"},
				{s.home + "/id", "uid=2001(alice) gid=2001(alice)"},
				{s.home + "/detail", "\nSubject: to alice+x\n"},
				{s.home + "/shop", "\nSubject: to alice-shop\n"},
				{box, "the disk is out of paper"}, // the report
			} {
				lan.Until(t, 20*time.Second, want.name+" has "+want.text, func() bool { return lan.Contains(want.name, want.text) })
			}
			lan.Until(t, 20*time.Second, "one message waits", func() bool { return strings.Contains(s.Applet("mailq"), "exit code 75") })
			for name, owner := range map[string]lan.User{s.out + "/file": s.alias, s.home + "/detail": lan.Alice, box: lan.Alice} {
				if info, err := os.Stat(name); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != owner.UID {
					t.Errorf("%s: %v, want it to be %s's", name, err, owner.Name)
				}
			}
			if lan.Contains(box, "\nSubject: to alice+x\n") || lan.Contains(box, "\nSubject: to alice-shop\n") {
				t.Error("mail that goes elsewhere is in the mailbox too")
			}
		})
	}
}

// TestForwardOfOthers: a .forward that others could have written leaves the
// mail where it is, and says what to do (A49).
func TestForwardOfOthers(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	s := l.Host("one.test").Install()
	home := s.Path("home", "alice")
	lan.WriteFile(t, home+"/.forward", "bob\n")
	os.Chown(home+"/.forward", 2001, 2001)
	os.Chmod(home+"/.forward", 0o666)
	s.Serve()
	if out, err := s.TryApplet("Subject: mine\n\n", "sendmail", "alice"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	lan.Until(t, 20*time.Second, "the log says what to do", func() bool {
		return lan.Contains(s.Log, "others may write "+home+"/.forward") && lan.Contains(s.Log, "chmod go-w")
	})
	os.Chmod(home+"/.forward", 0o600)
	s.Applet("runq")
	lan.Until(t, 20*time.Second, "bob has it", func() bool { return lan.Contains(s.Mailbox("bob"), "Subject: mine\n") })
	if lan.Contains(s.Mailbox("alice"), "Subject: mine\n") {
		t.Error("alice has it too")
	}
	s.Drained(10 * time.Second)
}
