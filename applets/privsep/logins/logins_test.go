package logins

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/sasl"
	"postoffice/internal/testenv"
)

// pair are the two ends of a link.
func pair(t *testing.T) (server, process *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "link")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return ends[0], ends[1]
}

// source answers by what is said: "more" asks, "wait" waits for release, "yes", "no",
// "later" and "unknown" end.
type source struct {
	release chan struct{}

	mu     sync.Mutex
	began  []login.Client
	closed int
}

func (*source) Mechanisms() []login.Mechanism {
	return []login.Mechanism{{Name: "SCRAM-SHA-256", Some: true}, {Name: "PLAIN"}}
}

func (s *source) Begin(c login.Client, mechanism string) login.Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = append(s.began, c)
	return &attempt{s: s, mechanism: mechanism}
}

type attempt struct {
	s         *source
	mechanism string
}

func (a *attempt) Step(ctx context.Context, said []byte) ([]byte, login.Result) {
	switch string(said) {
	case "wait":
		select {
		case <-a.s.release:
		case <-ctx.Done():
		}
		return nil, login.Result{Answer: login.Yes, User: "late"}
	case "yes":
		return nil, login.Result{Answer: login.Yes, User: "alice by " + a.mechanism}
	case "no":
		return nil, login.Result{Answer: login.No, User: "alice", Err: errors.New("closed")}
	case "later":
		return nil, login.Result{Answer: login.Later, Err: errors.New(strings.Repeat("why ", 1000))}
	case "unknown":
		return nil, login.Result{Answer: login.Unknown}
	}
	if said == nil {
		return []byte("nothing said"), login.Result{}
	}
	return append([]byte("more than "), said...), login.Result{}
}

func (a *attempt) Close() {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.closed++
}

// linked is a client of a source over a link.
func linked(t *testing.T, s *source) *Client {
	t.Helper()
	ours, theirs := pair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(theirs, s) }()
	c, err := NewClient(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := <-served; err != nil {
			t.Errorf("the link ended with %v", err)
		}
	})
	return c
}

// TestLink: an exchange over a link is as one without it.
func TestLink(t *testing.T) {
	s := &source{release: make(chan struct{})}
	c := linked(t, s)
	if got := fmt.Sprint(c.Mechanisms()); got != "[{SCRAM-SHA-256 true} {PLAIN false}]" {
		t.Errorf("mechanisms %q", got)
	}
	who := login.Client{Addr: netip.MustParseAddrPort("[2001:db8::1]:9"), Server: netip.MustParseAddrPort("192.0.2.1:587"), Session: "S1", TLS: true, Bindings: sasl.Bindings{{Name: "tls-exporter", Data: []byte{0, 1, 2}}, {Name: "tls-unique", Data: []byte{3}}}}
	for _, tt := range []struct {
		say  []string
		want login.Result
	}{
		{[]string{"yes"}, login.Result{Answer: login.Yes, User: "alice by PLAIN"}},
		{[]string{"x", "more", "yes"}, login.Result{Answer: login.Yes, User: "alice by PLAIN"}},
		{[]string{"no"}, login.Result{Answer: login.No, User: "alice", Err: errors.New("closed")}},
		{[]string{"x", "unknown"}, login.Result{Answer: login.Unknown}},
		{[]string{"later"}, login.Result{Answer: login.Later, Err: errors.New(strings.Repeat("why ", 250))}},
	} {
		x := c.Begin(who, "PLAIN")
		var r login.Result
		for i, word := range tt.say {
			var challenge []byte
			challenge, r = x.Step(t.Context(), []byte(word))
			if i < len(tt.say)-1 && string(challenge) != "more than "+word {
				t.Errorf("%s: challenge %q", word, challenge)
			}
		}
		x.Close()
		if !reflect.DeepEqual(r, tt.want) {
			t.Errorf("%q: %+v, want %+v", tt.say, r, tt.want)
		}
	}
	x := c.Begin(who, "CRAM-MD5")
	if challenge, r := x.Step(t.Context(), nil); string(challenge) != "nothing said" || r.Answer != login.Asks {
		t.Errorf("%q, %+v", challenge, r)
	}
	x.Close()
	if !reflect.DeepEqual(s.began[0], who) {
		t.Errorf("the other end heard of %+v, want %+v", s.began[0], who)
	}
	await(t, "all exchanges closed", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.closed == len(s.began)
	})
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !testenv.Eventually(ok) {
		t.Fatal("not so: ", what)
	}
}

