//go:build e2e

package flow

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// muteHost is a host that takes a connection on port 25 and says nothing; the file
// called is there when it has one.
func muteHost(h *lan.Host) *lan.Process {
	h.T.Helper()
	p := h.Start(h.Command(context.Background(), "python3", "-c", `
import socket, sys, time
s = socket.socket()
s.bind((sys.argv[1], 25))
s.listen()
c, _ = s.accept()
open(sys.argv[2], "w")
time.sleep(600)`, h.IP, h.Path("called")))
	h.Listening("25")
	return p
}

// TestR64DeliveryModes: -odb and -odi begin a delivery at once, in another
// process, and nobody waits for it; -odq leaves the message to the next run.
func TestR64DeliveryModes(t *testing.T) {
	for _, mode := range []string{"", "-odb", "-odi"} {
		t.Run("without a server "+mode, func(t *testing.T) {
			l := lan.New(t)
			l.DNS("one.test. IN A 10.77.0.2", "mute.test. IN A 10.77.0.3")
			one := l.Host("one.test").Install()
			mute := l.Host("mute.test")
			p := muteHost(mute)
			args := append([]string{"sendmail"}, strings.Fields(mode+" alice@mute.test")...)
			// The delivery waits for ten minutes, Says for one.
			if code, _, said := one.Says("", "Subject: x\n\n", args...); code != 0 || said != "" {
				t.Errorf("exit code %d, it said %q", code, said)
			}
			lan.Until(t, 20*time.Second, "the delivery has begun", func() bool { _, err := os.Stat(mute.Path("called")); return err == nil })
			p.Stop()
			lan.Until(t, 20*time.Second, "the delivery is over", func() bool { return lan.Contains(one.Log, "delivery deferred") })
		})
	}
	t.Run("-odq without a server", func(t *testing.T) {
		one := unserved(t)
		if code, _, said := one.Says("", "Subject: later\n\n", "sendmail", "-odq", "alice"); code != 0 || said != "" {
			t.Errorf("exit code %d, it said %q", code, said)
		}
		if out := one.Applet("mailq"); !strings.Contains(out, "alice") {
			t.Errorf("the message is not in the queue:\n%s", out)
		}
		one.Applet("runq")
		if !lan.Contains(one.Mailbox("alice"), "Subject: later") {
			t.Error("runq did not deliver it")
		}
	})
	t.Run("option immediate (S130)", func(t *testing.T) {
		one := unserved(t)
		one.Serve()
		one.Submit("carol", "Subject: later\n\n", "-oimmediate=no", "alice")
		one.Submit("carol", "Subject: now\n\n", "-oimmediate=no", "-odb", "bob")
		lan.Until(t, 20*time.Second, "bob has his message", func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: now") })
		if _, err := os.Stat(one.Mailbox("alice")); err == nil {
			t.Error("the message was delivered without a run of the queue")
		}
		one.Applet("runq")
		lan.Until(t, 20*time.Second, "alice has her message", func() bool { return lan.Contains(one.Mailbox("alice"), "Subject: later") })
	})
	t.Run("with a server", func(t *testing.T) {
		one := unserved(t)
		one.Serve()
		one.Submit("carol", "Subject: later\n\n", "-odq", "alice")
		one.Submit("carol", "Subject: now\n\n", "-odi", "bob")
		lan.Until(t, 20*time.Second, "bob has his message", func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: now") })
		if _, err := os.Stat(one.Mailbox("alice")); err == nil {
			t.Error("-odq was delivered without a run of the queue")
		}
		one.Applet("runq")
		lan.Until(t, 20*time.Second, "alice has her message", func() bool { return lan.Contains(one.Mailbox("alice"), "Subject: later") })
	})
}

// TestSuperServer is -bs from a real super-server, one process for each
// connection with the connection on descriptors 0 to 2: its client is one of
// port 25, with TLS, and other machines' mail is not relayed.
func TestSuperServer(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "client.test. IN A 10.77.0.3", "3.0.77.10.in-addr.arpa. IN PTR client.test.")
	one, client := l.Host("one.test").Install(), l.Host("client.test")
	one.Start(one.Command(context.Background(), "systemd-socket-activate", "--accept", "--inetd", "-l", one.IP+":25", lan.Applet("sendmail"), "-C", one.Config, "-bs"))
	one.Listening("25")
	client.Swaks(one.IP+":25", "--ehlo", "client.test", "--from", "writer@client.test", "--to", "alice@one.test", "--header", "Subject: by inetd")
	lan.Until(t, 20*time.Second, "alice has the message", func() bool { return lan.Contains(one.Mailbox("alice"), "Subject: by inetd") })
	if !lan.Contains(one.Mailbox("alice"), "Received: from client.test (client.test [10.77.0.3])\n") {
		t.Error("the Received field doesn't say where the message is from")
	}
	if lan.Contains(one.Mailbox("alice"), "X-Authentication-Warning") {
		t.Error("a client of the network was taken for a program")
	}
	client.Swaks(one.IP+":25", "--tls", "--ehlo", "client.test", "--from", "writer@client.test", "--to", "alice@one.test", "--header", "Subject: by inetd, in TLS")
	lan.Until(t, 20*time.Second, "alice has the message", func() bool {
		return lan.Contains(one.Mailbox("alice"), "Subject: by inetd, in TLS") && lan.Contains(one.Mailbox("alice"), "with ESMTPS (version=TLS1_3")
	})
	lan.Until(t, 20*time.Second, "no signer is left", func() bool { return !one.Runs("postoffice: signer") })
	out, err := client.Try("swaks", "--server", one.IP, "--from", "writer@client.test", "--to", "bob@elsewhere.example", "--timeout", "60")
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
			code, _, said := one.Says(user, "Subject: x\n\n", append([]string{"sendmail"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(said, tt.said) || tt.said == "" && said != "" {
				t.Errorf("%s as %q: exit code %d, want %d, it said\n%s", tt.args, user, code, tt.code, said)
			}
		}
	}
	look("")
	code, _, said := one.Says("alice", "Subject: x\n\n", "sendmail", "--wait=5s", "bob")
	if code != 75 || !strings.Contains(said, "need not be sent again") {
		t.Errorf("left in maildrop/: exit code %d, it said\n%s", code, said)
	}
	one.Says("", "Subject: x\n\n", "sendmail", "-odq", "bob")
	if code, _, said := one.Says("", "", "runq", "-v"); code != 0 || !strings.Contains(said, ": bob@one.test: delivered") {
		t.Errorf("runq -v: exit code %d, it said\n%s", code, said)
	}
	one.Serve()
	look("")
	look("carol")
	one.Says("carol", "Subject: x\n\n", "sendmail", "-odq", "bob")
	if code, _, said := one.Says("", "", "runq", "-v"); code != 0 || !strings.Contains(said, ": bob@one.test: delivered") {
		t.Errorf("runq -v with a server: exit code %d, it said\n%s", code, said)
	}
	if code, _, said := one.Says("carol", "", "runq", "-v"); code != 77 || strings.Contains(said, "delivered") {
		t.Errorf("runq -v as carol: exit code %d, it said\n%s", code, said)
	}
}

// TestRoutes is -bv of the root tree: who sees what.
func TestRoutes(t *testing.T) {
	one := unserved(t)
	lan.WriteFile(t, one.Path("aliases"), "team: alice, bob, far@elsewhere.example, nobody-here\nprog: \"|/bin/true\"\ngone: \"|/nonexistent/prog x\"\n")
	forward := one.Path("home", "bob", ".forward")
	lan.WriteFile(t, forward, "secret@elsewhere.example\n")
	os.Chown(forward, 2002, 2002)
	os.Chmod(forward, 0o600)
	const hidden = ": forwarded by bob, for whom is not shown to you"
	look := func(user, forwarded string, shown bool) {
		t.Helper()
		code, out, said := one.Says(user, "", "sendmail", "-bv", "team")
		for _, want := range []string{"team: alias team\n", "aliases:1): mailbox of alice (uid 2001)\n", forwarded, "far@elsewhere.example (", "nobody-here (", ": FAILS, and goes back to the sender: 550 5.1.1"} {
			if code == 0 || !strings.Contains(out, want) {
				t.Errorf("-bv as %q: exit code %d, no %q in\n%s%s", user, code, want, out, said)
			}
		}
		if strings.Contains(out, "secret@") != shown {
			t.Errorf("-bv as %q shows bob's .forward: %v, want %v\n%s", user, !shown, shown, out)
		}
		if code, out, _ := one.Says(user, "", "sendmail", "-bv", "prog"); code != 0 || !strings.Contains(out, ": program, run as nobody (uid 65534)\n") {
			t.Errorf("a program as %q: exit code %d\n%s", user, code, out)
		}
		if code, out, _ := one.Says(user, "", "sendmail", "-bv", "gone"); code != 75 || !strings.Contains(out, "450 4.3.5 program can't be started: ") {
			t.Errorf("a program that is not there as %q: exit code %d\n%s", user, code, out)
		}
		code, out, said = one.Says(user, "alice\n", "sendmail", "-bt", "--json")
		if code != 0 || !strings.Contains(out, `{"address":"alice","deliverable":true,"code":0,"steps":[{"depth":0,"recipient":"alice","how":"mailbox"`) {
			t.Errorf("-bt as %q: exit code %d\n%s%s", user, code, out, said)
		}
	}
	look("", ": forwarded by bob\n", true)
	look("alice", ": mailbox of bob (uid 2002)\n", false) // what can't be seen, it says
	one.Serve()
	look("", ": forwarded by bob\n", true)
	look("bob", ": forwarded by bob\n", true)
	look("alice", hidden, false)
	if out := lan.ReadDir(t, one.Path("queue", "queue")); len(out) > 0 {
		t.Errorf("messages were made: %v", out)
	}
}
