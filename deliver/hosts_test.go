package deliver

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/schedule"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// linger is how long deliver/remote keeps a session that has nothing to do.
const linger = 2 * time.Second

// wake queues n messages to one address.
func (r *rig) wake(run *Runner, n int, to ...string) []spool.ID {
	var ids []spool.ID
	for range n {
		id := r.mail("s@x.example", to...)
		ids = append(ids, id)
		run.Arrived(id, cmp.Or(r.client, "client"), smtp.Path{Local: "s", Domain: "x.example"})
	}
	return ids
}

// from makes mail come from a client, until what it returns is called.
func (r *rig) from(client string) (back func()) {
	before := r.client
	r.client = client
	return func() { r.client = before }
}

// others are hosts that work, B to Z.
func (r *rig) others() func() int {
	var sinks []*testenv.Sink
	for i := range 25 {
		sinks = append(sinks, r.peer(fmt.Sprintf("198.51.100.%d", i+1), &testenv.Sink{}))
	}
	return func() int {
		n := 0
		for _, s := range sinks {
			n += len(s.Messages())
		}
		return n
	}
}

func (r *rig) mailOthers(run *Runner) {
	defer r.from("bob[uid 1001]")()
	for i := range 25 {
		r.wake(run, 1, fmt.Sprintf("b@[198.51.100.%d]", i+1))
	}
}

// A39, R22, R59: host A answers one octet a second, or takes the connection
// and says nothing, or does not even do that; hosts B to Z have their mail
// within 10 seconds although more waits for A than may be in work.
func TestA39SlowHost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(r *rig) func(net.Conn)
	}{
		{"drips", func(r *rig) func(net.Conn) {
			s := &testenv.Sink{Answer: func(testenv.Event) testenv.Action { return testenv.Action{Each: time.Second} }}
			r.t.Cleanup(s.Close)
			return s.ServeConn
		}},
		{"mute", func(r *rig) func(net.Conn) {
			s := &testenv.Sink{Answer: func(testenv.Event) testenv.Action { return testenv.Action{Hang: true} }}
			r.t.Cleanup(s.Close)
			return s.ServeConn
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.network.peers["192.0.2.1:25"] = tt.serve(r)
				got := r.others()
				run, stop := r.start()
				defer stop()
				r.wake(run, schedule.MaxActive+200, "a@[192.0.2.1]")
				time.Sleep(time.Second)
				synctest.Wait()
				begun := time.Now()
				r.mailOthers(run)
				time.Sleep(10*time.Second - time.Since(begun))
				synctest.Wait()
				if n := got(); n != 25 {
					t.Errorf("%d of 25 other hosts have their message", n)
				}
				if n := r.network.dialled("192.0.2.1:25"); n != 1 {
					t.Errorf("%d connections to a host that has taken no message yet, want 1", n)
				}
				if active, _ := run.sched.Count(); active > 5 {
					t.Errorf("%d messages in work for one slow host", active)
				}
			})
		})
	}
}

// Hundreds of slow hosts leave room as well.
func TestA39ManySlowHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		mute := &testenv.Sink{Answer: func(testenv.Event) testenv.Action { return testenv.Action{Hang: true} }}
		got := r.others()
		run, stop := r.start()
		defer stop()
		for i := range 350 {
			addr := fmt.Sprintf("203.0.%d.%d", 113+i/250, i%250+1)
			r.peer(addr, mute)
			r.wake(run, 1, "a@["+addr+"]")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.mailOthers(run)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := got(); n != 25 {
			t.Errorf("%d of 25 other hosts have their message", n)
		}
	})
}

