//go:build e2e

package faults

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// mute is a host at very many addresses that takes connections and says nothing.
type mute struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

// serve takes connections until the listener is closed.
func (m *mute) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.open[conn] = true
		m.mu.Unlock()
		go func() {
			io.Copy(io.Discard, conn)
			m.mu.Lock()
			delete(m.open, conn)
			m.mu.Unlock()
			conn.Close()
		}()
	}
}

// now returns the sessions that are open.
func (m *mute) now() map[net.Conn]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.open)
}

// remain counts those of some sessions that are open still.
func (m *mute) remain(of map[net.Conn]bool) (n int) {
	open := m.now()
	for c := range of {
		if open[c] {
			n++
		}
	}
	return n
}

// muted is a site whose users and clients have mail for very many mute hosts.
type muted struct {
	*lan.Site
	mute   *mute
	good   *testenv.Sink
	client *lan.Host
	names  []string // of hosts: the first half at one address, the others at 1,000
	probes int
}

func newMuted(t *testing.T, names int) *muted {
	records := []string{"one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "good.test. IN A 10.77.0.4", "good.test. IN MX 10 good.test."}
	m := &muted{mute: &mute{open: map[net.Conn]bool{}}, good: &testenv.Sink{}}
	for i := range names {
		address := "10.200.0.1"
		if n := i % 1000; i >= names/2 {
			address = fmt.Sprintf("10.%d.%d.1", 201+n/250, n%250)
		}
		name := fmt.Sprintf("m%d.test", i)
		m.names = append(m.names, name)
		records = append(records, name+". IN A "+address, name+". IN MX 10 "+name+".")
	}
	l := lan.New(t)
	l.DNS(records...)
	one, silent, good := l.Host("one.test"), l.Host("mute.test"), l.Host("good.test")
	m.client = l.Host("client.test")
	m.client.Many("10.78.0.0/16", one)
	silent.Many("10.192.0.0/10", one)
	m.Site = one.Install("trusted=10.78.0.0/16", "minfree=0")
	lan.WriteFile(t, m.Path("aliases"), "ghost: nobody-has-this-name\n")
	listener, err := lan.Inside(silent, func() (net.Listener, error) { return net.Listen("tcp4", ":25") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go m.mute.serve(listener)
	go m.good.Serve(good.Listen("25"))
	t.Cleanup(m.good.Close)
	m.Serve()
	return m
}

// send hands messages over in one session: a line each of what Dialogue.Send takes.
func send(conn net.Conn, envelopes [][2]string) error {
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return err
	}
	defer d.Quit()
	for _, e := range envelopes {
		if err := d.Send(e[0], e[1], "Subject: x\n\nbody\n"); err != nil {
			return err
		}
	}
	return nil
}

// from connects from one of the client's addresses.
func (m *muted) from(address string) (net.Conn, error) {
	return lan.Inside(m.client, func() (net.Conn, error) {
		d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		return d.Dial("tcp4", m.IP+":25")
	})
}

// probe has alice send to bob and to the good host. Bob, and with soon the good host
// too, is to have it before all the mute sessions are over that were open when she
// did: those last 30 seconds where others wait.
func (m *muted) probe(when string, soon bool) {
	m.T.Helper()
	m.probes++
	var open map[net.Conn]bool
	lan.Until(m.T, time.Minute, when+": there are sessions with mute hosts", func() bool {
		open = m.mute.now()
		return len(open) >= 100
	})
	subject := fmt.Sprintf("Subject: probe %d\n", m.probes)
	begun := time.Now()
	m.Submit("alice", subject+"\nbody\n", "bob", "b@good.test")
	submitted := time.Since(begun)
	came := func(what string, soon bool, has func() bool) time.Duration {
		lan.Until(m.T, 2*time.Minute, when+": mail came "+what, has)
		took := time.Since(begun)
		if soon && m.mute.remain(open) == 0 {
			m.T.Errorf("%s: mail came %s when all %d sessions with mute hosts were over", when, what, len(open))
		}
		return took
	}
	local := came("to bob", true, func() bool {
		box, _ := os.ReadFile(m.Mailbox("bob"))
		return bytes.Contains(box, []byte(subject))
	})
	good := came("to the good host", soon, func() bool { return len(m.good.Messages()) >= m.probes })
	m.T.Logf("%s: submitted after %v, with bob after %v, at the good host after %v; of %d sessions with mute hosts %d are open still",
		when, submitted, local, good, len(open), m.mute.remain(open))
}

// TestA39MuteHosts: a user, a client and the null sender have mail for thousands of
// names of mute hosts, half of them at one address. Others' local mail and mail to a
// good host come meanwhile, at once and when all is tried again.
func TestA39MuteHosts(t *testing.T) {
	m := newMuted(t, many(1500, 10_000))
	var byUser, byClient, byNobody [][2]string
	for i, name := range m.names {
		switch i % 3 {
		case 0:
			byUser = append(byUser, [2]string{"carol@one.test", "x@" + name})
		case 1:
			byClient = append(byClient, [2]string{"x@client.test", "x@" + name})
		default: // a report goes there
			byNobody = append(byNobody, [2]string{"x@" + name, "ghost@one.test"})
		}
	}
	begun := time.Now()
	var wg sync.WaitGroup
	for _, s := range []struct {
		dial func() (net.Conn, error)
		all  [][2]string
	}{
		{func() (net.Conn, error) { return lan.DialAs(t, 2003, m.Path("run", "submission")) }, byUser},
		{func() (net.Conn, error) { return m.from("10.78.0.1") }, byClient},
		{func() (net.Conn, error) { return m.client.Dial(m.IP + ":25") }, byNobody},
	} {
		wg.Go(func() {
			conn, err := s.dial()
			if err == nil {
				err = send(conn, s.all)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	m.probe("while it is queued", true)
	wg.Wait()
	t.Logf("%d messages queued after %v", len(m.names), time.Since(begun))
	m.probe("at the first attempt", true)
	m.Applet("runq")
	m.probe("when all is tried again", true)
}

// TestA39Strangers: 1,000 clients, each of a network of its own, have mail for mute
// hosts at 1,000 addresses. Others' local mail comes meanwhile, and mail to a good host
// when it is its turn.
func TestA39Strangers(t *testing.T) {
	const clients = 1000
	m := newMuted(t, many(2, 20)*clients)
	names := m.names[len(m.names)/2:]
	var wg sync.WaitGroup
	next := make(chan int)
	for range 20 {
		wg.Go(func() {
			for i := range next {
				var envelopes [][2]string
				for n := i; n < len(names); n += clients {
					envelopes = append(envelopes, [2]string{"x@client.test", "x@" + names[n]})
				}
				conn, err := m.from(fmt.Sprintf("10.78.%d.%d", i/250, i%250+1))
				if err == nil {
					err = send(conn, envelopes)
				}
				if err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	for i := range clients {
		next <- i
	}
	close(next)
	wg.Wait()
	m.probe("at the first attempt", false)
	m.Applet("runq")
	m.probe("when all is tried again", false)
}
