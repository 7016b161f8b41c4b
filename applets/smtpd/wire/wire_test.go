package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

const long = time.Minute // a Timeout that no test waits for but with synctest

// pipe is a Conn and the client at its other end, over a pipe without descriptors.
func pipe(timeout time.Duration) (w *Conn, client net.Conn) {
	ours, client := net.Pipe()
	w = new(Conn)
	w.Init(ours, timeout)
	return w, client
}

// sockets is the same over TCP.
func sockets(t *testing.T) (w *Conn, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); ours.Close() })
	w = new(Conn)
	w.Init(ours, long)
	return w, c.(*net.TCPConn)
}

// Lines come out whole, however they come in and whatever they are read over.
func TestReadLine(t *testing.T) {
	tooLong := strings.Repeat("x", MaxLine)
	for _, tt := range []struct {
		sent   string
		strict bool
		want   []string // of an error behind "!"
	}{
		{"EHLO x\r\nQUIT\r\n", false, []string{"EHLO x", "QUIT", "!EOF"}},
		{"one\ntwo\r\n\r\n\n", false, []string{"one", "two", "", "", "!EOF"}},
		{"one\ntwo\r\nthree\n", true, []string{"one\ntwo", "!EOF"}},
		{"a\rb\r\r\nc", false, []string{"a\rb\r", "!EOF"}},
		{tooLong[:MaxLine-2] + "\r\n", false, []string{tooLong[:MaxLine-2], "!EOF"}},
		{tooLong + "\r\nQUIT\r\n", false, []string{"!command line too long " + tooLong[:lineStart], "QUIT", "!EOF"}},
		{tooLong + "\n\r\nQUIT\r\n", true, []string{"!command line too long " + tooLong[:lineStart], "QUIT", "!EOF"}},
		{strings.Repeat("y", maxSkip+inSize), false, []string{"!command line without an end "}},
	} {
		for name, w := range map[string]func(t *testing.T) (*Conn, net.Conn){
			"pipe":   func(*testing.T) (*Conn, net.Conn) { return pipe(long) },
			"socket": func(t *testing.T) (*Conn, net.Conn) { w, c := sockets(t); return w, c },
		} {
			for _, pieces := range []int{1, 7, len(tt.sent)} {
				if pieces == 1 && len(tt.sent) > 2*MaxLine {
					continue // octet by octet takes its time
				}
				w, client := w(t)
				go func() {
					defer client.Close()
					for s := tt.sent; s != ""; s = s[min(pieces, len(s)):] {
						if _, err := io.WriteString(client, s[:min(pieces, len(s))]); err != nil {
							return
						}
					}
				}()
				for _, want := range tt.want {
					line, err := w.ReadLine(tt.strict, long, MaxLine, nil)
					got := string(line)
					if err != nil {
						got = "!" + err.Error() + " " + got
					}
					if strings.TrimSpace(got) != strings.TrimSpace(want) {
						t.Errorf("%.20q by %d over %s: got %.60q, want %.60q", tt.sent, pieces, name, got, want)
						break
					}
				}
				w.Close(false)
			}
		}
	}
}

// The start of a line is shown before its end has come, and what is said of it ends the
// reading.
func TestBegin(t *testing.T) {
	w, client := pipe(long)
	defer client.Close()
	go io.WriteString(client, "GET / HT")
	bad := errors.New("that is another protocol")
	if _, err := w.ReadLine(false, long, MaxLine, func(b []byte) error {
		if !bytes.HasPrefix([]byte("GET / HT"), b) {
			t.Errorf("shown %q", b)
		}
		return bad
	}); err != bad {
		t.Errorf("%v, want %v", err, bad)
	}
}

