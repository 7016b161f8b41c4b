package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/places"
	"postoffice/internal/smtp"
)

// pipeListener is a listener whose connections are pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

// servePipes serves s on a pipeListener until the test's end.
func servePipes(t *testing.T, s *Server, k Kind) *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	end := make(chan error, 1)
	go func() { end <- s.Serve(context.Background(), l, k) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-end
	})
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return from("127.0.0.1:25") }

// connect dials from addr and returns the greeting.
func (l *pipeListener) connect(t *testing.T, addr string) (*talker, smtp.Reply) {
	t.Helper()
	c := l.arrive(t, addr)
	return c, c.read()
}

// arrive dials from addr.
func (l *pipeListener) arrive(t *testing.T, addr string) *talker {
	client, server := net.Pipe()
	l.conns <- addrConn{server, from(addr)}
	t.Cleanup(func() { client.Close() })
	return &talker{t: t, conn: client, r: newReader(client)}
}

// TestClientsPerAddress has the original's one session at a time for each address
// that isn't ours or trusted (S42, S43, R18), and one /64 of IPv6 as one address: a
// second client hears nothing until the first has gone, and 421 after 30 seconds.
func TestClientsPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.ClientsPerAddress = 1
		o.Trusted = func(a netip.Addr) (local, trusted bool) { return a.IsLoopback(), a.IsLoopback() || a.IsPrivate() }
		l := servePipes(t, New(o), Relay)
		first := map[string]*talker{}
		for _, tt := range []struct {
			addr  string
			after time.Duration // the first that it hears
			want  int
		}{
			{"127.0.0.1:1", 0, 220}, {"127.0.0.1:2", 0, 220}, {"10.0.0.1:1", 0, 220}, {"10.0.0.1:2", 0, 220},
			{"192.0.2.7:1", 0, 220}, {"192.0.2.7:2", turnWait, 421}, {"[::ffff:192.0.2.7]:3", turnWait, 421}, {"192.0.2.8:1", 0, 220},
			{"[2001:db8::1]:1", 0, 220}, {"[2001:db8::2]:1", turnWait, 421}, {"[2001:db8:0:1::1]:1", 0, 220},
		} {
			start := time.Now()
			c, r := l.connect(t, tt.addr)
			if after := time.Since(start); r.Code != tt.want || after != tt.after {
				t.Errorf("%s: %v after %v, want %d after %v", tt.addr, r, after, tt.want, tt.after)
			}
			first[tt.addr] = c
		}
		var line []*talker
		for range 10 {
			line = append(line, l.arrive(t, "192.0.2.7:4"))
			synctest.Wait()
		}
		if _, r := l.connect(t, "192.0.2.7:5"); r.Code != 421 || r.Status != "4.7.0" {
			t.Errorf("when ten wait: %v, want 421 4.7.0", r)
		}
		start, before := time.Now(), first["192.0.2.7:1"]
		for i, c := range line {
			if r := before.do("QUIT"); r.Code != 221 {
				t.Fatalf("QUIT: %v", r)
			}
			if r := c.read(); r.Code != 220 || time.Since(start) != 0 {
				t.Fatalf("number %d in line: %v after %v, want 220 at once", i+1, r, time.Since(start))
			}
			before = c
		}
	})
}

// Who waits for its turn is told when the server ends, and when its place goes to
// a client that need not wait (A81).
func TestTurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Clients, o.ClientsPerAddress = 4, 1
		s := New(o)
		l := servePipes(t, s, Relay)
		l.connect(t, "192.0.2.7:1")
		one, two := l.arrive(t, "192.0.2.7:2"), l.arrive(t, "192.0.2.7:3")
		for i, addr := range []string{"192.0.2.8:1", "192.0.2.9:1"} {
			if _, r := l.connect(t, addr); r.Code != 220 {
				t.Errorf("another client, number %d: %v", i+1, r)
			}
		}
		start := time.Now()
		if r := two.read(); r.Code != 421 || r.Status != "4.7.0" || time.Since(start) != 0 {
			t.Errorf("who came last: %v after %v, want 421 4.7.0 at once", r, time.Since(start))
		}
		go s.Shutdown(context.Background())
		if r := one.read(); r.Code != 421 || r.Status != "4.3.2" || time.Since(start) != 0 {
			t.Errorf("at the end: %v after %v, want 421 4.3.2 at once", r, time.Since(start))
		}
	})
}

