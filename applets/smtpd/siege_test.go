package smtpd

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// dialed is a client's end of a connection from addr, and what it hears first.
func (l *pipeListener) dialed(addr string) (conn net.Conn, r *bufio.Reader, greeting string) {
	conn, server := net.Pipe()
	l.conns <- addrConn{server, from(addr)}
	r = newReader(conn)
	greeting, _ = r.ReadString('\n') // the end is no greeting
	return conn, r, greeting
}

// attacker takes a session whenever it has none, and holds it until it is ended: silent,
// or with a line that comes octet by octet. done ends it.
func (l *pipeListener) attacker(addr string, silent bool, done <-chan bool) {
	for {
		conn, r, greeting := l.dialed(addr)
		if strings.HasPrefix(greeting, "220") {
			over := make(chan bool)
			go func() {
				defer close(over)
				r.ReadString('\n')
			}()
			for held := true; held; {
				select {
				case <-over:
					held = false
				case <-done:
					held = false
				case <-time.After(time.Second):
					if !silent {
						conn.Write([]byte("x"))
					}
				}
			}
			conn.Close()
			<-over
		}
		conn.Close()
		select {
		case <-done:
			return
		case <-time.After(time.Second):
		}
	}
}

// letter sends a message from an address that comes again while there is no place for it,
// and returns how long that took.
func (l *pipeListener) letter(t *testing.T, addr string) time.Duration {
	start := time.Now()
	for {
		conn, r, greeting := l.dialed(addr)
		if strings.HasPrefix(greeting, "220") {
			c := &talker{t: t, conn: conn, r: r}
			c.envelope("a@b.example", "alice@us.example")
			if r := c.do("\r\n."); r.Code != 250 {
				t.Errorf("a letter: %v", r)
			}
			c.do("QUIT")
			conn.Close()
			return time.Since(start)
		}
		conn.Close()
		time.Sleep(200 * time.Millisecond)
	}
}

// A81: 200 addresses, each in a network of its own, that take whatever session they get
// keep out nobody who comes with mail, with the limits that we ship: not for longer than
// the first of them may be silent, and not at all once each has wasted a session.
func TestSiegeOfAddresses(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.ClientsPerAddress = 1
		s := New(o)
		l := servePipes(t, s, Relay)
		done := make(chan bool)
		var attackers sync.WaitGroup
		for i := range 200 {
			attackers.Go(func() { l.attacker(fmt.Sprintf("10.%d.%d.1:25", i/100, i%100), i%2 == 0, done) })
		}
		synctest.Wait()
		if n := len(slices.Collect(s.Sessions())); n < 3*defaultClients/4 {
			t.Errorf("the attackers have %d sessions, want more than three of four", n)
		}
		var took []time.Duration
		for i := range 60 {
			took = append(took, l.letter(t, fmt.Sprintf("192.0.2.%d:25", i)))
			time.Sleep(time.Second)
		}
		t.Logf("letters passed after %v", took)
		if longest := slices.Max(took); longest > 10*time.Second { // two rounds of silent sessions
			t.Errorf("a letter took %v", longest)
		}
		if longest := slices.Max(took[30:]); longest > 0 {
			t.Errorf("a letter took %v when each attacker had wasted its session", longest)
		}
		close(done)
		attackers.Wait()
		synctest.Wait()
		if n := len(slices.Collect(s.Sessions())); n != 0 || s.places.Waiting() != 0 {
			t.Errorf("%d sessions are left when all have gone", n)
		}
	})
	if !testenv.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
	}
}

// A81: where there are places for all, thousands of silent clients and hundreds that send
// a command octet by octet delay nobody, and leave nothing behind.
func TestSiegeOfSilence(t *testing.T) {
	const idle, slow = 2000, 200
	goroutines := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.ClientsPerAddress, o.Clients = 1, (idle+slow)*12/11
		s := New(o)
		l := servePipes(t, s, Relay)
		done := make(chan bool)
		var clients sync.WaitGroup
		for i := range idle + slow {
			clients.Go(func() { l.attacker(fmt.Sprintf("10.%d.%d.1:25", i/250, i%250), i < idle, done) })
		}
		synctest.Wait()
		if n := len(slices.Collect(s.Sessions())); n != idle+slow {
			t.Errorf("%d sessions, want all %d", n, idle+slow)
		}
		for i := range 20 {
			if took := l.letter(t, fmt.Sprintf("192.0.2.%d:25", i)); took > 0 {
				t.Errorf("letter %d took %v", i+1, took)
			}
			time.Sleep(time.Second)
		}
		close(done)
		clients.Wait()
		synctest.Wait()
		if n := len(slices.Collect(s.Sessions())); n != 0 {
			t.Errorf("%d sessions are left when all have gone", n)
		}
	})
	if !testenv.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
	}
}