// A command has its time as a whole, also where it comes octet by octet; a message a
// thousand octets a minute, no pause longer than Timeout, and four hours; a session that
// ends none any more.
func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		piece   int           // octets
		every   time.Duration // between them
		message bool
		crowded bool
		want    error
		after   time.Duration
	}{
		{"a silent client", 0, 0, false, false, ErrTimeout, 5 * time.Minute},
		{"a command octet by octet", 1, time.Second, false, false, ErrTimeout, 5 * time.Minute},
		{"the same where places are few", 1, time.Second, false, true, ErrTimeout, StrangerWait},
		{"a pause in a message", 0, 0, true, false, ErrTimeout, time.Minute},
		{"a slow message", 400, 31 * time.Second, true, false, ErrTimeout, 6 * time.Minute},
		{"one that is fast enough, for ever", 1000, 20 * time.Second, true, false, ErrTimeout, dataWait},
		{"a slow one where places are few", 500, time.Second, true, true, ErrTimeout, 2 * StrangerWait},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, client := pipe(time.Minute)
			if tt.crowded {
				w.Crowded, w.Paced = func() bool { return true }, true
			}
			over := make(chan struct{})
			go func() {
				defer close(over)
				for tt.piece > 0 {
					if _, err := client.Write(bytes.Repeat([]byte("x"), tt.piece)); err != nil {
						return
					}
					time.Sleep(tt.every)
				}
			}()
			start := time.Now()
			var err error
			if tt.message {
				w.StartData()
				_, err = io.Copy(io.Discard, w.Reader())
				w.EndData()
			} else {
				_, err = w.ReadLine(false, 5*time.Minute, MaxLine, nil)
			}
			if d := time.Since(start); !errors.Is(err, tt.want) || d < tt.after || d > tt.after+time.Minute {
				t.Errorf("%s: %v after %v, want %v after %v", tt.name, err, d, tt.want, tt.after)
			}
			w.Close(false)
			client.Close()
			<-over
		})
	}
}

// What there is no room for has to come fast.
func TestLoseData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client := pipe(time.Hour)
		go client.Write([]byte("x"))
		w.StartData()
		if _, err := w.Reader().ReadByte(); err != nil || w.Lost() {
			t.Fatal(err, w.Lost())
		}
		w.LoseData()
		start := time.Now()
		if _, err := w.Reader().ReadByte(); !errors.Is(err, ErrTimeout) || time.Since(start) != lostWait || !w.Lost() {
			t.Errorf("%v after %v, want %v after %v", err, time.Since(start), ErrTimeout, lostWait)
		}
		if w.StartData(); w.Lost() {
			t.Error("the next message is lost too")
		}
		client.Close()
	})
}

// Stop wakes who waits for a command at once, gives a message its time, and lets the last
// reply out.
func TestStop(t *testing.T) {
	for _, message := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, client := pipe(time.Hour)
			start := time.Now()
			go func() {
				time.Sleep(time.Second)
				w.Stop(time.Now().Add(10 * time.Second))
			}()
			var err error
			want := time.Second
			if message {
				w.StartData()
				want += 10 * time.Second
				_, err = w.Reader().ReadByte()
				w.EndData()
			} else {
				_, err = w.ReadLine(false, time.Hour, MaxLine, nil)
			}
			if d := time.Since(start); !errors.Is(err, ErrStopped) || d != want {
				t.Errorf("message %v: %v after %v, want %v after %v", message, err, d, ErrStopped, want)
			}
			w.Put(smtp.Reply{Code: 421, Text: "bye"})
			go w.Flush()
			reply := make([]byte, len("421 bye\r\n"))
			if _, err := io.ReadFull(client, reply); err != nil || string(reply) != "421 bye\r\n" {
				t.Errorf("the last reply is %q, %v", reply, err)
			}
			if err := w.ReadBy(time.Now().Add(time.Hour)); err != ErrStopped {
				t.Errorf("ReadBy: %v, want %v", err, ErrStopped)
			}
			client.Close()
		})
	}
}