// A host that does not answer is asked again after two minutes; what waits for
// it is deferred at once with the words that it gave. R6: nothing bounces.
func TestR6DeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		dials := 0
		r.o.Remote.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "192.0.2.1:25" {
				dials++
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return r.network.dial(ctx, network, address)
		}
		got := r.others()
		run, stop := r.start()
		defer stop()
		ids := r.wake(run, schedule.MaxActive+100, "a@[192.0.2.1]")
		time.Sleep(time.Second)
		synctest.Wait()
		r.mailOthers(run)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := got(); n != 25 {
			t.Errorf("%d of 25 other hosts have their message", n)
		}
		time.Sleep(50 * time.Second) // the dial has its 30 seconds
		synctest.Wait()
		if dials != 1 {
			t.Errorf("%d dials within a minute, want 1", dials)
		}
		for _, id := range ids {
			s := r.snapshot(id)
			if len(s.Notes) != 1 || s.Recipients[0].State != envelope.Pending || s.Notes[0].Err == "" || s.Notes[0].Next.IsZero() {
				t.Fatalf("%s: %v, notes %+v, want one attempt noted", id, s.Recipients[0].State, s.Notes)
			}
		}
		run.RunNow() // forgets that it is down
		time.Sleep(time.Minute)
		synctest.Wait()
		if dials != 2 {
			t.Errorf("%d dials after RunNow, want 2", dials)
		}
	})
}

// One session serves many messages, and a good host gets more of them at once.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var mu sync.Mutex
		now, most := map[int]bool{}, 0
		sink := r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			mu.Lock()
			defer mu.Unlock()
			if ev.Verb == "." {
				return testenv.Action{Each: 10 * time.Millisecond}
			}
			now[ev.Session] = ev.Verb != "QUIT"
			n := 0
			for _, open := range now {
				if open {
					n++
				}
			}
			most = max(most, n)
			return testenv.Action{}
		}})
		run, stop := r.start()
		defer stop()
		r.wake(run, 300, "a@[192.0.2.1]")
		sink.Await(t, 300)
		if n := sink.Sessions(); n > 60 {
			t.Errorf("%d sessions for 300 messages", n)
		}
		if most > 20 || most < 5 {
			t.Errorf("%d sessions at once, want 5 to 20", most)
		}
		t.Logf("%d sessions, %d at once", sink.Sessions(), most)
		n := sink.Sessions()
		r.wake(run, 1, "b@[192.0.2.1]") // within the linger time
		sink.Await(t, 301)
		if got := sink.Sessions(); got != n {
			t.Errorf("%d sessions, want still %d: one was idle", got, n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for s, open := range now {
			if open {
				t.Errorf("session %d was not ended by QUIT", s)
			}
		}
	})
}

// R22: the peer has closed a session that was idle; the message goes through a
// new one at once.
func TestR22IdleSessionClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var conns []net.Conn
		sink := &testenv.Sink{}
		t.Cleanup(sink.Close)
		r.network.peers["192.0.2.1:25"] = func(c net.Conn) {
			conns = append(conns, c)
			sink.ServeConn(c)
		}
		run, stop := r.start()
		defer stop()
		r.wake(run, 1, "a@[192.0.2.1]")
		sink.Await(t, 1)
		synctest.Wait()
		conns[0].Close()
		ids := r.wake(run, 1, "a@[192.0.2.1]")
		sink.Await(t, 2)
		synctest.Wait()
		if _, err := r.queue.Read(ids[0]); err == nil {
			t.Errorf("the second message is still queued:\n%s", r.log)
		}
		if strings.Contains(r.log.String(), "deferred") {
			t.Errorf("something was deferred:\n%s", r.log)
		}
	})
}

// A host that takes two connections and answers 421 to more is neither down
// nor a reason to defer.
func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var mu sync.Mutex
		open, refused := 0, 0
		sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			mu.Lock()
			defer mu.Unlock()
			if ev.Verb == "" && open > 2 {
				refused++
				return testenv.Action{Reply: "421 4.7.0 too many connections", Drop: true}
			}
			if ev.Verb == "." {
				return testenv.Action{Each: 20 * time.Millisecond}
			}
			return testenv.Action{}
		}}
		t.Cleanup(sink.Close)
		r.network.peers["192.0.2.1:25"] = func(c net.Conn) {
			mu.Lock()
			open++
			mu.Unlock()
			sink.ServeConn(c)
			mu.Lock()
			open--
			mu.Unlock()
		}
		run, stop := r.start()
		defer stop()
		r.wake(run, 100, "a@[192.0.2.1]")
		sink.Await(t, 100)
		synctest.Wait()
		if strings.Contains(r.log.String(), "delivery deferred") {
			t.Errorf("something was deferred:\n%.2000s", r.log)
		}
		if refused > 15 {
			t.Errorf("%d connections refused, want 15 at most: the limit is to be learnt", refused)
		}
		t.Logf("%d connections refused, %d sessions", refused, sink.Sessions())
	})
}

