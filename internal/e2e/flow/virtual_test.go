//go:build e2e

package flow

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

const mailUID = 8 // of the account mail, Debian's

// virtualSite has the domain virtual.test with the user bob, its files as vhosts(7)
// says.
func virtualSite(t *testing.T, settings ...string) (s *lan.Site, client *lan.Host) {
	t.Helper()
	l := lan.New(t)
	h, client := l.Host("one.test"), l.Host("client.test")
	s = h.Install(append([]string{"vhost-dir=" + h.Path("virtual"), "vhost-spool=" + h.Path("vspool"), "local-by-dns=no"}, settings...)...)
	lan.WriteFile(t, s.Path("virtual", "domains.cf"), "# ours\n#alice:old.test:1:\nalice:Virtual.Test:1:the first\nalice:off.test:0:\nbroken line\nalice:wrong.test:yes\n")
	addDomain(t, s, "virtual.test", "bob:{PLAIN}x\nCarol:{PLAIN}y::::::\n")
	return s, client
}

// addDomain makes the files of a domain of alice's.
func addDomain(t *testing.T, s *lan.Site, domain, passwd string) {
	t.Helper()
	dir, spool := s.Path("virtual", domain), s.Path("vspool", domain)
	lan.WriteFile(t, dir+"/passwd", passwd)
	for _, err := range []error{
		os.MkdirAll(spool, 0o755), os.Chmod(spool, 0o700), os.Chown(spool, mailUID, mailUID),
		os.Chown(dir, lan.Alice.UID, mailUID), os.Chmod(dir, 0o750|os.ModeSetgid),
		os.Chown(dir+"/passwd", lan.Alice.UID, mailUID), os.Chmod(dir+"/passwd", 0o640),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestVirtualDomain: a message of a stranger's for a user of a virtual domain ends in
// the domain's directory, as the vhost-user; a user that there isn't is refused at RCPT.
func TestVirtualDomain(t *testing.T) {
	s, client := virtualSite(t)
	s.Serve()
	conn, err := client.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ to, want string }{
		{"bob@virtual.test", ""},
		{"BOB+detail@VIRTUAL.test", ""},
		{"carol@virtual.test", ""},
		{"nobody@virtual.test", "550 5.1.1"},
		{"postmaster@virtual.test", ""},
		{"abuse@virtual.test", ""},
		{"bob@off.test", "550 5.7.1"},
		{"bob@old.test", "550 5.7.1"},
		{"bob@wrong.test", "451"},
	} {
		err := d.Send("writer@client.test", tt.to, "Subject: to "+tt.to+"\n\ntext\n")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "refused: "+tt.want)) {
			t.Errorf("%s: %v, want %q", tt.to, err, tt.want)
		}
		if err != nil {
			d.Expect("RSET", "250")
		}
	}
	d.Quit()
	s.Drained(20 * time.Second)
	for file, n := range map[string]int{"bob": 2, "Carol": 1} {
		box := s.Path("vspool", "virtual.test", file)
		if got := count(box, "\nSubject: to "); got != n {
			t.Errorf("%s has %d messages, want %d", box, got, n)
		}
		if uid, mode := owned(t, box); uid != mailUID || mode != 0o600 {
			t.Errorf("%s belongs to %d and has the mode %o", box, uid, mode)
		}
	}
	if !lan.Contains(s.Path("vspool", "virtual.test", "bob"), "Delivered-To: bob@virtual.test\n") {
		t.Error("no Delivered-To with the whole address")
	}
	for _, want := range []string{"domains.cf:5: ", "domains.cf:6: "} {
		lan.Until(t, 20*time.Second, "the log tells of "+want, func() bool { return lan.Contains(s.Log, want) })
	}
}

