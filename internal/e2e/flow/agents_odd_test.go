//go:build e2e

package flow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestOddSetups is a machine as administrators and users leave it: aliases
// behind a link, no home for nobody, a home that belongs to root, files as
// Windows' editors write them, aliases that other servers know, and mail with
// details that are paths and commands (A18 to A20, A49).
func TestOddSetups(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	s := l.Host("one.test").Install()
	home, out := func(user string) string { return s.Path("home", user) }, s.Path("out")
	os.RemoveAll(home("nobody"))
	os.Mkdir(s.Path("etc-mail"), 0o755)
	os.Remove(s.Path("aliases"))
	os.Symlink("etc-mail/aliases", s.Path("aliases"))
	os.Mkdir(out, 0o700)
	os.Chown(out, 65534, 65534)
	lan.WriteFile(t, s.Path("etc-mail", "aliases"), "postmaster: root\nroot: carol\nnobody: /dev/null\nabuse: postmaster, nobody\n"+
		"gone: :fail: moved\nhole: :blackhole:\nteam: alice, team2\nteam2: alice, bob\n"+
		`program: "|env > `+out+`/env; cat > `+out+`/message"`+"\n")
	for i, f := range []struct{ user, text string }{
		{"alice", "\\alice, \"|IFS=' ' && exec /bin/cat >> kept || exit 75 #alice\""},
		{"bob", "\ufeff# mine\r\n\r\nteam\r\nbob"},
		{"carol", "\r\n \t\r\n"},
	} {
		name := filepath.Join(home(f.user), ".forward")
		lan.WriteFile(t, name, f.text)
		os.Chown(name, 2001+i, 2001+i)
	}
	lan.WriteFile(t, home("alice")+"/kept", "")
	os.Chown(home("alice")+"/kept", 2001, 2001)
	os.Chown(home("alice"), 0, 0)
	os.Chmod(home("alice"), 0o711)
	s.Serve()
	for _, m := range []struct {
		to, subject string
		code        string // of sendmail, where it fails
	}{
		{"alice", "to alice", ""},
		{"bob", "to bob", ""},
		{"abuse", "to abuse", ""},
		{"nobody", "to nobody", ""},
		{"team", "to team", ""},
		{"alice+../../../../" + out + "/x", "to a path", ""},
		{`"alice+$(touch ` + out + `/x);|touch ` + out + `/x"@one.test`, "to a command", ""},
		{"program+../x", "to a program", ""},
		{"gone", "to none", ""}, // an alias that can't be understood refuses no mail of this machine
		{"hole", "to none", ""},
		{`"|/bin/sh"@one.test`, "to none", "67"},
		{`":include:/etc/passwd"@one.test`, "to none", "67"},
	} {
		text, err := s.TryApplet("Subject: "+m.subject+"\n\n", "sendmail", "-f", `"$(id)|-x"@b.example`, m.to)
		if (err != nil) != (m.code != "") || err != nil && !strings.Contains(err.Error(), m.code) {
			t.Errorf("%s: %v\n%s", m.to, err, text)
		}
	}
	alice, bob, carol := s.Mailbox("alice"), s.Mailbox("bob"), s.Mailbox("carol")
	for _, want := range []struct{ file, text string }{
		{alice, "Subject: to alice\n"}, {home("alice") + "/kept", "Subject: to alice\n"},
		{alice, "Subject: to bob\n"}, {bob, "Subject: to bob\n"}, {home("alice") + "/kept", "Subject: to bob\n"},
		{carol, "Subject: to abuse\n"},
		{alice, "Subject: to team\n"}, {bob, "Subject: to team\n"},
		{alice, "Subject: to a path\n"}, {alice, "Subject: to a command\n"},
		{out + "/message", "Subject: to a program\n"}, {out + "/env", "EXTENSION=../x\n"}, {out + "/env", "SENDER=___id__-x_@b.example\n"},
		{s.Log, `alias hole: \":blackhole:\" names nothing`},
	} {
		lan.Until(t, 20*time.Second, want.file+" has "+want.text, func() bool { return lan.Contains(want.file, want.text) })
	}
	lan.Until(t, 20*time.Second, "all but what waits for the alias file is delivered", func() bool {
		out := s.Applet("mailq")
		return strings.Contains(out, "(2 requests)") && strings.Contains(out, "gone@") && strings.Contains(out, "hole@")
	})
	for _, box := range []string{alice, bob, carol} {
		text, _ := os.ReadFile(box)
		if n := strings.Count(string(text), "Subject: to team\n"); n > 1 || strings.Contains(string(text), "Subject: to none\n") {
			t.Errorf("%s has %d copies of a message, or one that goes nowhere", box, n)
		}
	}
	if _, err := os.Lstat(out + "/x"); err == nil {
		t.Error("a detail made a file")
	}
}