// A mailbox that is locked holds few messages, and when the wait was in vain
// the others are deferred at once.
func TestSlowMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.mailer.answer = func(user string) (local.Result, bool) {
			if user != "alice" {
				return local.Result{}, false
			}
			time.Sleep(time.Minute)
			return later("locked by another program"), true
		}
		run, stop := r.start()
		defer stop()
		ids := r.wake(run, schedule.MaxActive+50, "alice")
		time.Sleep(time.Second)
		synctest.Wait()
		r.wake(run, 50, "bob")
		time.Sleep(time.Second)
		synctest.Wait()
		r.wantBox("bob", 50)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, id := range ids {
			if n := len(r.snapshot(id).Notes); n < 1 {
				t.Fatalf("%s has no attempt after two minutes", id)
			}
		}
	})
}

// A slow DNS holds neither local mail of the same message nor others' mail.
func TestSlowDNS(t *testing.T) {
	r := newRig(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r.dns(silent.LocalAddr().String())
	run, stop := r.start()
	delivered := make(chan string, 10)
	r.mailer.answer = func(user string) (local.Result, bool) {
		delivered <- user
		return local.Result{}, false
	}
	defer stop()
	for range 10 {
		run.Wake(r.mail("s@x.example", "x@nowhere.example"))
	}
	run.Wake(r.mail("s@x.example", "x@slow.example", "alice"))
	timeout := time.After(time.Minute)
	select {
	case <-delivered:
	case <-timeout:
		t.Errorf("alice has no mail after a minute\n%s", r.log)
	}
}

// A question to DNS that nobody answers doesn't keep a runner that is to stop: it
// is given up at once, not after what transactions get to end in.
func TestStopAsksNoMore(t *testing.T) {
	r := newRig(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r.dns(silent.LocalAddr().String())
	run, stop := r.start()
	run.Wake(r.mail("s@x.example", "x@slow.example"))
	if _, _, err := silent.ReadFrom(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	stop()
	if took := time.Since(begun); took >= 5*time.Second { // the question's own limit
		t.Errorf("it took %v", took)
	}
	r.want("active: s@x.example -> x@slow.example pending")
}

// A deferral that nobody outside had a part in names no relay.
func TestNoRelay(t *testing.T) {
	r := newRig(t)
	r.mail("s@x.example", "x@slow.example")
	r.pass()
	r.wantLog("delivery deferred", "to=<x@slow.example>")
	if strings.Contains(r.log.String(), "relay=") {
		t.Errorf("a relay is named:\n%s", r.log)
	}
}

// With a relay-host by name all domains of a message share one look-up and one
// transaction.
func TestRelayHostByName(t *testing.T) {
	zone := testenv.NewDNS(t, "relay.example. 60 IN A 192.0.2.1")
	r := newRig(t)
	r.dns(zone.Addr())
	r.o.RelayHost = "[relay.example]"
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mail("s@x.example", "a@a.example", "b@b.example", "c@c.example", "d@d.example")
	r.pass()
	r.want()
	if got := sink.Messages(); len(got) != 1 || len(got[0].Rcpt) != 4 {
		t.Errorf("sink got %v, want one message for four", got)
	}
	if n := zone.Count("A relay.example"); n != 1 {
		t.Errorf("relay.example was asked for %d times", n)
	}
}

// A relay-host that wants a login returns nothing: it is a warning that says
// what to do, and the mail waits.
func TestRelayHostWantsLogin(t *testing.T) {
	r := newRig(t)
	r.o.RelayHost = "192.0.2.1"
	r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		if ev.Verb == "MAIL" {
			return testenv.Action{Reply: "530 5.7.0 Authentication required"}
		}
		return testenv.Action{}
	}})
	id := r.mail("bob@us.example", "a@a.example")
	r.pass()
	r.wantLog("level=WARN", "delivery deferred", "530 5.7.0 Authentication required", "write relay-host=submissions://user@host", "next=")
	r.wantBox("bob", 0)
	if s := r.snapshot(id); len(s.Notes) != 1 || s.Notes[0].Reply.Code != 530 || s.Notes[0].Err == "" || s.Notes[0].Next.IsZero() {
		t.Errorf("notes %+v", s.Notes)
	}
}

