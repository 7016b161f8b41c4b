//go:build e2e

package flow

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// limited is a site and another host.
func limited(t *testing.T, settings ...string) (*lan.Site, *lan.Host) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	return l.Host("one.test").Install(settings...), l.Host("client.test")
}

// TestR18ClientsPerAddress: one session from an address at a time; a second one is
// greeted when the first has ended (S42). This machine may have as many as it likes
// (S43).
func TestR18ClientsPerAddress(t *testing.T) {
	one, client := limited(t, "clients-per-address=1")
	one.Serve()
	dial := func(from *lan.Host) net.Conn {
		conn, err := from.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	first, err := lan.NewDialogue(dial(client), "client.test")
	if err != nil {
		t.Fatal(err)
	}
	second := dial(client)
	greeted := make(chan error, 1)
	go func() {
		again, err := lan.NewDialogue(second, "client.test")
		if err == nil {
			err = again.Send("writer@client.test", "alice@one.test", "Subject: second\n\n")
		}
		greeted <- err
	}()
	for range 3 {
		if _, err := lan.NewDialogue(dial(one.Host), "client.test"); err != nil {
			t.Errorf("sessions of this machine: %v", err)
		}
	}
	if err := first.Send("writer@client.test", "alice@one.test", "Subject: first\n\n"); err != nil {
		t.Errorf("the first session: %v", err)
	}
	select {
	case err := <-greeted:
		t.Errorf("the second session, beside the first: %v", err)
	default:
	}
	first.Quit()
	if err := <-greeted; err != nil {
		t.Errorf("the second session, after the first: %v", err)
	}
}

// TestR28NoRoom: with less than minfree where the queue is, mail gets 452 and
// sendmail exits with 75, nothing of either is kept, and what was taken before is
// delivered; with room mail is taken.
func TestR28NoRoom(t *testing.T) {
	one, client := limited(t, "minfree=16384")
	one.Tmpfs(one.Path("queue"), "size=40m,mode=700,uid=901,gid=901")
	one.Serve()
	send := func(subject string) error { return sendFrom(client, one, "Subject: "+subject+"\n\n") }
	if err := send("room"); err != nil {
		t.Errorf("with room: %v", err)
	}
	one.Drained(20 * time.Second)
	room := one.Fill(one.Path("queue"))
	if err := send("no room"); err == nil || !strings.HasPrefix(err.Error(), "refused: 452 ") {
		t.Errorf("without room: %v, want 452", err)
	}
	if code, _, said := one.Says("bob", "Subject: no room\n\n", "sendmail", "alice"); code != 75 {
		t.Errorf("sendmail without room: exit code %d, said %q, want 75", code, said)
	}
	room()
	lan.Until(t, 20*time.Second, "mail is taken again", func() bool { return send("room again") == nil })
	one.Drained(20 * time.Second)
	if lan.Contains(one.Mailbox("alice"), "Subject: no room\n") || !lan.Contains(one.Mailbox("alice"), "Subject: room again\n") {
		t.Error("what was refused was delivered, or what was taken was not")
	}
	if lan.Contains(one.Log, "message bounced") {
		t.Error("something bounced")
	}
}

// TestA35Hoarder: a stranger writes 58 MB into a spool of 64 and goes on with 100
// octets between two messages of others: all of theirs are taken, the stranger is
// told that there is no room, and nothing of it stays.
func TestA35Hoarder(t *testing.T) {
	one, client := limited(t)
	one.Tmpfs(one.Path("queue"), "size=64m,mode=700,uid=901,gid=901")
	one.Serve()
	other := client.LAN.Host("other.test")
	conn, err := client.Dial(one.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hoarder, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"MAIL FROM:<writer@client.test>", "RCPT TO:<alice@one.test>", "DATA"} {
		if reply, err := hoarder.Say(command); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q, %v", command, reply, err)
		}
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	told, more := make(chan string, 1), make(chan bool)
	go func() {
		reply, _ := hoarder.R.ReadString('\n')
		told <- reply
	}()
	go func() {
		line := strings.Repeat("x", 98) + "\r\n"
		for range 58 {
			io.WriteString(conn, strings.Repeat(line, 10_000))
		}
		for range more {
			io.WriteString(conn, line)
		}
	}()
	sent := 0
	send := func() {
		sent++
		if err := sendFrom(other, one, fmt.Sprintf("Subject: %d of another\n\nhello\n", sent)); err != nil {
			t.Errorf("message %d of another one: %v", sent, err)
		}
	}
	said := ""
	for heard := false; !heard && !t.Failed(); {
		send()
		select {
		case more <- true:
		case said = <-told:
			heard = true
		default: // it is at its 58 MB
		}
	}
	close(more)
	if !strings.HasPrefix(said, "421 4.3.1 ") {
		t.Errorf("the stranger is told %q, want 421 4.3.1", said)
	}
	send()
	lan.Until(t, 20*time.Second, "alice has the last message", func() bool {
		return lan.Contains(one.Mailbox("alice"), fmt.Sprintf("Subject: %d of another\n", sent))
	})
	if left := lan.ReadDir(t, one.Path("queue", "tmp")); len(left) != 0 {
		t.Errorf("%v stays in tmp/", left)
	}
}

// sendFrom sends one message to alice in a session of its own.
func sendFrom(h *lan.Host, one *lan.Site, text string) error {
	conn, err := h.Dial(one.IP + ":25")
	if err != nil {
		return err
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, h.Name)
	if err != nil {
		return err
	}
	defer d.Quit()
	return d.Send("writer@"+h.Name, "alice@one.test", text)
}

// TestR29ClientsThatLeave: clients that reset the connection right behind QUIT,
// in the middle of a long reply, or in the middle of a message leave no trace of
// harm, and the same server goes on.
func TestR29ClientsThatLeave(t *testing.T) {
	one, client := limited(t)
	one.Serve()
	before := one.Staff()
	help := strings.Repeat("HELP\r\n", 2000)
	for i := range 60 {
		conn, err := client.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		r := bufio.NewReader(conn)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "EHLO client.test\r\n")
		switch i % 3 {
		case 0:
			io.WriteString(conn, "QUIT\r\n")
		case 1:
			io.WriteString(conn, help)
			r.Discard(4000) // it is in the middle of its replies
		case 2:
			fmt.Fprintf(conn, "MAIL FROM:<a@client.test>\r\nRCPT TO:<alice@one.test>\r\nDATA\r\n")
			for line := ""; !strings.HasPrefix(line, "354 "); {
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			io.WriteString(conn, "Subject: never\r\n\r\nhalf of")
		}
		conn.(*net.TCPConn).SetLinger(0) // a reset
		conn.Close()
	}
	conn, err := client.Dial(one.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Quit()
	if err := d.Send("writer@client.test", "alice@one.test", "Subject: after all\n\n"); err != nil {
		t.Error(err)
	}
	lan.Until(t, 20*time.Second, "alice has the message", func() bool { return lan.Contains(one.Mailbox("alice"), "Subject: after all\n") })
	after := one.Family()
	for pid, name := range before {
		if _, there := after[pid]; !there {
			t.Errorf("%s (%d) has ended; there are %v", name, pid, after)
		}
	}
	for _, word := range []string{"session crashed", "] error: ", "Subject: never"} {
		if lan.Contains(one.Log, word) || lan.Contains(one.Mailbox("alice"), word) {
			t.Errorf("%q is there", word)
		}
	}
}

// TestR68QueueTimes is -q of smtpd, in the foreground by -d: the queue is run at
// once, whatever the messages' own times.
func TestR68QueueTimes(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "down.test. IN A 10.77.0.3", "down.test. IN MX 10 down.test.")
	one := l.Host("one.test").Install()
	l.Host("down.test") // nothing listens there
	one.Says("", "Subject: x\n\n", "sendmail", "-odq", "bob@down.test")
	p := one.Serve()
	lan.Until(t, 20*time.Second, "the message is deferred for minutes", func() bool { return lan.Contains(one.Log, " attempt=1 ") })
	p.Stop()
	p = one.Start(one.Command(context.Background(), lan.Applet("smtpd"), "-d", "-q45m", "-C", one.Config))
	lan.Until(t, 20*time.Second, "it is tried again", func() bool { return strings.Contains(p.Output(), " attempt=2 ") })
	p.Stop()
	one.Gone(10 * time.Second)
}
