//go:build e2e

package milters

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/testfilter"
)

// poisoned is a filter that refuses bad letters, and for poison does what kill says.
func poisoned(kill func(conn net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		bad := false
		f := &testfilter.Filter{Forgets: true, Answer: func(p testfilter.Packet) (string, bool) {
			switch {
			case p.Command == 'B' && strings.Contains(p.Data, "POISON"):
				kill(conn)
				return "", true
			case p.Command == 'B':
				bad = strings.Contains(p.Data, "BAD")
			case p.Command == 'E' && bad:
				return testfilter.Reply('y', "550 5.7.1 this is bad\x00"), true
			}
			return "", false
		}}
		f.Serve(conn)
	}
}

// TestPoison: while one client sends nothing but what a filter dies of, or hangs for, bad
// letters of others are refused, good ones taken, and a program's letter is judged: whatever
// fail= says of mail for which the filter can't be asked.
func TestPoison(t *testing.T) {
	one, client, _ := site(t)
	client.Many("10.128.0.0/9", one.Host)
	filters := map[string]func(net.Conn){
		"open": poisoned(func(conn net.Conn) { conn.Close() }), "later": poisoned(func(conn net.Conn) { conn.Close() }), "hangs": poisoned(func(net.Conn) {}),
	}
	networks, fails := map[string]string{"open": "10.128.0", "later": "10.129.0", "hangs": "10.130.0"}, map[string]string{"open": "open", "later": "tempfail", "hangs": "open"}
	lines := []string{"trusted=10.128.0.0/9", "local-domains=one.test", "filters-for-sendmail=yes"}
	for name, f := range filters {
		socket := one.Path(name + ".sock")
		hostile{filter: f}.listen(t, socket)
		lines = append(lines, fmt.Sprintf("filter=%s name=%s fail=%s message=2s clients=%s.0/24,127.0.0.1", socket, name, fails[name], networks[name]))
	}
	one.Configure("listen="+one.IP+":25", lines...)
	one.Serve()
	send := func(from, word string) string {
		conn, err := lan.Inside(client, func() (net.Conn, error) {
			d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			return d.Dial("tcp4", one.IP+":25")
		})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		d, err := lan.NewDialogue(conn, "client.test")
		if err == nil {
			err = d.Send("joe@one.test", "bob@one.test", strings.Replace(letter, "Hello", word, 1))
		}
		if err != nil {
			return err.Error()
		}
		return "250"
	}
	for name, network := range networks {
		stop, sent := make(chan struct{}), make(chan string)
		go func() {
			defer close(sent)
			for {
				answer := send(network+".1", "POISON")
				select {
				case <-stop:
					return
				case sent <- answer:
				}
			}
		}()
		for i := range 5 {
			poison, bad, good := <-sent, send(fmt.Sprint(network, ".", 10+i), "BAD"), send(fmt.Sprint(network, ".", 20+i), "GOOD")
			if (poison == "250") != (fails[name] == "open") || !strings.Contains(bad, "this is bad") || good != "250" {
				t.Errorf("%s, %d: poison hears %s, a bad letter %s, a good one %s", name, i, poison, bad, good)
			}
		}
		close(stop)
		for range sent {
		}
	}
	one.Submit("bob", strings.Replace(letter, "Hello", "POISON", 1), "bob@one.test")
	lan.Until(t, 30*time.Second, "a letter that no filter stands waits", func() bool { return strings.Contains(one.Applet("mailq"), "waits for filters") })
	one.Submit("alice", strings.Replace(letter, "Hello", "BAD", 1), "bob@one.test")
	lan.Until(t, 30*time.Second, "alice hears of her bad letter", func() bool { return lan.Contains(one.Mailbox("alice"), "this is bad") })
	if lan.Contains(one.Mailbox("bob"), "BAD") {
		t.Error("bob has got bad mail")
	}
}
