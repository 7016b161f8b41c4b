package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/wire"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// TestMain checks that all tests together leave nothing running.
func TestMain(m *testing.M) {
	if os.Getenv(childServer) != "" {
		serveStarved()
		return
	}
	files := testenv.Descriptors()
	code := m.Run()
	if n := waitGoroutines(2); code == 0 && n > 2 {
		os.Stderr.WriteString("goroutines are left behind\n")
		code = 1
	}
	if n := testenv.Descriptors(); code == 0 && n > files+4 { // the poller's own
		os.Stderr.WriteString("descriptors are left open\n")
		code = 1
	}
	os.Exit(code)
}

// waitGoroutines waits until at most want goroutines are left, and returns how many
// there are.
func waitGoroutines(want int) int {
	testenv.Eventually(func() bool { return runtime.NumGoroutine() <= want })
	return runtime.NumGoroutine()
}

// TestShutdownWaiting has sessions that wait for a command or in the middle of
// a line get 421 at once (B15).
func TestShutdownWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(&memQueue{}))
		idle, halfway := dial(t, s), dial(t, s)
		halfway.send("NOO")
		synctest.Wait()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		for _, c := range []*talker{idle, halfway} {
			if r := c.read(); r.Code != 421 || r.Status != "4.3.2" {
				t.Errorf("got %v, want 421 4.3.2", r)
			}
			if r := c.read(); !r.IsZero() {
				t.Errorf("then %v", r)
			}
		}
		if err := <-done; err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := s.ServeConn(context.Background(), addrConn{nopConn(), from(strangerAddr)}, Relay); err != wire.ErrStopped {
			t.Errorf("a session after the end: %v", err)
		}
	})
}

// nopConn is a connection whose other end is closed.
func nopConn() net.Conn {
	a, b := net.Pipe()
	b.Close()
	return a
}

// TestShutdownReceiving gives a message on its way ten seconds.
func TestShutdownReceiving(t *testing.T) {
	for _, inTime := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			q := &memQueue{}
			s := New(options(q))
			c := dial(t, s)
			c.envelope("s@client.example", "alice@us.example")
			c.send("Subject: x\r\n")
			synctest.Wait()
			done := make(chan error, 1)
			start := time.Now()
			go func() { done <- s.Shutdown(context.Background()) }()
			if inTime {
				<-time.After(9 * time.Second)
				c.send("\r\nbody\r\n.\r\n")
				c.want(250)
			}
			if r := c.read(); r.Code != 421 {
				t.Errorf("got %v, want 421", r)
			}
			if err := <-done; err != nil || time.Since(start) > shutdownGrace {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			if got := len(q.messages()); (got == 1) != inTime || q.unfinished() > 0 {
				t.Errorf("in time %v: %d stored, %d left open", inTime, got, q.unfinished())
			}
		})
	}
}

// TestShutdownCommitting waits for a commit that has begun, and for no more
// than 20 s.
func TestShutdownCommitting(t *testing.T) {
	for _, tt := range []struct {
		takes time.Duration
		want  error
	}{{15 * time.Second, nil}, {time.Minute, context.DeadlineExceeded}} {
		synctest.Test(t, func(t *testing.T) {
			q := &memQueue{committing: func(ctx context.Context) {
				select {
				case <-time.After(tt.takes):
				case <-ctx.Done():
					t.Error("the commit was told to stop")
				}
			}}
			s := New(options(q))
			c := dial(t, s)
			c.envelope("s@client.example", "alice@us.example")
			c.send("Subject: x\r\n\r\n.\r\n")
			synctest.Wait()
			if err := s.Shutdown(context.Background()); err != tt.want {
				t.Errorf("Shutdown: %v, want %v", err, tt.want)
			}
			<-time.After(tt.takes)
			synctest.Wait()
			if len(q.messages()) != 1 {
				t.Error("the message was lost")
			}
		})
	}
}