// TestVirtualFolder: what the program of av finds bad goes into the folder of vhost-folder, a
// file beside the mailbox or a folder of the Maildir, as the vhost-user; other mail doesn't.
func TestVirtualFolder(t *testing.T) {
	for _, kind := range []string{"mbox", "maildir"} {
		t.Run(kind, func(t *testing.T) {
			s, client := virtualSite(t, "vhost-mailbox="+kind, "vhost-folder=Junk", "spam=folder:~/junk")
			av := s.Program("av", "grep -q EICAR && exit 1\nexit 0\n")
			lan.WriteFile(t, s.Config, string(mustRead(t, s.Config))+"av="+av+"\n")
			s.Serve()
			conn, err := client.Dial(s.IP + ":25")
			if err != nil {
				t.Fatal(err)
			}
			d, err := lan.NewDialogue(conn, "client.test")
			for _, word := range []string{"EICAR", "clean"} {
				if err == nil {
					err = d.Send("writer@client.test", "bob@virtual.test", "Subject: to bob\n\n"+word+"\n")
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			d.Quit()
			s.Drained(20 * time.Second)
			box := s.Path("vspool", "virtual.test", "bob")
			places := []string{box + ":Junk", box}
			if kind == "maildir" {
				places = []string{box + "/.Junk/new/*", box + "/new/*"}
			}
			for i, word := range []string{"EICAR", "clean"} {
				found, _ := filepath.Glob(places[i])
				if len(found) != 1 {
					t.Fatalf("%s: %q", places[i], found)
				}
				text := string(mustRead(t, found[0]))
				if uid, mode := owned(t, found[0]); strings.Count(text, "Subject: to bob") != 1 || !strings.Contains(text, word) || strings.Contains(text, "X-Spam: ") != (i == 0) || uid != mailUID || mode != 0o600 {
					t.Errorf("%s belongs to %d, has the mode %o and\n%s", found[0], uid, mode, text)
				}
			}
		})
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// owned is who has a file, and its mode.
func owned(t *testing.T, file string) (uid int, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode().Perm()
}

// TestVirtualChanges: what vdomain, vpasswd and newaliases change is in force at the next
// question, without a word to the server; dry run, list and delivery agree, and mail for a
// domain that is taken out of the list while it waits is judged anew.
func TestVirtualChanges(t *testing.T) {
	s, client := virtualSite(t, "vhost-mailbox=maildir")
	s.Serve()
	conn, err := client.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	rcpt := func(to, want string) {
		t.Helper()
		for _, line := range [][2]string{{"MAIL FROM:<writer@client.test>", "250"}, {"RCPT TO:<" + to + ">", want}, {"RSET", "250"}} {
			if err := d.Expect(line[0], line[1]); err != nil {
				t.Errorf("%s: %v, want %s", line[0], err, line[1])
			}
		}
	}
	postoffice := func(input, applet string, args ...string) string {
		t.Helper()
		cmd := s.Command(t.Context(), append([]string{lan.Binary, applet, "-C", s.Config}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", applet, args, err, out)
		}
		return string(out)
	}
	rcpt("eve@new.test", "550 5.7.1")
	postoffice("", "vdomain", "add", "--owner", "alice", "new.test")
	rcpt("eve@new.test", "550 5.1.1")
	for _, argv := range [][]string{{"add", "eve@new.test"}, {"set", "bob@virtual.test"}} {
		postoffice("a password\n", "vpasswd", argv...)
	}
	for file, want := range map[string]int{"virtual/new.test/passwd": lan.Alice.UID, "virtual/virtual.test/passwd": lan.Alice.UID, "vspool/new.test": mailUID} {
		if uid, _ := owned(t, s.Path(file)); uid != want {
			t.Errorf("%s belongs to %d, want %d", file, uid, want)
		}
	}
	rcpt("eve@new.test", "250")
	rcpt("bob@virtual.test", "250")
	rcpt("other@new.test", "550 5.1.1")
	lan.WriteFile(t, s.Path("virtual/new.test/aliases"), "*: eve\nlist: eve, bob@virtual.test\n")
	os.Chown(s.Path("virtual/new.test/aliases"), lan.Alice.UID, mailUID)
	rcpt("other@new.test", "250")
	s.Applet("newaliases", "new.test")
	if uid, _ := owned(t, s.Path("virtual/new.test/aliases.db")); uid != lan.Alice.UID {
		t.Errorf("the database belongs to %d, want %d", uid, lan.Alice.UID)
	}
	rcpt("other@new.test", "250")

	for program, out := range map[string]string{"sendmail -bv": s.Applet("sendmail", "-bv", "list@new.test"), "route": postoffice("", "route", "list@new.test")} {
		for _, want := range []string{"alias list@new.test", "eve@new.test (" + s.Path("virtual/new.test/aliases") + ":2): mailbox of eve@new.test (uid 8), by maildir", "bob@virtual.test ("} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: want %q in\n%s", program, want, out)
			}
		}
	}

	auth := s.PidOf("postoffice: auth")
	for _, want := range []string{"Uid:\t8\t8\t8\t8", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !lan.Contains(fmt.Sprintf("/proc/%d/status", auth), want) {
			t.Errorf("the process of virtual domains doesn't have %q", want)
		}
	}
	syscall.Kill(auth, syscall.SIGKILL)
	lan.Until(t, 20*time.Second, "its end is told", func() bool { return lan.Contains(s.Log, "auth ended") })
	rcpt("eve@new.test", "250")

	if err := os.Rename(s.Path("vspool/new.test"), s.Path("vspool/away")); err != nil {
		t.Fatal(err)
	}
	if err := d.Send("writer@client.test", "list@new.test", "Subject: waits\n\ntext\n"); err != nil {
		t.Fatal(err)
	}
	d.Quit()
	lan.Until(t, 20*time.Second, "it waits", func() bool { return lan.Contains(s.Log, "mkdir "+s.Path("vspool/new.test")) })
	if list := s.Applet("mailq"); !strings.Contains(list, "eve@new.test") {
		t.Errorf("mailq shows\n%s", list)
	}
	if n := len(lan.ReadDir(t, s.Path("vspool/virtual.test/bob/new"))); n != 1 {
		t.Errorf("bob has %d messages, want 1", n)
	}
	postoffice("", "vdomain", "disable", "new.test")
	s.Applet("runq")
	lan.Until(t, 20*time.Second, "it is judged anew", func() bool { return lan.Contains(s.Log, "MX new.test") })
	if list := s.Applet("mailq"); !strings.Contains(list, "eve@new.test") {
		t.Errorf("mailq shows\n%s", list)
	}
	if err := os.Rename(s.Path("vspool/away"), s.Path("vspool/new.test")); err != nil {
		t.Fatal(err)
	}
	postoffice("", "vdomain", "enable", "new.test")
	s.Applet("runq")
	s.Drained(20 * time.Second)
	for _, box := range []string{"new.test/eve", "virtual.test/bob"} {
		if n := len(lan.ReadDir(t, s.Path("vspool/"+box+"/new"))); n != 1 {
			t.Errorf("%s has %d messages, want 1", box, n)
		}
	}
}