// Domains with the same exchangers share a host queue.
func TestSharedExchangers(t *testing.T) {
	zone := testenv.NewDNS(t, "a.example. 60 IN MX 10 mx1.host.example.", "a.example. 60 IN MX 10 mx2.host.example.",
		"b.example. 60 IN MX 5 mx2.host.example.", "b.example. 60 IN MX 5 mx1.host.example.",
		"mx1.host.example. 60 IN A 192.0.2.1", "mx2.host.example. 60 IN A 192.0.2.2")
	r := newRig(t)
	r.dns(zone.Addr())
	one, two := r.peer("192.0.2.1", &testenv.Sink{}), r.peer("192.0.2.2", &testenv.Sink{})
	r.mail("s@x.example", "x@a.example", "y@B.example")
	r.pass()
	r.want()
	if got := append(one.Messages(), two.Messages()...); len(got) != 1 || len(got[0].Rcpt) != 2 {
		t.Errorf("sinks got %v, want one message for two", got)
	}
}

// R11, A54: a second exchanger takes over from one that answers 4xx.
func TestR11SecondExchanger(t *testing.T) {
	zone := testenv.NewDNS(t, "a.example. 60 IN MX 10 mx1.host.example.", "a.example. 60 IN MX 20 mx2.host.example.",
		"mx1.host.example. 60 IN A 192.0.2.1", "mx2.host.example. 60 IN A 192.0.2.2")
	r := newRig(t)
	r.dns(zone.Addr())
	busy := r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		return testenv.Action{Reply: "421 4.3.2 not now", Drop: true}
	}})
	second := r.peer("192.0.2.2", &testenv.Sink{})
	r.mail("s@x.example", "x@a.example")
	r.pass()
	r.want()
	if len(second.Messages()) != 1 || len(busy.Commands()) != 0 {
		t.Errorf("second exchanger got %d messages; the first was told %q", len(second.Messages()), busy.Commands())
	}
}

// What was parked for a domain whose route is known by now goes on at once,
// although it needs no place any more, or goes elsewhere; nothing stays behind.
func TestNothingStaysParked(t *testing.T) {
	zone := testenv.NewDNS(t, "two.example. 60 IN A 192.0.2.1", "slow.example. 60 IN A 192.0.2.2")
	r := newRig(t)
	r.dns(zone.Addr())
	release := make(chan struct{})
	zone.Script("MX two.example", testenv.Hold(release, testenv.Proper))
	zone.Script("MX slow.example", testenv.Hold(release, testenv.Proper))
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.peer("192.0.2.2", &testenv.Sink{Answer: func(testenv.Event) testenv.Action { return testenv.Action{Hang: true} }})
	for range 20 {
		r.mail("s@x.example", "a@two.example")
		r.mail("s@x.example", "b@slow.example")
		r.mail("s@x.example", "c@two.example", "d@slow.example")
	}
	run, stop := r.start()
	defer stop()
	for parked := 0; parked < 20; { // all are claimed and most are parked
		_, parked = run.sched.Count()
		runtime.Gosched()
	}
	close(release)
	sink.Await(t, 40)
}

