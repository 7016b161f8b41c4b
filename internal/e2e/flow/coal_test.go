//go:build e2e

package flow

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// guess asks for names that nobody has until the session ends or it had asked for n, and
// returns the last reply. A message is not among what it says.
func guess(conn net.Conn, n int) (last string) {
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if err := d.Expect("MAIL FROM:<writer@client.test>", "250"); err != nil {
		return err.Error()
	}
	for i := range n {
		if last, err = d.Say(fmt.Sprintf("RCPT TO:<nobody%d@one.test>", i)); err != nil {
			return err.Error()
		}
		if strings.HasPrefix(last, "421") {
			return last
		}
	}
	if d.R.Buffered() > 0 { // an end of the session that nothing asked for
		last, _ = d.Say("")
	}
	return last
}

// TestCoal: who asks for too many names that nobody has hears 421, is in a set of the
// kernel's packet filter and can't connect, until the time is over; a session that has
// begun goes on meanwhile. This machine and trusted clients do the same and stay. With
// the server the table ends.
func TestCoal(t *testing.T) {
	const long = 8 * time.Second
	one, client := limited(t, "coal=8", "error-delay=0", "trusted=10.77.0.4", "clients-per-address=5")
	friend := client.LAN.Host("friend.test")
	server := one.Serve()
	dial := func(from *lan.Host) net.Conn {
		conn, err := from.Dial(one.IP + ":25")
		if err != nil {
			t.Fatalf("%s: %v", from.Name, err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	set := func() string { return one.Run("nft", "list", "set", "inet", "postoffice", "coal4") }
	for _, from := range []*lan.Host{friend, one.Host} {
		for range 4 {
			guess(dial(from), 15)
		}
	}
	open, err := lan.NewDialogue(dial(client), "client.test")
	if err != nil {
		t.Fatal(err)
	}
	first := guess(dial(client), 19) // as many refusals as one session may have end it by themselves
	second := guess(dial(client), 5)
	if !strings.HasPrefix(first, "550 5.1.1") || !strings.HasPrefix(second, "421 4.7.0 too much of what you sent was refused") {
		t.Errorf("the sessions ended with %q and %q, want 550 5.1.1 and 421 4.7.0", first, second)
	}
	began := time.Now()
	lan.Until(t, long, "the client is in the set, and can't connect", func() bool {
		if !strings.Contains(set(), client.IP) {
			return false
		}
		conn, err := lan.Inside(client, func() (net.Conn, error) { return net.DialTimeout("tcp4", one.IP+":25", 300*time.Millisecond) })
		if err != nil {
			return true
		}
		conn.Close()
		return false
	})
	if got := set(); strings.Contains(got, friend.IP) || strings.Contains(got, one.IP) {
		t.Errorf("in the set are not strangers alone:\n%s", got)
	}
	if err := open.Send("writer@client.test", "alice@one.test", "Subject: begun before\n\n"); err != nil {
		t.Errorf("a session that has begun before: %v", err)
	}
	lan.Until(t, time.Minute, "the client may connect again", func() bool {
		conn, err := client.Dial(one.IP + ":25")
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = lan.NewDialogue(conn, "client.test")
		return err == nil
	})
	t.Logf("back after %v", time.Since(began))
	if !lan.Says(one.Log, "client kept out client=["+client.IP+"]") {
		t.Error("the log says nothing of it")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", one.PidOf("smtpd")))
	if err != nil || !strings.Contains(string(status), "CapEff:\t00000000000015e3\n") {
		t.Errorf("the master has other capabilities than its own and net_admin: %v\n%s", err, status)
	}
	server.Stop()
	if out, err := one.Try("nft", "list", "table", "inet", "postoffice"); err == nil {
		t.Errorf("after the server's end there is\n%s", out)
	}
}

// TestCoalWithout: where the kernel doesn't let us, the log says once that nobody is kept
// out, the master keeps no capability for it, and mail goes on.
func TestCoalWithout(t *testing.T) {
	one, client := limited(t, "coal", "error-delay=0")
	one.Start(one.Command(context.Background(), "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", lan.Applet("smtpd"), "-bD", "-C", one.Config))
	one.Listening("25")
	for range 3 {
		conn, err := client.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		if last := guess(conn, 15); !strings.HasPrefix(last, "550 5.1.1") {
			t.Errorf("a session ended with %q", last)
		}
	}
	if err := sendFrom(client, one, "Subject: as ever\n\n"); err != nil {
		t.Error(err)
	}
	one.Applet("runq")
	one.Drained(30 * time.Second)
	log, err := os.ReadFile(one.Log)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "coal not on"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log)
	}
}