// TestShutdownUnread ends a session whose client doesn't read its replies.
func TestShutdownUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(&memQueue{}))
		c := dial(t, s)
		c.send("NOOP\r\n")
		synctest.Wait() // the server is writing
		start := time.Now()
		if err := s.Shutdown(context.Background()); err != nil || time.Since(start) > shutdownWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestContextEndsSession has ServeConn's context end its session, as it ends when
// the process of a super-server's session gets a signal.
func TestContextEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		client, server := net.Pipe()
		end := make(chan error, 1)
		go func() { end <- New(options(&memQueue{})).ServeConn(ctx, server, Local) }()
		c := &talker{t: t, conn: client, r: newReader(client)}
		c.want(220)
		cancel()
		c.want(421)
		if err := <-end; err != wire.ErrStopped {
			t.Errorf("got %v", err)
		}
	})
}

// TestHowASessionEnds has what ServeConn says of the end, for the log. The exit
// code of sendmail -bs is the business of its own end of the connection.
func TestHowASessionEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(c *talker)
		want error
	}{
		{"QUIT", func(c *talker) { c.do("QUIT") }, nil},
		{"end of file", func(c *talker) { c.conn.Close() }, io.EOF},
		{"nothing", func(c *talker) { c.want(421) }, wire.ErrTimeout},
		{"HTTP", func(c *talker) { c.do("GET / HTTP/1.0") }, ErrRefused},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, end := peerOf(New(options(&memQueue{})), Relay, strangerAddr)
			c := &talker{t: t, conn: conn, r: newReader(conn)}
			c.want(220)
			tt.act(c)
			if err := <-end; err != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			conn.Close()
		})
	}
}

// TestInputEnds has a program's input end: in the middle of a message it is told
// that nothing was taken, which makes sendmail -bs end with 1; else that is a
// way to say good-bye.
func TestInputEnds(t *testing.T) {
	for _, tt := range []struct {
		name, send string
		want       []int // the replies
	}{
		{"at once", "", []int{220}},
		{"behind EHLO", "EHLO x\r\n", []int{220, 250}},
		{"behind MAIL", "MAIL FROM:<alice>\r\n", []int{220, 250, 421}},
		{"in the middle of a line", "MAIL FROM:<alice>\r\nRCPT TO", []int{220, 250, 421}},
		{"in the data", "MAIL FROM:<alice>\r\nRCPT TO:<bob>\r\nDATA\r\nhello\r\n", []int{220, 250, 250, 354, 421}},
		{"behind the message", "MAIL FROM:<alice>\r\nRCPT TO:<bob>\r\nDATA\r\nhello\r\n.\r\n", []int{220, 250, 250, 354, 250}},
		{"behind QUIT", "QUIT\r\n", []int{220, 221}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			client, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.AcceptUnix()
			if err != nil {
				t.Fatal(err)
			}
			end := make(chan error, 1)
			go func() {
				end <- New(options(&memQueue{})).ServeConn(t.Context(), server, Local)
			}()
			if strings.HasPrefix(tt.send, "MAIL") {
				tt.send = "HELO x\r\n" + tt.send
				tt.want = slices.Insert(tt.want, 1, 250)
			}
			io.WriteString(client, tt.send)
			client.CloseWrite()
			var got []int
			c := &talker{t: t, conn: client, r: newReader(client)}
			for r := c.read(); !r.IsZero(); r = c.read() {
				got = append(got, r.Code)
			}
			<-end
			if !slices.Equal(got, tt.want) {
				t.Errorf("replies %v, want %v", got, tt.want)
			}
		})
	}
}