// A host that takes one session from an address, as our own server does, and
// notices its end late: nothing is deferred for that.
func TestOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var mu sync.Mutex
		open := 0
		sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			if ev.Verb == "QUIT" {
				return testenv.Action{Reply: "221 2.0.0 bye", Each: 7 * time.Millisecond}
			}
			return testenv.Action{}
		}}
		t.Cleanup(sink.Close)
		refused := 0
		r.network.peers["192.0.2.1:25"] = func(c net.Conn) {
			mu.Lock()
			if open > 0 {
				refused++
				mu.Unlock()
				c.Write([]byte("421 4.7.0 too many sessions from you\r\n"))
				c.Close()
				return
			}
			open++
			mu.Unlock()
			sink.ServeConn(c)
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			open--
			mu.Unlock()
		}
		run, stop := r.start()
		defer stop()
		r.wake(run, 100, "a@[192.0.2.1]")
		sink.Await(t, 100)
		for i := range 40 {
			time.Sleep(linger + time.Duration(i)*7*time.Millisecond)
			r.wake(run, 1, "a@[192.0.2.1]")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := len(sink.Messages()); n != 101+i {
				t.Fatalf("%d messages, want %d", n, 101+i)
			}
		}
		if strings.Contains(r.log.String(), "deferred") {
			t.Errorf("something was deferred:\n%.2000s", r.log)
		}
		t.Logf("%d connections refused", refused)
	})
}

// TestLargeInTurns: of one submitter's messages with very many recipients two are
// in work at a time, whatever their hosts do, and the others' mail goes on, with
// many recipients too.
func TestLargeInTurns(t *testing.T) {
	const messages, recipients = 9, 5000
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.network.peers = map[string]func(net.Conn){}
		for i := range messages {
			r.network.peers[fmt.Sprintf("192.0.2.%d:25", i+1)] = func(c net.Conn) { <-release; c.Close() }
		}
		run, stop := r.start()
		defer stop()
		large := func(host string) {
			to := make([]string, recipients)
			for n := range to {
				to[n] = fmt.Sprintf("u%d@[%s]", n, host)
			}
			run.Wake(r.mail("bob@us.example", to...))
		}
		for i := range messages {
			large(fmt.Sprintf("192.0.2.%d", i+1))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if working, waiting := run.sched.Count(); working != 2 || waiting != messages-2 {
			t.Errorf("%d in work, %d wait; want 2 and %d", working, waiting, messages-2)
		}
		run.Wake(r.mail("bob@us.example", "alice@us.example"))
		defer r.from("carol[uid 2001]")()
		good := r.peer("198.51.100.1", &testenv.Sink{})
		large("198.51.100.1")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.wantBox("alice", 1)
		if n := len(good.Messages()); n != recipients/100 {
			t.Errorf("%d of %d transactions of another submitter", n, recipients/100)
		}
		close(release)
		time.Sleep(time.Minute)
		synctest.Wait()
		if working, waiting := run.sched.Count(); working != 0 || waiting != 0 {
			t.Errorf("at the end %d in work, %d wait", working, waiting)
		}
		for i := range messages {
			if r.network.dialled(fmt.Sprintf("192.0.2.%d:25", i+1)) == 0 {
				t.Errorf("message %d was never tried", i+1)
			}
		}
	})
}

// TestLimitsAtTheEnd: a recipient who was left for another session when the server was to
// end was not tried: no attempt is noted, nothing is told of them, and they are not late.
func TestLimitsAtTheEnd(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	r.peer("192.0.2.1", &testenv.Sink{Extensions: []string{"LIMITS MAILMAX=1 RCPTMAX=1"}, Answer: func(ev testenv.Event) testenv.Action {
		if ev.Verb == "." {
			stop()
		}
		return testenv.Action{}
	}})
	id := r.mail("alice", "a@[192.0.2.1]", "b@[192.0.2.1]")
	if err := NewRunner(r.o).Run(ctx); err != nil {
		t.Fatal(err)
	}
	s := r.snapshot(id)
	if got := s.Recipients; len(got) != 2 || got[0].State != envelope.Delivered || got[1].State != envelope.Pending || len(s.Notes) > 0 {
		t.Errorf("%+v, notes %+v", got, s.Notes)
	}
	if strings.Contains(r.log.String(), "delivery deferred") {
		t.Errorf("log:\n%s", r.log)
	}
}
