//go:build e2e

package flow

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestSocketActivation starts the server as a systemd socket unit does: port 25
// is open before it, systemd-socket-activate hands it over as LISTEN_FDS at
// the first connection, and the server reports itself ready on NOTIFY_SOCKET.
func TestSocketActivation(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	s := l.Host("one.test").Install()
	client := l.Host("client.test")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.Path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	os.Chmod(s.Path("notify"), 0o666)

	p := s.Start(s.Command(context.Background(), "systemd-socket-activate", "-l", s.IP+":25",
		"-E", "NOTIFY_SOCKET="+s.Path("notify"), lan.Applet("smtpd"), "-bD", "-C", s.Config))
	s.Listening("25")
	if st, err := os.Stat(s.Path("queue")); err == nil {
		t.Errorf("the server started before the first connection: %v", st.Name())
	}
	conn, err := client.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	notify.SetReadDeadline(time.Now().Add(time.Minute))
	state := make([]byte, 4096)
	n, err := notify.Read(state)
	if err != nil || !strings.Contains("\n"+string(state[:n])+"\n", "\nREADY=1\n") {
		t.Errorf("on NOTIFY_SOCKET: %q, %v, want READY=1", state[:n], err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Send("writer@client.test", "alice@one.test", "Subject: activated\n\nhello\n"); err != nil {
		t.Error(err)
	}
	client.Swaks(s.IP+":25", "--from", "writer@client.test", "--to", "alice@one.test", "--header", "Subject: while it runs")
	lan.Until(t, 20*time.Second, "both messages are in the mailbox", func() bool {
		return lan.Contains(s.Mailbox("alice"), "Subject: activated") && lan.Contains(s.Mailbox("alice"), "Subject: while it runs")
	})
	p.Cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.Done:
	case <-time.After(time.Minute):
		t.Fatal("still there a minute after SIGINT")
	}
	if reply, err := d.Say(""); err == nil && !strings.HasPrefix(reply, "421") {
		t.Errorf("the open session was told %q at the end, want 421", reply)
	}
}