// TestClientsWithoutLimit: more sessions than the default are served where there
// is no limit, from one address too.
func TestClientsWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Clients = -1
		l := servePipes(t, New(o), Relay)
		for i := range defaultClients + 5 {
			if _, r := l.connect(t, fmt.Sprintf("192.0.2.1:%d", i+1)); r.Code != 220 {
				t.Fatalf("session %d: %v", i+1, r)
			}
		}
	})
}

// TestClients has the limit on all sessions of port 25, and that a refused
// client who doesn't read holds up nobody (B17).
func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Clients = 2
		l := servePipes(t, New(o), Relay)
		a, _ := l.connect(t, "192.0.2.1:1")
		b, _ := l.connect(t, "192.0.2.8:1")
		l.connect(t, "127.0.0.1:1")
		for range 2 * maxRefusers { // none of them reads
			_, server := net.Pipe()
			l.conns <- addrConn{server, from("192.0.2.9:1")}
		}
		for range 2 { // who is silent for longer than that would lose their place
			<-time.After(refuseWait / 2)
			a.do("NOOP")
			b.do("NOOP")
		}
		synctest.Wait()
		if _, r := l.connect(t, "192.0.2.2:1"); r.Code != 421 || r.Status != "4.3.2" {
			t.Errorf("third: %v", r)
		}
		a.do("QUIT")
		synctest.Wait()
		if _, r := l.connect(t, "192.0.2.2:1"); r.Code != 220 {
			t.Errorf("after QUIT: %v", r)
		}
	})
}

// TestLoad refuses while the load is too high, programs of this machine never.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load, loadErr := 5.0, error(nil)
		o := options(&memQueue{})
		o.Load = 4
		o.LoadAverage = func() (float64, error) { return load, loadErr }
		s := New(o)
		l, programs := servePipes(t, s, Relay), servePipes(t, s, Local)
		if _, r := l.connect(t, strangerAddr); r.Code != 421 || r.Status != "4.3.2" {
			t.Errorf("at load 5: %v", r)
		}
		if _, r := programs.connect(t, strangerAddr); r.Code != 220 {
			t.Errorf("a program at load 5: %v", r)
		}
		load = 3
		<-time.After(6 * time.Second)
		if _, r := l.connect(t, strangerAddr); r.Code != 220 {
			t.Errorf("at load 3: %v", r)
		}
		loadErr = errors.New("no /proc")
		<-time.After(6 * time.Second)
		if _, r := l.connect(t, strangerAddr); r.Code != 220 {
			t.Errorf("at an unknown load: %v", r)
		}
	})
}

// TestLoadAverage reads the kernel's.
func TestLoadAverage(t *testing.T) {
	if load, err := places.Average(); err != nil || load < 0 {
		t.Errorf("%v, %v", load, err)
	}
}

