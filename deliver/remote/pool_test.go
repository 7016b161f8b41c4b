package remote

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// pooled is a Pool in a world, and what its jobs were told.
type pooled struct {
	*world
	*Pool
	cancel context.CancelFunc // of stop
	kill   context.CancelFunc // of work

	mu      sync.Mutex
	answers []string // "NAME: words", in the order of their arrival
}

func newPooled(t *testing.T, pass bool) *pooled {
	p := &pooled{world: newWorld(t), Pool: NewPool()}
	var stop, work context.Context
	work, p.kill = context.WithCancel(t.Context())
	stop, p.cancel = context.WithCancel(work)
	p.Start(stop, work, pass)
	return p
}

// end waits for all sessions.
func (p *pooled) end() {
	p.cancel()
	p.Wait()
	p.kill()
}

// hopOf is a hop to one host.
func hopOf(address string) Hop {
	return HopTo([]Target{{Host: "[" + address + "]", Addrs: []netip.Addr{netip.MustParseAddr(address)}, Port: 25}})
}

// job is a message for n recipients, whose answers are noted.
func (p *pooled) job(h Hop, name string, n int) Job {
	var to []string
	for i := range n {
		to = append(to, fmt.Sprint(name, i))
	}
	return Job{
		Hop: h, Message: message(plain, to...), Options: p.options(),
		Stop: p.t.Context(),
		Answer: func(x Answer) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.answers = append(p.answers, name+": "+describe(x))
		},
	}
}

// describe prints an Answer: what came of how many.
func describe(x Answer) string {
	if x.Outcomes == nil {
		return fmt.Sprintf("%d-%d not begun", x.From, x.To)
	}
	text := fmt.Sprintf("%d-%d %s", x.From, x.To, words(x.Outcomes[:1]))
	if x.Down != nil {
		text += ", down"
	}
	if x.Remembered {
		text += ", remembered"
	}
	return text
}

func (p *pooled) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.answers)
}

func (p *pooled) want(want ...string) {
	p.t.Helper()
	if got := p.told(); !slices.Equal(got, want) {
		p.t.Errorf("answers\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// counted is a host that knows how many connections are open, and refuses more
// than allow at one time.
type counted struct {
	mu                  sync.Mutex
	open, most, refused int
	allow               int // 0: any number
}

// at puts a counted host at an address; what s says is said slowly, so that
// sessions overlap.
func (c *counted) at(p *pooled, address string, s *testenv.Sink) *testenv.Sink {
	if s.Answer == nil {
		s.Answer = func(ev testenv.Event) testenv.Action {
			if ev.Verb == "." {
				return testenv.Action{Each: time.Millisecond}
			}
			return testenv.Action{}
		}
	}
	p.t.Cleanup(s.Close)
	p.peers[address] = func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.allow > 0 && c.open == c.allow {
			c.refused++
			go func() {
				fmt.Fprint(server, "421 4.7.0 too many connections\r\n")
				server.Close()
			}()
			return client, nil
		}
		c.open++
		c.most = max(c.most, c.open)
		go func() {
			s.ServeConn(server)
			c.mu.Lock()
			c.open--
			c.mu.Unlock()
		}()
		return client, nil
	}
	return s
}

// A hop gets one session, and more as it takes mail, up to 20.
func TestPoolGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		var c counted
		sink := c.at(p, mxAddr, &testenv.Sink{})
		h := hopOf("192.0.2.1")
		for range 300 {
			p.Add(p.job(h, "m", 1))
		}
		sink.Await(t, 300)
		if c.most > hopSessions || c.most < 5 {
			t.Errorf("%d sessions at once, want 5 to %d", c.most, hopSessions)
		}
		if n := sink.Sessions(); n > 60 {
			t.Errorf("%d sessions for 300 messages", n)
		}
		p.end()
		if len(p.told()) != 300 {
			t.Errorf("%d answers, want 300", len(p.told()))
		}
	})
}

