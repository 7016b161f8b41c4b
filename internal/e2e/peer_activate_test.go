//go:build e2e

package e2e

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSocketActivation starts the server as a systemd socket unit does: port 25
// is open before it, systemd-socket-activate hands it over as LISTEN_FDS at
// the first connection, and the server reports itself ready on NOTIFY_SOCKET.
func TestSocketActivation(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	s := l.host("one.test").install()
	client := l.host("client.test")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	os.Chmod(s.path("notify"), 0o666)

	p := s.start(s.command(context.Background(), "systemd-socket-activate", "-l", s.IP+":25",
		"-E", "NOTIFY_SOCKET="+s.path("notify"), applet("smtpd"), "-bD", "-C", s.cf))
	s.listening("25")
	if st, err := os.Stat(s.path("queue")); err == nil {
		t.Errorf("the server started before the first connection: %v", st.Name())
	}
	conn, err := client.dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	notify.SetReadDeadline(time.Now().Add(20 * time.Second))
	state := make([]byte, 4096)
	n, err := notify.Read(state)
	if err != nil || !strings.Contains("\n"+string(state[:n])+"\n", "\nREADY=1\n") {
		t.Errorf("on NOTIFY_SOCKET: %q, %v, want READY=1", state[:n], err)
	}
	d, err := newDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.send("writer@client.test", "alice@one.test", "Subject: activated\n\nhello\n"); err != nil {
		t.Error(err)
	}
	client.swaks(s.IP+":25", "--from", "writer@client.test", "--to", "alice@one.test", "--header", "Subject: while it runs")
	until(t, 20*time.Second, "both messages are in the mailbox", func() bool {
		return contains(s.mailbox("alice"), "Subject: activated") && contains(s.mailbox("alice"), "Subject: while it runs")
	})
	begin := time.Now()
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(25 * time.Second):
		t.Fatal("still there 25 s after SIGINT")
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %v to end", took)
	}
	if reply, err := d.say(""); err == nil && !strings.HasPrefix(reply, "421") {
		t.Errorf("the open session was told %q at the end, want 421", reply)
	}
}
