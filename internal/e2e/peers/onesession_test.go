//go:build e2e

package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// TestHostThatTakesOneSession has a next host that refuses a second session
// from one address, as our own smtpd does by default, and that answers QUIT
// as late as over a long line. No message is deferred for that: it waits for
// the session that there is.
func TestHostThatTakesOneSession(t *testing.T) {
	one, two := returns(t)
	sink := &testenv.Sink{Hostname: "two.test", Answer: func(ev testenv.Event) testenv.Action {
		if ev.Verb == "QUIT" { // 100 ms in all
			return testenv.Action{Reply: "221 2.0.0 bye", Each: 7 * time.Millisecond}
		}
		return testenv.Action{}
	}}
	l := two.Listen("25")
	t.Cleanup(sink.Close)
	refused := serveOne(l, sink)

	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for j := range 10 {
				one.Submit("alice", fmt.Sprintf("Subject: burst %d %d\n\nhello\n", i, j), "bob@two.test")
			}
		})
	}
	wg.Wait()
	one.Drained(30 * time.Second)
	t.Logf("%d sessions were refused in the burst", refused.Load())
	for i := range 6 { // about when a session without work ends, after 2 s
		lan.Pause(context.Background(), 2*time.Second+time.Duration(i)*10*time.Millisecond)
		one.Submit("alice", fmt.Sprintf("Subject: trickle %d\n\nhello\n", i), "bob@two.test")
	}
	one.Drained(30 * time.Second)
	log, err := os.ReadFile(one.Log)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "delivery deferred"); n > 0 {
		t.Errorf("%d deferrals", n)
	}
	if n := len(sink.Messages()); n != 106 {
		t.Errorf("%d messages arrived, want 106", n)
	}
}

// serveOne serves one session at a time and refuses others.
func serveOne(l net.Listener, sink *testenv.Sink) (refused *atomic.Int32) {
	refused = new(atomic.Int32)
	var busy atomic.Bool
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if busy.CompareAndSwap(false, true) {
				go func() {
					sink.ServeConn(conn)
					busy.Store(false)
				}()
				continue
			}
			refused.Add(1)
			conn.Write([]byte("421 4.7.0 too many sessions from you\r\n"))
			conn.Close()
		}
	}()
	return refused
}