// A session lingers for 2 seconds, in a pass not at all; then it is ended by
// QUIT.
func TestPoolLingers(t *testing.T) {
	for _, pass := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPooled(t, pass)
			sink := p.sink(mxAddr, &testenv.Sink{})
			h := hopOf("192.0.2.1")
			for i, after := range []time.Duration{0, linger / 2, linger - time.Millisecond, 2 * linger} {
				time.Sleep(after)
				p.Add(p.job(h, "m", 1))
				synctest.Wait()
				want := []int{1, 1, 1, 2}[i]
				if pass {
					want = i + 1
				}
				if n := sink.Sessions(); n != want {
					t.Errorf("pass %v: %d sessions after message %d, want %d", pass, n, i+1, want)
				}
			}
			p.end()
			quits := 0
			for _, c := range sink.Commands() {
				if c == "QUIT" {
					quits++
				}
			}
			if quits != sink.Sessions() {
				t.Errorf("pass %v: %d sessions, %d of them ended by QUIT", pass, sink.Sessions(), quits)
			}
		})
	}
}

// A hop that refuses one session more while it serves others is not down, and
// nothing is deferred: that many are its limit for a while.
func TestPoolLearnsACeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		c := counted{allow: 2}
		sink := c.at(p, mxAddr, &testenv.Sink{})
		for range 100 {
			p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
		}
		sink.Await(t, 100)
		p.end()
		if c.refused == 0 || c.refused > 15 {
			t.Errorf("%d connections refused, want a few: the limit is to be learnt", c.refused)
		}
		for _, a := range p.told() {
			if a != "m: 0-1 delivered 250" {
				t.Fatal(a)
			}
		}
	})
}

// A hop that served us and says 4xx to the only session is asked again, five
// times, a second apart; one that did not serve us lately is down at once.
func TestPoolAsksABusyHopAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, true)
		busy, dials := false, 0
		sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			if ev.Verb == "" {
				if dials++; busy {
					return testenv.Action{Reply: "421 4.7.0 one at a time", Drop: true}
				}
			}
			return testenv.Action{}
		}}
		p.sink(mxAddr, sink)
		send := func() int {
			before := dials
			p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
			time.Sleep(time.Minute)
			synctest.Wait()
			return dials - before
		}
		send()
		time.Sleep(-time.Minute + servedAge)
		if busy = true; send() != 1 {
			t.Error("a hop that served us long ago was asked again")
		}
		busy = false
		p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
		synctest.Wait()
		busy = true
		if n := send(); n != 1+busyTries {
			t.Errorf("a hop that has just served us was asked %d times, want %d", n, 1+busyTries)
		}
		p.end()
		p.want("m: 0-1 delivered 250", "m: 0-1 deferred 421, down", "m: 0-1 delivered 250", "m: 0-1 deferred 421, down")
	})
}

// All that waits for a hop that can't be reached gets the same words, and
// nobody dials for it.
func TestPoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		p.peers[mxAddr] = silent
		h := hopOf("192.0.2.1")
		p.Add(p.job(h, "a", 250))
		p.Add(p.job(h, "b", 1))
		late := p.job(h, "c", 101)
		var cancel context.CancelFunc
		late.Stop, cancel = context.WithCancel(t.Context())
		cancel()
		p.Add(late)
		time.Sleep(time.Minute)
		p.end()
		p.want("a: 0-100 deferred, down", "a: 100-200 deferred, down, remembered", "a: 200-250 deferred, down, remembered",
			"b: 0-1 deferred, down, remembered", "c: 0-100 not begun", "c: 100-101 not begun")
		if len(p.dialed) != 1 {
			t.Errorf("%d dials, want 1", len(p.dialed))
		}
	})
}

// A job goes in parts of at most 100 recipients, answered for one by one; what
// is not to be begun any more is not.
func TestPoolParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, true)
		sink := p.sink(mxAddr, &testenv.Sink{})
		j := p.job(hopOf("192.0.2.1"), "m", 250)
		var cancel context.CancelFunc
		j.Stop, cancel = context.WithCancel(t.Context())
		answer := j.Answer
		j.Answer = func(x Answer) {
			if answer(x); x.From == 100 {
				cancel()
			}
		}
		if j.Answers() != 3 {
			t.Errorf("%d answers, want 3", j.Answers())
		}
		p.Add(j)
		p.end()
		p.want("m: 0-100 delivered 250", "m: 100-200 delivered 250", "m: 200-250 not begun")
		if n := len(sink.Messages()); n != 2 || sink.Sessions() != 1 {
			t.Errorf("%d transactions in %d sessions, want 2 in 1", n, sink.Sessions())
		}
	})
}