// TestPanic has each of the calls to the outside panic: that session gets 421,
// the log where it was, and the next session is served (A75).
func TestPanic(t *testing.T) {
	for _, at := range []string{"sender", "recipient", "room", "begin", "commit"} {
		synctest.Test(t, func(t *testing.T) {
			lines := &testenv.Log{}
			q := &memQueue{}
			o := options(panicQueue{q, at})
			o.Checker = func(c *Client) Checker { return panicChecker{domains(c), at} }
			o.Crash = false
			o.Log = lines.Logger()
			s := New(o)
			c := dial(t, s)
			c.do("EHLO client.example")
			c.send("MAIL FROM:<s@client.example>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\n")
			var r smtp.Reply
			for r.Code != 421 {
				if r = c.read(); r.Code == 354 {
					c.send("Subject: x\r\n\r\n.\r\n")
				}
				if r.IsZero() {
					t.Fatalf("%s: no 421", at)
				}
			}
			if q.unfinished() > 0 {
				t.Errorf("%s: a message is left open", at)
			}
			if log := lines.String(); !strings.Contains(log, "panic: at "+at) || !strings.Contains(log, "smtpd.panicAt") {
				t.Errorf("%s: log\n%s", at, log)
			}
			dial(t, s).do("NOOP")
		})
	}
}

// TestPanicGivesPlaceBack has a panic before the greeting: the address may come
// again.
func TestPanicGivesPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Crash = false
		o.ClientsPerAddress = 1
		o.ClientName = func(context.Context, netip.Addr) (string, Naming) { panic("no name") }
		s := New(o)
		l := servePipes(t, s, Relay)
		for range 3 {
			c, r := l.connect(t, strangerAddr)
			if r.Code != 421 || r.Status != "4.3.0" {
				t.Errorf("got %v, want 421 4.3.0", r)
			}
			c.conn.Close()
			synctest.Wait()
		}
	})
}

type panicQueue struct {
	*memQueue
	at string
}

func panicAt(at, here string) {
	if at == here {
		panic("at " + at)
	}
}

func (q panicQueue) Room(ctx context.Context) (peer.Amount, error) {
	panicAt(q.at, "room")
	return q.memQueue.Room(ctx)
}

func (q panicQueue) Begin(ctx context.Context, t *Transaction) (Incoming, error) {
	panicAt(q.at, "begin")
	q.committing = func(context.Context) { panicAt(q.at, "commit") }
	return q.memQueue.Begin(ctx, t)
}

type panicChecker struct {
	Checker
	at string
}

func (p panicChecker) Mail(ctx context.Context, t *Transaction) Verdict {
	panicAt(p.at, "sender")
	return p.Checker.Mail(ctx, t)
}

func (p panicChecker) Rcpt(ctx context.Context, t *Transaction, to smtp.Path) Verdict {
	panicAt(p.at, "recipient")
	return p.Checker.Rcpt(ctx, t, to)
}

// scriptedListener gives out errors and connections in order, then blocks
// until it is closed.
type scriptedListener struct {
	script chan any // error or net.Conn
	closed chan struct{}
}

func newScriptedListener(script ...any) *scriptedListener {
	l := &scriptedListener{script: make(chan any, len(script)), closed: make(chan struct{})}
	for _, s := range script {
		l.script <- s
	}
	return l
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	select {
	case s := <-l.script:
		if err, ok := s.(error); ok {
			return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
		}
		return s.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *scriptedListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *scriptedListener) Addr() net.Addr { return from("127.0.0.1:25") }

// TestAcceptErrors has errors that pass (A73, B19) and those that end Serve
// with a *ListenerError (R53).
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &testenv.Log{}
		o := options(&memQueue{})
		o.Log = lines.Logger()
		client, server := net.Pipe()
		l := newScriptedListener(syscall.EMFILE, syscall.EMFILE, syscall.ENFILE, syscall.EMFILE, syscall.ENOBUFS, syscall.EMFILE,
			syscall.ECONNABORTED, syscall.EPROTO, addrConn{server, from(strangerAddr)}, syscall.EMFILE, syscall.EINVAL)
		start := time.Now()
		err := New(o).Serve(context.Background(), l, Relay)
		var broken *ListenerError
		if !errors.As(err, &broken) || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("got %v, want a ListenerError with EINVAL", err)
		}
		if d := time.Since(start); d < 3*time.Second || d > 5*time.Second {
			t.Errorf("all this took %v", d)
		}
		if n := strings.Count(lines.String(), "accepting paused"); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, lines)
		}
		c := &talker{t: t, conn: client, r: newReader(client)}
		c.want(220) // sessions outlive the listener
		c.do("QUIT")
	})
}

