package smtpd

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// A81: a user of this machine has one share of the places of programs, by TCP and at the
// socket, uids without an account count as one, and whose user the kernel doesn't tell
// are as many as they were, beside them.
func TestSharesByTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := options(&memQueue{})
		o.Programs, o.Clients = 40, 5
		o.Nobody = func(uid int) bool { return uid >= 100_000 }
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		s := New(o)
		uid := 0
		s.userOf = func(net.Conn) (int, error) { return uid, nil }
		s.ownerOf = func(net.Conn) (int, error) {
			if uid < 0 {
				return -1, errors.New("the kernel doesn't tell")
			}
			return uid, nil
		}
		tcp, socket := servePipes(t, s, Relay), servePipes(t, s, Local)
		served := func(l *pipeListener, who, tries int) (n int) {
			uid = who
			for range tries {
				switch _, r := l.connect(t, "127.0.0.1:4000"); r.Code {
				case 220:
					n++
				case 421:
				default:
					t.Errorf("uid %d: %v", who, r)
				}
				synctest.Wait()
			}
			return n
		}
		for _, tt := range []struct {
			what             string
			l                *pipeListener
			uid, tries, want int
		}{
			{"a user by TCP", tcp, 71000, 20, 10},
			{"the same at the socket", socket, 71000, 5, 0},
			{"another one at the socket", socket, 71001, 4, 4},
			{"the same by TCP", tcp, 71001, 20, 3},
			{"a uid without an account", tcp, 100_000, 20, 5},
			{"another one", tcp, 100_001, 20, 0},
			{"one who comes then", tcp, 71002, 1, 1},
			{"root, who has places of its own", tcp, 0, 10, 10},
			{"those of whom it isn't known", tcp, -1, 20, 5},
		} {
			if got := served(tt.l, tt.uid, tt.tries); got != tt.want {
				t.Errorf("%s: %d sessions of %d, want %d", tt.what, got, tt.tries, tt.want)
			}
		}
		if !strings.Contains(log.String(), `reason="a connection of uid 71000"`) {
			t.Errorf("the log doesn't say whose connection was refused:\n%s", log.String())
		}
	})
}

// A81: an address that somebody else tells is never asked about, nor a stranger's.
func TestSharesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := proxied(&log)
		s := New(o)
		s.ownerOf = func(c net.Conn) (int, error) {
			t.Errorf("%v is asked about", c.RemoteAddr())
			return 0, nil
		}
		l := servePipes(t, s, Relay)
		if _, r := l.connect(t, strangerAddr); r.Code != 220 {
			t.Errorf("a stranger: %v", r)
		}
		if r := l.introduced(t, "PROXY TCP4 127.0.0.1 127.0.0.1 4000 25\r\n").read(); r.Code != 220 {
			t.Errorf("one of whom a proxy says that it is this machine: %v", r)
		}
	})
}

// A81: what comes by TCP from this machine counts for its user, of the room for mail too,
// and says so in what the queue is told; what is told of another client does not.
func TestRoomByTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tight(60)
		o := options(q)
		o.XClient = func(a netip.Addr) bool { return a.IsLoopback() }
		s := New(o)
		uid := 71000
		s.ownerOf = func(net.Conn) (int, error) { return uid, nil }
		l := servePipes(t, s, Relay)
		queued := peer.Amount{Octets: 30 * mebi, Files: 17}
		q.held.Add(o.withDefaults().places().Users().Holder(uid), queued)
		q.kept = queued.Octets
		say := func(want int, commands ...string) {
			t.Helper()
			c, _ := l.connect(t, "127.0.0.1:4000")
			defer c.conn.Close()
			var r smtp.Reply
			for _, command := range append([]string{"EHLO us.example"}, commands...) {
				r = c.do(command)
			}
			if r.Code != want {
				t.Errorf("uid %d, %q: %v, want %d", uid, commands, r, want)
			}
		}
		const mail = "MAIL FROM:<s@x.example>"
		say(452, mail)
		say(250, "XCLIENT ADDR=192.0.2.7", "EHLO x.example", mail)
		uid = 71001
		say(250, mail)
		say(452, mail+" SIZE=20971520")
		uid = 0
		say(250, mail+" SIZE=20971520")

		c, _ := l.connect(t, "127.0.0.1:4000")
		c.envelope("s@x.example", "alice@us.example")
		go c.send("Subject: x\r\n\r\nx\r\n.\r\n")
		if r := c.read(); r.Code != 250 {
			t.Fatal(r)
		}
		if m := q.all[0]; m.Client.Owner == nil || *m.Client.Owner != uid {
			t.Errorf("the queue is told of %+v, want the owner %d", m.Client, uid)
		}
	})
}
