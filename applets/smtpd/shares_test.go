package smtpd

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
)

// A81: while few places are left, a program that says nothing keeps its own for ten
// seconds, and who comes then is served; otherwise it has five minutes.
func TestIdlePrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Programs = 8
		s := New(o)
		uid := 71000
		s.userOf = func(net.Conn) (int, error) { return uid, nil }
		l := servePipes(t, s, Local)
		var idle []*talker
		come := func(n int) {
			for range n {
				uid++
				c, r := l.connect(t, "127.0.0.1:1")
				if r.Code != 220 {
					t.Fatalf("uid %d: %v", uid, r)
				}
				idle = append(idle, c)
			}
		}
		come(5)
		time.Sleep(time.Minute) // nobody waits for these
		if r := idle[0].do("NOOP"); r.Code != 250 {
			t.Errorf("after a minute, with places left: %v", r)
		}
		come(3)
		if _, r := l.connect(t, "127.0.0.1:1"); r.Code != 421 {
			t.Errorf("one too many: %v, want 421", r)
		}
		begun := time.Now()
		ended := make(chan smtp.Reply)
		for _, c := range idle {
			go func() { ended <- c.read() }()
		}
		for range 3 {
			if r := <-ended; r.Code != 421 || r.Status != "4.4.2" {
				t.Errorf("one that was silent: %v, want 421 4.4.2", r)
			}
		}
		if waited := time.Since(begun); waited > 2*programs {
			t.Errorf("three places are free after %v", waited)
		}
		synctest.Wait()
		come(1)
		for _, c := range idle {
			c.conn.Close()
		}
		for range 5 {
			<-ended
		}
	})
}

// A81: the same for a client who sends commands and never reads what is said to
// them.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Clients = 1
		l := servePipes(t, New(o), Relay)
		c, _ := l.connect(t, strangerAddr)
		c.send("EHLO x\r\n") // the pipe takes nothing of the reply
		time.Sleep(idleWait)
		synctest.Wait()
		if _, r := l.connect(t, "192.0.2.9:1"); r.Code != 220 {
			t.Errorf("another one: %v", r)
		}
	})
}