// R22: a session that the peer closed while it was idle costs nothing.
func TestPoolStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		sink := &testenv.Sink{}
		t.Cleanup(sink.Close)
		var conns []net.Conn
		p.peers[mxAddr] = func(context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			conns = append(conns, server)
			go sink.ServeConn(server)
			return client, nil
		}
		for range 2 {
			p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
			synctest.Wait()
			conns[len(conns)-1].Close()
		}
		p.end()
		p.want("m: 0-1 delivered 250", "m: 0-1 delivered 250")
	})
}

// What is on its way when work ends was not tried; nothing is begun then.
func TestPoolBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		p.peers[mxAddr] = silent
		p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
		synctest.Wait()
		p.kill()
		p.Wait()
		p.want("m: 0-1 not begun")
	})
}

// A session that is being opened when stop ends is given up at once: before MAIL
// nothing is lost by that.
func TestPoolStopsOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		p.peers[mxAddr] = silent
		j := p.job(hopOf("192.0.2.1"), "m", 1)
		j.Stop = p.stop
		p.Add(j)
		synctest.Wait()
		begun := time.Now()
		p.end()
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		p.want("m: 0-1 not begun")
	})
}

// The first session of each hop comes from 1,000, more from a common 100; a
// session that has done 50 jobs makes room for a hop that has none.
func TestPoolShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		release := make(chan struct{})
		held := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			if ev.Verb == "." {
				<-release
			}
			return testenv.Action{}
		}}
		address := func(i int) string { return fmt.Sprintf("203.0.%d.%d", 113+i/250, i%250+1) }
		for i := range maxHops {
			p.sink(address(i)+":25", held)
		}
		last := p.sink(mxAddr, &testenv.Sink{})
		for i := range maxHops {
			p.Add(p.job(hopOf(address(i)), "m", 1))
		}
		synctest.Wait()
		p.Add(p.job(hopOf("192.0.2.1"), "last", 1))
		time.Sleep(time.Second)
		synctest.Wait()
		if len(p.dialed) != maxHops || len(last.Messages()) != 0 {
			t.Errorf("%d hops have a session, want %d", len(p.dialed), maxHops)
		}
		close(release)
		synctest.Wait()
		if len(last.Messages()) != 1 {
			t.Error("the last hop got no session when others were free")
		}
		p.end()
		if p.first != 0 || p.extra != 0 || len(p.hungry) != 0 {
			t.Errorf("at the end %d and %d sessions, %d hungry hops", p.first, p.extra, len(p.hungry))
		}
	})
}

// One network has so many sessions, whatever names lead there. A hop that finds
// them all open waits a moment for an idle one to end: it is not down.
func TestPoolNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		s := p.sink(mxAddr, &testenv.Sink{})
		network := netip.MustParsePrefix("192.0.2.1/32")
		for range networkSessions {
			p.networks.Enter(network, -1, networkSessions)
		}
		p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
		time.Sleep(busyPause / 2)
		synctest.Wait()
		if n := len(p.dialed); n != 0 {
			t.Errorf("%d connections beyond those that one network may have", n)
		}
		p.networks.Leave(network)
		s.Await(t, 1)
		p.end()
		p.want("m: 0-1 delivered 250")
		if n := p.networks.Inside(); n != networkSessions-1 {
			t.Errorf("%d places are taken at the end, want %d", n, networkSessions-1)
		}
	})
}