// TestPeer has the user of a unix socket's other end.
func TestPeer(t *testing.T) {
	q := &memQueue{}
	o := options(q)
	o.Account = func(uid int) (string, string, error) {
		if uid != os.Getuid() {
			t.Errorf("asked for uid %d", uid)
		}
		return "", "", nil
	}
	path := filepath.Join(t.TempDir(), "submission")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	end := make(chan error, 1)
	go func() { end <- s.Serve(context.Background(), l, Local) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := &talker{t: t, conn: conn, r: newReader(conn)}
	c.want(220)
	c.envelope("joe", "bob")
	c.do("\r\n.")
	c.do("QUIT")
	conn.Close()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-end
	want := Client{Kind: Local, Local: true, Trusted: true, UID: os.Getuid(),
		User: fmt.Sprintf("uid-%d", os.Getuid()), Hello: "client.example", ESMTP: true}
	got := q.messages()
	if len(got) == 1 {
		want.Session = got[0].Client.Session
	}
	if len(got) != 1 || got[0].Client != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestCommandsWithoutMessage has the limit of A14, and that a message lifts it.
func TestCommandsWithoutMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, New(options(&memQueue{})))
		for range 90 {
			c.do("NOOP")
		}
		c.envelope("s@client.example", "alice@us.example")
		c.do(".")
		for i := range maxCommands {
			if r := c.do("NOOP"); r.Code != 250 {
				t.Fatalf("NOOP %d: %v", i, r)
			}
		}
		c.want421("NOOP")
	})
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, New(options(&memQueue{})))
		for i := range 150 {
			r := c.do("XYZZY")
			if i < defaultErrors && r.Code != 500 || i == defaultErrors && r.Code != 421 {
				t.Fatalf("XYZZY %d: %v", i, r)
			}
			if i == defaultErrors {
				return
			}
		}
	})
	synctest.Test(t, func(t *testing.T) { // QUIT is answered even then
		c := dial(t, New(options(&memQueue{})))
		for range maxCommands {
			c.do("NOOP")
		}
		if r := c.do("QUIT"); r.Code != 221 {
			t.Errorf("QUIT: %v", r)
		}
	})
}

func (c *talker) want421(line string) {
	c.t.Helper()
	if r := c.do(line); r.Code != 421 {
		c.t.Errorf("%s: %v, want 421", line, r)
	}
	if r := c.read(); !r.IsZero() {
		c.t.Errorf("then %v", r)
	}
}

// TestManyNoops pipelines 500 over TCP: all answered up to the 421, and the
// reset that the unread rest would cause costs no reply (A14).
func TestManyNoops(t *testing.T) {
	addr, stop := listen(t, New(options(&memQueue{})), Relay)
	defer stop()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, strings.Repeat("NOOP\r\n", 50_000))
	all, err := io.ReadAll(conn)
	lines := strings.SplitAfter(string(all), "\r\n")
	if err != nil || len(lines) != 1+maxCommands+2 || !strings.HasPrefix(lines[len(lines)-2], "421 ") {
		t.Errorf("%d lines, the last %q, %v", len(lines), lines[max(0, len(lines)-2):], err)
	}
}

// TestEndlessLine sends 32 MiB without a line end over TCP (A10).
func TestEndlessLine(t *testing.T) {
	addr, stop := listen(t, New(options(&memQueue{})), Relay)
	defer stop()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		block := strings.Repeat("a", 64<<10)
		for range 512 {
			if _, err := io.WriteString(conn, block); err != nil {
				return
			}
		}
	}()
	all, _ := io.ReadAll(conn)
	runtime.ReadMemStats(&after)
	if lines := strings.Split(string(all), "\r\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "421 ") {
		t.Errorf("got %q", lines)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("%d octets allocated", grown)
	}
}

// TestRoomForSize: what there is no room for, by its client's own word, is refused
// before any of it is read.
func TestRoomForSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{spare: func() int64 { return 2000 }}) // half of it for one message
		o.Size = 0
		c := dialFrom(t, New(o), Relay, "127.0.0.1:1")
		c.do("EHLO x")
		for said, want := range map[string]int{"": 250, " SIZE=0": 250, " SIZE=1000": 250, " SIZE=1001": 452, " SIZE=18446744073709551616": 452} {
			if r := c.do("MAIL FROM:<joe>" + said); r.Code != want {
				t.Errorf("%q: %v, want %d", said, r, want)
			}
			c.do("RSET")
		}
	})
}

// TestManyRecipients sends 10,000 (A74): 1,000 are taken, the others may come
// in another message, and the transaction goes on.
func TestManyRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		c := dialFrom(t, New(options(q)), Relay, "127.0.0.1:1")
		c.do("EHLO x")
		c.do("MAIL FROM:<joe>")
		for i := range 10_000 {
			want := 250
			if i >= maxRecipients {
				want = 452
			}
			if r := c.do(fmt.Sprintf("RCPT TO:<user%d@far.example>", i)); r.Code != want {
				t.Fatalf("recipient %d: %v, want %d", i, r, want)
			}
		}
		c.do("DATA")
		if r := c.do("."); r.Code != 250 || len(q.messages()[0].To) != maxRecipients {
			t.Errorf("%v, %d recipients", r, len(q.messages()[0].To))
		}
	})
}