// TestBrokenListener has a listening socket shut down under the server.
func TestBrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- New(options(&memQueue{})).Serve(context.Background(), l, Relay) }()
	raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_RD) })
	if err != nil {
		t.Fatal(err)
	}
	var broken *ListenerError
	if err := <-end; !errors.As(err, &broken) {
		t.Errorf("got %v, want a ListenerError", err)
	}
}

// TestServeEnds has Serve return nil when its context ends, with the listener
// closed.
func TestServeEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	l := newScriptedListener()
	end := make(chan error, 1)
	s := New(options(&memQueue{}))
	go func() { end <- s.Serve(ctx, l, Local) }()
	cancel()
	if err := <-end; err != nil {
		t.Errorf("got %v", err)
	}
	<-l.closed
	s.Shutdown(context.Background())
	if err := s.Serve(context.Background(), newScriptedListener(), Relay); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// TestAbortedSessions aborts a thousand sessions at every stage; nothing stays
// (A75).
func TestAbortedSessions(t *testing.T) {
	q := &memQueue{}
	o := options(q)
	o.Clients = 10_000
	addr, stop := listen(t, New(o), Relay)
	stages := []string{"", "EHLO x\r\n", "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\n",
		"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\nSubject: x\r\n\r\n", "NOO"}
	before := runtime.NumGoroutine()
	for i := range 1000 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(stages[i%len(stages)]))
		if i%3 == 0 {
			conn.(*net.TCPConn).SetLinger(0) // a reset
		}
		conn.Close()
	}
	last, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.Read(make([]byte, 1)); err != nil { // it was accepted behind them
		t.Fatal(err)
	}
	last.Close()
	if n := waitGoroutines(before); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if q.unfinished() > 0 || len(q.messages()) > 0 {
		t.Errorf("%d left open, %d stored", q.unfinished(), len(q.messages()))
	}
	stop()
}

// TestReload has new settings for new sessions.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		s := New(o)
		old := dial(t, s)
		o.Hostname = "new.example"
		s.Reload(o)
		for _, tt := range []struct {
			c    *talker
			want string
		}{{old, "us.example"}, {dial(t, s), "new.example"}} {
			if r := tt.c.do("EHLO x"); !strings.HasPrefix(r.Text, tt.want) {
				t.Errorf("got %v, want %s", r, tt.want)
			}
		}
	})
}

// TestNoPolicy relays for nobody but those who are trusted.
func TestNoPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Queue: &memQueue{}, Crash: true})
		for addr, want := range map[string]int{strangerAddr: 550, "127.0.0.1:9": 250} {
			c := dialFrom(t, s, Relay, addr)
			c.do("EHLO x")
			c.do("MAIL FROM:<a@b.example>")
			if r := c.do("RCPT TO:<v@far.example>"); r.Code != want {
				t.Errorf("%s: %v, want %d", addr, r, want)
			}
		}
	})
}

// TestNames has sessions' names in the log: all different, in order.
func TestNames(t *testing.T) {
	s := New(Options{})
	last := ""
	for range 1000 {
		id := s.newID()
		if id <= last {
			t.Fatalf("%q after %q", id, last)
		}
		last = id
	}
}

// TestSlowName goes on without a name that doesn't come.
func TestSlowName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.ClientName = func(ctx context.Context, _ netip.Addr) (string, Naming) {
			<-ctx.Done()
			return "", Uncertain
		}
		start := time.Now()
		dial(t, New(o))
		if d := time.Since(start); d != nameWait {
			t.Errorf("greeted after %v", d)
		}
	})
}