// Replies wait until something is read for which the client may wait, and a client that
// doesn't read them is given up.
func TestReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client := pipe(time.Minute)
		w.Put(smtp.Reply{Code: 250, Text: "one"})
		w.Put(smtp.Reply{Code: 250, Text: "two"})
		done := make(chan string, 1)
		go func() {
			b := make([]byte, 100)
			n, _ := client.Read(b)
			done <- string(b[:n])
			io.WriteString(client, "NOOP\r\n")
		}()
		if line, err := w.ReadLine(false, long, MaxLine, nil); string(line) != "NOOP" || err != nil {
			t.Errorf("%q, %v", line, err)
		}
		if got := <-done; got != "250 one\r\n250 two\r\n" {
			t.Errorf("the client got %q at once", got)
		}
		w.Put(smtp.Reply{Code: 250, Text: "three"})
		start := time.Now()
		if err := w.Flush(); err == nil || time.Since(start) != time.Minute {
			t.Errorf("nobody reads: %v after %v", err, time.Since(start))
		}
		if err := w.Flush(); err == nil {
			t.Error("an error of writing is final")
		}
		client.Close()
	})
}

// Nothing is held while nothing waits, and what a session sees of a client that has gone.
func TestRest(t *testing.T) {
	w, client := sockets(t)
	w.Put(smtp.Reply{Code: 250, Text: "ok"})
	if w.buffers == nil {
		t.Fatal("a reply that waits is in no buffer")
	}
	if w.Rest(); w.buffers != nil || w.Waiting() != 0 {
		t.Error("a buffer is held without need")
	}
	reply := make([]byte, len("250 ok\r\n"))
	if _, err := io.ReadFull(client, reply); err != nil || string(reply) != "250 ok\r\n" {
		t.Errorf("%q, %v", reply, err)
	}
	io.WriteString(client, "NOOP\r\n")
	arrived(t, w)
	if w.raw.Control(func(fd uintptr) {
		if hungUp(fd) {
			t.Error("gone before it went")
		}
	}) != nil {
		t.Error("no descriptor")
	}
	gone, end := w.Hangup()
	client.CloseWrite() // octets that nobody reads hide nothing
	<-gone
	end()
	if line, err := w.ReadLine(false, long, MaxLine, nil); err != nil || string(line) != "NOOP" || w.Received() != 6 {
		t.Errorf("%q, %v, %d octets: what came before it went is lost", line, err, w.Received())
	}
	none, end := func() (<-chan struct{}, func()) { w, _ := pipe(long); return w.Hangup() }()
	if end(); none != nil {
		t.Error("a connection without a descriptor can't show it")
	}
}

// arrived waits until octets of the client's can be read.
func arrived(t *testing.T, w *Conn) {
	t.Helper()
	err := w.raw.Control(func(fd uintptr) {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
			t.Errorf("nothing came: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Close lets the client read the last reply, although it has sent what nobody read.
func TestLinger(t *testing.T) {
	w, client := sockets(t)
	if _, err := client.Write(bytes.Repeat([]byte("x"), 100_000)); err != nil {
		t.Fatal(err)
	}
	w.Put(smtp.Reply{Code: 421, Text: "bye"})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	go w.Close(true)
	if got, err := io.ReadAll(client); string(got) != "421 bye\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for range 4 {
		if _, err := client.Write(bytes.Repeat([]byte("y"), 100_000)); err != nil {
			t.Errorf("the client could not go on: %v", err)
		}
	}
	client.Close()
}

// SendAway answers who is not greeted, and waits for nobody.
func TestSendAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client := pipe(time.Hour)
		start := time.Now()
		w.SendAway(smtp.Reply{Code: 421, Text: "busy"})
		if d := time.Since(start); d != refuseWait {
			t.Errorf("a client that doesn't read took %v, want %v", d, refuseWait)
		}
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("it is still open")
		}
	})
}

// Quiet waits for the end of a time, or for who speaks before it.
func TestQuiet(t *testing.T) {
	for _, speaks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, client := pipe(long)
			if speaks {
				go io.WriteString(client, "EHLO x\r\n")
			}
			came, err := w.Quiet(time.Now().Add(5 * time.Second))
			if came != speaks || err != nil {
				t.Errorf("came %v, %v, want %v", came, err, speaks)
			}
			client.Close()
		})
	}
}

// A handshake has its time as a whole, and nothing follows one that failed in the clear.
func TestSecure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client := pipe(time.Hour)
		start := time.Now()
		_, err := w.Secure(&tls.Config{}, 30*time.Second)
		if d := time.Since(start); err != ErrTimeout || d != 30*time.Second {
			t.Errorf("a silent client: %v after %v", err, d)
		}
		w.Put(smtp.Reply{Code: 250, Text: "in the clear"})
		if err := w.Flush(); err != ErrTimeout {
			t.Errorf("a reply behind it: %v, want %v", err, ErrTimeout)
		}
		client.Close()
	})
}

