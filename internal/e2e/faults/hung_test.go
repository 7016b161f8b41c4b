//go:build e2e

package faults

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// TestA39HungFiles: the .forward files of 40 users hang when they are opened, the
// homes of 20 others don't answer at all, and neither do 20 lists of aliases. Mail
// through a .forward, a list and a program of others is delivered before one of
// those is given up, and the server ends although processes hang.
func TestA39HungFiles(t *testing.T) {
	const named, silent, lists = 40, 20, 20
	var users []lan.User
	for i := range named + silent {
		users = append(users, lan.Account(fmt.Sprint("h", i), 3000+i))
	}
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	s := l.Host("one.test", users...).Install("minfree=0")
	aliases := "good: :include:" + s.Path("list") + "\nrun: \"|cat >" + s.Path("ran", "new") + "\"\n"
	for i := range lists {
		aliases += fmt.Sprintf("l%d: :include:%s/list%d\n", i, s.Path("dead"), i)
	}
	lan.WriteFile(t, s.Path("aliases"), aliases)
	lan.WriteFile(t, s.Path("list"), "carol\n")
	lan.WriteFile(t, s.Path("home", "alice", ".forward"), "bob\n")
	for dir, uid := range map[string]int{s.Path("ran"): lan.Nobody.UID, s.Path("dead"): 0} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chown(dir, uid, -1)
	}
	os.Chown(s.Path("home", "alice", ".forward"), lan.Alice.UID, lan.Alice.GID)
	p := s.Serve()
	var hung []*lan.Hung
	var to []string
	for i, u := range users {
		hung = append(hung, s.Hang(s.Path("home", u.Name), u.UID, i < named))
		to = append(to, u.Name)
	}
	hung = append(hung, s.Hang(s.Path("dead"), 0, false))
	for i := range lists {
		to = append(to, fmt.Sprint("l", i))
	}
	for _, one := range to {
		s.Submit("bob", "Subject: hangs\n\nbody\n", one)
	}
	lan.Until(t, time.Minute, "all that can hangs", func() bool {
		return strings.Count(strings.Join(titles(s), "\n"), "postoffice: user h") == named
	})
	begun := time.Now()
	for _, one := range []string{"alice", "good", "run"} {
		s.Submit("carol", "Subject: others "+one+"\n\nbody\n", one)
	}
	for _, file := range []string{s.Mailbox("bob"), s.Mailbox("carol"), s.Path("ran", "new")} {
		lan.Until(t, time.Minute, "mail of others in "+file, func() bool { return lan.Contains(file, "Subject: others") })
		t.Logf("%s after %v", file, time.Since(begun).Round(10*time.Millisecond))
	}
	for i := range named {
		if lan.Contains(s.Log, fmt.Sprintf("to=<h%d@one.test>", i)) {
			t.Errorf("others waited until h%d was given up", i)
		}
	}
	p.Cmd.Process.Signal(syscall.SIGTERM)
	lan.Until(t, time.Minute, "the server has ended but for what hangs", func() bool { return lan.Contains(s.Log, "server stopped") })
	for _, f := range hung {
		f.Close()
	}
	s.Gone(time.Minute)
}

// titles are the names of the processes of a host.
func titles(s *lan.Site) (all []string) {
	for _, name := range s.Family() {
		all = append(all, name)
	}
	return all
}

// TestSignerHangs: a process of private keys that hangs is followed by another one, as soon
// as a handshake has waited for it in vain; mail in the clear is taken all the while.
func TestSignerHangs(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	s, client := l.Host("one.test").Install(), l.Host("client.test")
	p := s.Serve()
	address := s.IP + ":25"
	shake := func() (secured bool) {
		raw, err := client.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		d := &lan.Dialogue{Conn: raw, R: bufio.NewReader(raw)}
		for _, line := range []string{"", "EHLO client.test"} {
			if err := d.Expect(line, "2"); err != nil {
				t.Fatal(err)
			}
		}
		if d.Expect("STARTTLS", "220") != nil {
			return false // there is none now
		}
		return tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake() == nil
	}
	lan.Until(t, time.Minute, "TLS is offered", shake)
	hung := s.PidOf("postoffice: signer")
	if err := testenv.Stop(hung); err != nil {
		t.Fatal(err)
	}
	if shake() {
		t.Fatal("a signer that is stopped signs")
	}
	if err := sendFrom(client, address, "Subject: in the clear\n\n"); err != nil {
		t.Error(err)
	}
	lan.Until(t, time.Minute, "another signer signs", shake)
	lan.Until(t, time.Minute, "the one that hung is gone", func() bool { return syscall.Kill(hung, 0) != nil })
	if !lan.Says(s.Log, "the signer answered nobody") {
		t.Error("the log doesn't tell")
	}
	hung = s.PidOf("postoffice: signer")
	if err := testenv.Stop(hung); err != nil {
		t.Fatal(err)
	}
	p.Cmd.Process.Signal(syscall.SIGTERM)
	s.Gone(time.Minute)
}
