//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// says runs a program of the site's as an account, "" for root, and returns its
// exit code and what it wrote on both streams.
func (s *site) says(user, input string, argv ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	argv = append([]string{applet(argv[0]), "-C", s.cf}, argv[1:]...)
	cmd := s.command(ctx, argv...)
	if user != "" {
		cmd = s.as(ctx, user, argv...)
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err := cmd.Run()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		s.t.Fatalf("%v: %v", argv, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// mute is a host that takes a connection on port 25 and says nothing; the file
// called is there when it has one.
func (h *host) mute() *process {
	h.t.Helper()
	p := h.start(h.command(context.Background(), "python3", "-c", `
import socket, sys, time
s = socket.socket()
s.bind((sys.argv[1], 25))
s.listen()
c, _ = s.accept()
open(sys.argv[2], "w")
time.sleep(600)`, h.IP, h.path("called")))
	h.listening("25")
	return p
}

// TestR64DeliveryModes: -odb and -odi begin a delivery at once, in another
// process, and nobody waits for it; -odq leaves the message to the next run.
func TestR64DeliveryModes(t *testing.T) {
	for _, mode := range []string{"", "-odb", "-odi"} {
		t.Run("without a server "+mode, func(t *testing.T) {
			l := newLAN(t)
			l.dns("one.test. IN A 10.77.0.2", "mute.test. IN A 10.77.0.3")
			one := l.host("one.test").install()
			mute := l.host("mute.test")
			p := mute.mute()
			args := append([]string{"sendmail"}, strings.Fields(mode+" alice@mute.test")...)
			begin := time.Now()
			if code, _, said := one.says("", "Subject: x\n\n", args...); code != 0 || said != "" {
				t.Errorf("exit code %d, it said %q", code, said)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("the caller waited %v for the delivery", took)
			}
			until(t, 20*time.Second, "the delivery has begun", func() bool { _, err := os.Stat(mute.path("called")); return err == nil })
			p.stop()
			until(t, 20*time.Second, "the delivery is over", func() bool { return contains(one.log, "delivery deferred") })
		})
	}
	t.Run("-odq without a server", func(t *testing.T) {
		one := unserved(t)
		if code, _, said := one.says("", "Subject: later\n\n", "sendmail", "-odq", "alice"); code != 0 || said != "" {
			t.Errorf("exit code %d, it said %q", code, said)
		}
		if out := one.applet("mailq"); !strings.Contains(out, "alice") {
			t.Errorf("the message is not in the queue:\n%s", out)
		}
		one.applet("runq")
		if !contains(one.mailbox("alice"), "Subject: later") {
			t.Error("runq did not deliver it")
		}
	})
	t.Run("option immediate (S130)", func(t *testing.T) {
		one := unserved(t)
		one.serve()
		one.submit("carol", "Subject: later\n\n", "-oimmediate=no", "alice")
		one.submit("carol", "Subject: now\n\n", "-oimmediate=no", "-odb", "bob")
		until(t, 20*time.Second, "bob has his message", func() bool { return contains(one.mailbox("bob"), "Subject: now") })
		if _, err := os.Stat(one.mailbox("alice")); err == nil {
			t.Error("the message was delivered without a run of the queue")
		}
		one.applet("runq")
		until(t, 20*time.Second, "alice has her message", func() bool { return contains(one.mailbox("alice"), "Subject: later") })
	})
	t.Run("with a server", func(t *testing.T) {
		one := unserved(t)
		one.serve()
		one.submit("carol", "Subject: later\n\n", "-odq", "alice")
		one.submit("carol", "Subject: now\n\n", "-odi", "bob")
		until(t, 20*time.Second, "bob has his message", func() bool { return contains(one.mailbox("bob"), "Subject: now") })
		if _, err := os.Stat(one.mailbox("alice")); err == nil {
			t.Error("-odq was delivered without a run of the queue")
		}
		one.applet("runq")
		until(t, 20*time.Second, "alice has her message", func() bool { return contains(one.mailbox("alice"), "Subject: later") })
	})
}

// TestSuperServer is -bs from a real super-server, one process for each
// connection with the connection on descriptors 0 to 2: its client is one of
// port 25, and other machines' mail is not relayed.
func TestSuperServer(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2", "client.test. IN A 10.77.0.3", "3.0.77.10.in-addr.arpa. IN PTR client.test.")
	one, client := l.host("one.test").install(), l.host("client.test")
	one.start(one.command(context.Background(), "systemd-socket-activate", "--accept", "--inetd", "-l", one.IP+":25", applet("sendmail"), "-C", one.cf, "-bs"))
	one.listening("25")
	client.swaks(one.IP+":25", "--ehlo", "client.test", "--from", "writer@client.test", "--to", "alice@one.test", "--header", "Subject: by inetd")
	until(t, 20*time.Second, "alice has the message", func() bool { return contains(one.mailbox("alice"), "Subject: by inetd") })
	if !contains(one.mailbox("alice"), "Received: from client.test (client.test [10.77.0.3])\n") {
		t.Error("the Received field doesn't say where the message is from")
	}
	if contains(one.mailbox("alice"), "X-Authentication-Warning") {
		t.Error("a client of the network was taken for a program")
	}
	out, err := client.try("swaks", "--server", one.IP, "--from", "writer@client.test", "--to", "bob@elsewhere.example", "--timeout", "60")
	if err == nil || !strings.Contains(out, "<** 5") {
		t.Errorf("relay for a stranger: %v\n%s", err, out)
	}
}

// TestWaitAndWatch is --wait, -v and runq -v of the root tree, with a server and
// without one, for root and for an ordinary user.
func TestWaitAndWatch(t *testing.T) {
	one := unserved(t)
	look := func(user string) {
		t.Helper()
		for _, tt := range []struct {
			args string
			code int
			said string
		}{
			{"--wait=30s alice", 0, ""},
			{"--wait=30s nobody-here", 67, "nobody-here: 550 5.1.1"},
			{"-v alice", 0, "alice@one.test: delivered: 250 "},
		} {
			code, _, said := one.says(user, "Subject: x\n\n", append([]string{"sendmail"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(said, tt.said) || tt.said == "" && said != "" {
				t.Errorf("%s as %q: exit code %d, want %d, it said\n%s", tt.args, user, code, tt.code, said)
			}
		}
	}
	look("")
	code, _, said := one.says("alice", "Subject: x\n\n", "sendmail", "--wait=5s", "bob")
	if code != 75 || !strings.Contains(said, "need not be sent again") {
		t.Errorf("left in maildrop/: exit code %d, it said\n%s", code, said)
	}
	one.says("", "Subject: x\n\n", "sendmail", "-odq", "bob")
	if code, _, said := one.says("", "", "runq", "-v"); code != 0 || !strings.Contains(said, ": bob@one.test: delivered") {
		t.Errorf("runq -v: exit code %d, it said\n%s", code, said)
	}
	one.serve()
	look("")
	look("carol")
	one.says("carol", "Subject: x\n\n", "sendmail", "-odq", "bob")
	if code, _, said := one.says("", "", "runq", "-v"); code != 0 || !strings.Contains(said, ": bob@one.test: delivered") {
		t.Errorf("runq -v with a server: exit code %d, it said\n%s", code, said)
	}
	if code, _, said := one.says("carol", "", "runq", "-v"); code != 77 || strings.Contains(said, "delivered") {
		t.Errorf("runq -v as carol: exit code %d, it said\n%s", code, said)
	}
}

// TestRoutes is -bv of the root tree: who sees what.
func TestRoutes(t *testing.T) {
	one := unserved(t)
	writeFile(t, one.path("aliases"), "team: alice, bob, far@elsewhere.example, nobody-here\nprog: \"|/bin/true\"\ngone: \"|/nonexistent/prog x\"\n")
	forward := one.path("home", "bob", ".forward")
	writeFile(t, forward, "secret@elsewhere.example\n")
	os.Chown(forward, 2002, 2002)
	os.Chmod(forward, 0o600)
	const hidden = ": forwarded by bob, for whom is not shown to you"
	look := func(user, forwarded string, shown bool) {
		t.Helper()
		code, out, said := one.says(user, "", "sendmail", "-bv", "team")
		for _, want := range []string{"team: alias team\n", "aliases:1): mailbox of alice (uid 2001)\n", forwarded, "far@elsewhere.example (", "nobody-here (", ": FAILS, and goes back to the sender: 550 5.1.1"} {
			if code == 0 || !strings.Contains(out, want) {
				t.Errorf("-bv as %q: exit code %d, no %q in\n%s%s", user, code, want, out, said)
			}
		}
		if strings.Contains(out, "secret@") != shown {
			t.Errorf("-bv as %q shows bob's .forward: %v, want %v\n%s", user, !shown, shown, out)
		}
		if code, out, _ := one.says(user, "", "sendmail", "-bv", "prog"); code != 0 || !strings.Contains(out, ": program, run as nobody (uid 65534)\n") {
			t.Errorf("a program as %q: exit code %d\n%s", user, code, out)
		}
		if code, out, _ := one.says(user, "", "sendmail", "-bv", "gone"); code != 75 || !strings.Contains(out, "450 4.3.5 program can't be started: ") {
			t.Errorf("a program that is not there as %q: exit code %d\n%s", user, code, out)
		}
		code, out, said = one.says(user, "alice\n", "sendmail", "-bt", "--json")
		if code != 0 || !strings.Contains(out, `{"address":"alice","deliverable":true,"code":0,"steps":[{"depth":0,"recipient":"alice","how":"mailbox"`) {
			t.Errorf("-bt as %q: exit code %d\n%s%s", user, code, out, said)
		}
	}
	look("", ": forwarded by bob\n", true)
	look("alice", ": mailbox of bob (uid 2002)\n", false) // what can't be seen, it says
	one.serve()
	look("", ": forwarded by bob\n", true)
	look("bob", ": forwarded by bob\n", true)
	look("alice", hidden, false)
	if out := readDir(t, one.path("queue", "queue")); len(out) > 0 {
		t.Errorf("messages were made: %v", out)
	}
}