// TestManyLocalRecipients: a program of this machine has no such limit, within
// what all of them together may hold in memory, and gets that back.
func TestManyLocalRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		s := New(options(q))
		const n = 5 * maxRecipients
		for range 2 {
			c := dialFrom(t, s, Local, "127.0.0.1:1")
			c.do("EHLO x")
			c.do("MAIL FROM:<joe>")
			for i := range n {
				if r := c.do(fmt.Sprintf("RCPT TO:<user%d@far.example>", i)); r.Code != 250 {
					t.Fatalf("recipient %d: %v", i, r)
				}
			}
			c.do("DATA")
			if r := c.do("."); r.Code != 250 || len(q.messages()[0].To) != n {
				t.Errorf("%v, %d recipients", r, len(q.messages()[0].To))
			}
			c.do("QUIT")
		}
		synctest.Wait()
		if s.places.Lists.Held() != 0 {
			t.Errorf("%d octets are still counted", s.places.Lists.Held())
		}
		s.places.Lists.Take(places.MaxLists)
		c := dialFrom(t, s, Local, "127.0.0.1:1")
		c.do("EHLO x")
		c.do("MAIL FROM:<joe>")
		for i := range maxRecipients + 1 {
			want := 250
			if i == maxRecipients {
				want = 421 // none of them is sent
			}
			if r := c.do(fmt.Sprintf("RCPT TO:<user%d@far.example>", i)); r.Code != want {
				t.Fatalf("recipient %d: %v, want %d", i, r, want)
			}
		}
	})
}

// TestRecipientsForEver has an end to that, and to recipients that are put off.
func TestRecipientsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, New(options(&memQueue{})))
		c.do("EHLO x")
		c.do("MAIL FROM:<a@b.example>")
		for i := range 2 * maxSurplus {
			r := c.do("RCPT TO:<v@slow.example>")
			if r.Code == 421 {
				if i != maxSurplus {
					t.Errorf("421 after %d", i)
				}
				return
			}
		}
		t.Error("no end")
	})
}

// held reads a session's live memory at some point of it.
func held(t *testing.T) int {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// TestSessionMemory weighs a session in the middle of what grows it (A74).
func TestSessionMemory(t *testing.T) {
	const limit = 256 << 10
	full := "MAIL FROM:<joe>\r\n"
	domain := strings.Repeat("d", 60) + "." + strings.Repeat("e", 60) + "." + strings.Repeat("f", 60) + ".example"
	for i := range 2 * maxRecipients {
		full += fmt.Sprintf("RCPT TO:<%s%04d@%s>\r\n", strings.Repeat("u", 30), i, domain)
	}
	start := "MAIL FROM:<joe>\r\nRCPT TO:<bob@far.example>\r\nDATA\r\n"
	for _, tt := range []struct{ name, text string }{
		{"2,000 recipients of 250 octets", full},
		{"a line of 64 KiB", strings.Repeat("a", 64<<10)},
		{"100,000 header lines", start + strings.Repeat("X-Header: y\r\n", 100_000)},
		{"one address field of 1 MB", start + "To: " + strings.Repeat("a,", 500_000)},
		{"an address field of 64 KiB", start + "To: " + strings.Repeat("a,", 30_000) + "\r\nCc: x"},
		{"a message of 64 MB", start + "\r\n" + strings.Repeat("0123456789abcdef", 4<<20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, end := peerOf(New(options(discardQueue{})), Relay, "127.0.0.1:1")
			go io.Copy(io.Discard, conn)
			text := "EHLO x\r\n" + tt.text
			before := held(t)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			grown := held(t) - before
			runtime.KeepAlive(text)
			t.Logf("%d octets", grown)
			if grown > limit {
				t.Errorf("the session holds %d octets, at most %d are allowed", grown, limit)
			}
			conn.Close()
			<-end
		})
	}
}