// A hop with much to do gives its session to one that waits for the first, and
// goes on when that is done.
func TestPoolTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		p.Pool.first = maxHops - 1 // others have the rest
		p.Pool.extra = maxExtra
		var c counted
		busy, other := c.at(p, mxAddr, &testenv.Sink{}), p.sink(mx2Addr, &testenv.Sink{})
		for range 3 * maxTurn {
			p.Add(p.job(hopOf("192.0.2.1"), "m", 1))
		}
		p.Add(p.job(hopOf("192.0.2.2"), "other", 1))
		other.Await(t, 1)
		busy.Await(t, 3*maxTurn)
		p.end()
		if n := slices.Index(p.told(), "other: 0-1 delivered 250"); n > maxTurn {
			t.Errorf("the other hop waited for %d messages, want %d at most", n, maxTurn)
		}
	})
}

// Hops that nobody uses are forgotten.
func TestPoolForgets(t *testing.T) {
	p := NewPool()
	for i := range 2 * sweepFrom {
		p.hop(Hop{Key: fmt.Sprint(i)})
	}
	if len(p.hops) > sweepFrom {
		t.Errorf("%d hops known", len(p.hops))
	}
}

// An LMTP server gets all sessions at once; they linger, in a pass for a
// moment; and they are none of those that other machines share.
func TestPoolStore(t *testing.T) {
	for _, pass := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPooled(t, pass)
			p.Pool.first, p.Pool.extra = maxHops, maxExtra
			var c counted
			sink := c.at(p, "/run/store", &testenv.Sink{})
			for range 2 * storeSessions {
				p.Add(p.job(HopToStore("/run/store"), "m", 1))
			}
			sink.Await(t, 2*storeSessions)
			if c.most != storeSessions {
				t.Errorf("%d sessions at once, want %d", c.most, storeSessions)
			}
			n := sink.Sessions()
			time.Sleep(passLinger - time.Millisecond)
			p.Add(p.job(HopToStore("/run/store"), "m", 1))
			sink.Await(t, 2*storeSessions+1)
			if sink.Sessions() != n {
				t.Error("no session lingered")
			}
			p.end()
		})
	}
}

// All sessions are refused at one time: one of the workers finds the hop down,
// and nobody dials once more.
func TestPoolStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		all := make(chan struct{})
		p.peers["/run/store"] = func(ctx context.Context) (net.Conn, error) {
			<-all
			return refused(ctx)
		}
		for range storeSessions {
			p.Add(p.job(HopToStore("/run/store"), "m", 1))
		}
		synctest.Wait()
		close(all)
		p.end()
		down := 0
		for _, a := range p.told() {
			if a == "m: 0-1 deferred, down" {
				down++
			}
		}
		if len(p.dialed) != storeSessions || down != 1 || len(p.told()) != storeSessions {
			t.Errorf("%d dials, %d found it down, %d answers", len(p.dialed), down, len(p.told()))
		}
	})
}

// An LMTP server that hangs is down: whoever waits would wait as long.
func TestPoolStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		p.sink("/run/store", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			return testenv.Action{Hang: ev.Verb == "."}
		}})
		for range storeSessions + 2 {
			p.Add(p.job(HopToStore("/run/store"), "m", 1))
		}
		begun := time.Now()
		p.cancel()
		p.Wait()
		if took := time.Since(begun); took > 3*lmtpStep {
			t.Errorf("took %v", took)
		}
		down, remembered := 0, 0
		for _, a := range p.told() {
			switch a {
			case "m: 0-1 deferred, down":
				down++
			case "m: 0-1 deferred, down, remembered":
				remembered++
			}
		}
		if down != storeSessions || remembered != 2 {
			t.Errorf("%d found it down, %d were told: %q", down, remembered, p.told())
		}
	})
}

// The key is that of the hosts, whatever their order and case.
func TestHopKey(t *testing.T) {
	a, b := targets(), targets()
	if got := HopTo(a).Key; got != "mx.example,mx2.example:25" {
		t.Errorf("key %q", got)
	}
	slices.Reverse(b)
	b[0].Host = strings.ToUpper(b[0].Host)
	if HopTo(a).Key != HopTo(b).Key {
		t.Errorf("%q and %q", HopTo(a).Key, HopTo(b).Key)
	}
	b[0].Port, b[1].Port = 26, 26
	if HopTo(a).Key == HopTo(b).Key || HopTo(a).Key == HopToStore("/run/store").Key {
		t.Error("different hops have one key")
	}
}