// TestBeside: who waits for an answer keeps no other one waiting, exchanges have a bound,
// and who stops waiting is answered at once.
func TestBeside(t *testing.T) {
	s := &source{release: make(chan struct{})}
	c := linked(t, s)
	var wg sync.WaitGroup
	for i := range maxOpen - 1 {
		wg.Go(func() {
			who := login.Client{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), 1)}
			if _, r := c.Begin(who, "PLAIN").Step(t.Context(), []byte("wait")); r.User != "late" {
				t.Errorf("%+v", r)
			}
		})
	}
	await(t, "all wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.began) == maxOpen-1
	})
	if _, r := c.Begin(login.Client{}, "PLAIN").Step(t.Context(), []byte("yes")); r.Answer != login.Yes {
		t.Errorf("beside those that wait: %+v", r)
	}
	last := c.Begin(login.Client{}, "PLAIN")
	last.Step(t.Context(), []byte("more"))
	if _, r := c.Begin(login.Client{}, "PLAIN").Step(t.Context(), []byte("yes")); r.Answer != login.Later {
		t.Errorf("one more than there may be: %+v", r)
	}
	last.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, r := c.Begin(login.Client{}, "PLAIN").Step(ctx, []byte("wait")); r.Answer != login.Later {
		t.Errorf("given up: %+v", r)
	}
	close(s.release)
	wg.Wait()
}

// TestSite: one site has no more than its share of the exchanges, and others go on.
func TestSite(t *testing.T) {
	c := linked(t, &source{})
	at := func(addr string) login.Result {
		_, r := c.Begin(login.Client{Addr: netip.MustParseAddrPort(addr)}, "PLAIN").Step(t.Context(), []byte("more"))
		return r
	}
	for i := range maxSite + 5 {
		r := at(fmt.Sprintf("[2001:db8:1:%x::1]:25", i))
		if want := i < maxSite; (r.Answer == login.Asks) != want {
			t.Fatalf("number %d of a site: %+v", i+1, r)
		}
	}
	if r := at("[2001:db8:2::1]:25"); r.Answer != login.Asks {
		t.Errorf("another site: %+v", r)
	}
}

// TestGone: a process that ends, and one that says what is no answer, is Later.
func TestGone(t *testing.T) {
	for _, say := range []string{"", "nonsense", string(answer{kind: 99}.append(nil))} {
		ours, theirs := pair(t)
		go func() {
			buf := make([]byte, maxPacket)
			for {
				n, err := theirs.Read(buf)
				if err != nil {
					return
				}
				q, _ := decodeQuestion(buf[:n])
				switch {
				case q.verb == mechanisms:
					theirs.Write(answer{number: q.number, mechanisms: []login.Mechanism{{Name: "PLAIN"}}}.append(nil))
				case say != "":
					theirs.Write([]byte(say))
				default:
					theirs.Close()
					return
				}
			}
		}()
		c, err := NewClient(t.Context(), ours)
		if err != nil {
			t.Fatal(err)
		}
		if _, r := c.Begin(login.Client{}, "PLAIN").Step(t.Context(), []byte("x")); r.Answer != login.Later || !errors.Is(r.Err, ErrGone) {
			t.Errorf("%q: %+v", say, r)
		}
		<-c.Gone()
		c.Close()
	}
}

// TestHostileServer: what is no question ends the link, and big ones never begin.
func TestHostileServer(t *testing.T) {
	for _, say := range []string{"", "x", "\x09\x00\x00\x00\x01", "\x01\x00\x00\x00\x01\x00", "\x01\x00\x00\x00\x01\x00\x04", "\x02\x00\x00\x00\x01\x00\x00\x01x", "\x03\x00\x00\x00\x01x"} {
		ours, theirs := pair(t)
		served := make(chan error, 1)
		go func() { served <- Serve(theirs, &source{}) }()
		ours.Write([]byte(say))
		if err := <-served; say != "" && !errors.Is(err, errForm) {
			t.Errorf("%q: %v", say, err)
		}
	}
	c := linked(t, &source{})
	if _, r := c.Begin(login.Client{}, "PLAIN").Step(t.Context(), make([]byte, maxPacket)); r.Answer != login.Later {
		t.Errorf("16 KiB: %+v", r)
	}
	if _, r := c.Begin(login.Client{}, "PLAIN").Step(t.Context(), []byte("yes")); r.Answer != login.Yes {
		t.Errorf("behind it: %+v", r)
	}
}

// FuzzWire: a message that can be read is written as it was.
func FuzzWire(f *testing.F) {
	f.Add(question{verb: begin, number: 1, mechanism: "PLAIN", client: login.Client{TLS: true, Addr: netip.MustParseAddrPort("192.0.2.1:1")}}.append(nil))
	f.Add(question{verb: step, number: 2, said: []byte{}}.append(nil))
	f.Add(answer{number: 3, kind: login.Yes, user: "x"}.append(nil))
	f.Add(answer{mechanisms: []login.Mechanism{{Name: "PLAIN"}, {Name: "LOGIN", Some: true}}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeQuestion(b); err == nil && string(q.append(nil)) != string(b) {
			t.Errorf("%q is %+v is %q", b, q, q.append(nil))
		}
		if _, a, err := decodeAnswer(b); err == nil && len(a.err) <= 1000 && string(a.append(nil)) != string(b) {
			t.Errorf("%q is %+v is %q", b, a, a.append(nil))
		}
	})
}