// shy is a connection that writes what it is given up to a bound; the rest waits.
type shy struct {
	net.Conn
	rest []byte
	most int
}

func (s *shy) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	return len(p), s.pass(s.most)
}

func (s *shy) pass(n int) error {
	n = min(n, len(s.rest))
	_, err := s.Conn.Write(s.rest[:n])
	s.rest = s.rest[n:]
	return err
}

// Under TLS, too, who waits holds no buffer, and a look at a part of a record does no harm
// to it.
func TestLooksUnderTLS(t *testing.T) {
	w, conn := sockets(t)
	cert, roots := testenv.Certificate(t, "one.test")
	through := &shy{Conn: conn, most: 1 << 20}
	client := tls.Client(through, &tls.Config{RootCAs: roots, ServerName: "one.test"})
	shook := make(chan error, 1)
	go func() { shook <- client.Handshake() }()
	if _, err := w.Secure(&tls.Config{Certificates: []tls.Certificate{cert}}, long); err != nil {
		t.Fatal(err)
	}
	if err := <-shook; err != nil {
		t.Fatal(err)
	}

	if _, err := w.ReadLine(true, 50*time.Millisecond, MaxLine, nil); err != ErrTimeout {
		t.Errorf("nothing came: %v, want %v", err, ErrTimeout)
	}
	if w.buffers != nil {
		t.Error("a buffer is held")
	}
	client.Write([]byte("one\r\n"))
	client.Write([]byte("two\r\n"))
	through.most = 7
	client.Write([]byte("three\r\n"))
	for _, want := range []string{"one", "two"} {
		if got, err := w.ReadLine(true, long, MaxLine, nil); string(got) != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	for len(through.rest) > 0 { // octet by octet, and each time nothing is there yet
		if got, err := w.ReadLine(true, 5*time.Millisecond, MaxLine, nil); err != ErrTimeout {
			t.Fatalf("%q, %v, want %v", got, err, ErrTimeout)
		}
		if err := through.pass(1); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.ReadLine(true, long, MaxLine, nil); string(got) != "three" || err != nil {
		t.Errorf("%q, %v, want three", got, err)
	}
	through.most = 1 << 20
	client.Close()
	if _, err := w.ReadLine(true, long, MaxLine, nil); err != io.EOF {
		t.Errorf("the end: %v, want %v", err, io.EOF)
	}
}

// watched is the descriptor of a connection that calls look whenever it waits.
type watched struct {
	syscall.RawConn
	look func()
}

func (r watched) Read(f func(fd uintptr) bool) error {
	return r.RawConn.Read(func(fd uintptr) bool {
		done := f(fd)
		if !done {
			r.look()
		}
		return done
	})
}

// TestCloseHoldsNothing: while we wait for a client to leave, what it sends is dropped, and
// no buffer is held; who sends without an end is cut off.
func TestCloseHoldsNothing(t *testing.T) {
	for _, tt := range []struct {
		octets int
		cut    bool
	}{{0, false}, {100_000, false}, {64 << 20, true}} {
		w, theirs := sockets(t)
		waits := make(chan bool, 1)
		w.raw = watched{w.raw, func() {
			if w.buffers != nil {
				t.Error("it waits with a buffer")
			}
			select {
			case waits <- true:
			default:
			}
		}}
		w.borrow() // as behind a command
		ended := make(chan bool)
		go func() {
			w.Close(true)
			close(ended)
		}()
		if _, err := io.Copy(io.Discard, theirs); err != nil { // our end
			t.Fatal(err)
		}
		select {
		case <-waits:
		case <-ended:
			t.Errorf("%d octets: it did not wait for them", tt.octets)
		}
		_, err := theirs.Write(make([]byte, tt.octets))
		if (err != nil) != tt.cut {
			t.Errorf("%d octets: %v", tt.octets, err)
		}
		theirs.Close()
		<-ended
	}
}
