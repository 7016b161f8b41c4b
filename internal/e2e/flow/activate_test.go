//go:build e2e

package flow

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestSocketActivation starts the server as a systemd socket unit does: port 25
// is open before it, systemd-socket-activate hands it over as LISTEN_FDS at
// the first connection, and the server reports itself ready on NOTIFY_SOCKET. The
// sockets for submission come in the same way, and are known by their ports.
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

	p := s.Start(s.Command(context.Background(), "systemd-socket-activate", "-l", s.IP+":25", "-l", s.IP+":587", "-l", s.IP+":465",
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
	submission, err := client.Dial(s.IP + ":587")
	if err != nil {
		t.Fatal(err)
	}
	strange, err := lan.NewDialogue(submission, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := strange.Expect("MAIL FROM:<writer@client.test>", "530 5.7.0"); err != nil {
		t.Errorf("a stranger on port 587: %v, want 530", err)
	}
	strange.Quit()
	first, err := client.Dial(s.IP + ":465")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(first, &tls.Config{InsecureSkipVerify: true})
	greeting := make([]byte, 3)
	if _, err := io.ReadFull(secure, greeting); err != nil || string(greeting) != "220" {
		t.Errorf("port 465 greets with %q, %v", greeting, err)
	}
	secure.Close()
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
