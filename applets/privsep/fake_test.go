//go:build linux

package privsep

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/privsep/signer"
	"postoffice/applets/service"
	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/testenv"
)

// TestMain is also every process that the tests start: /proc/self/exe with a
// role in argv[0], as the binary itself.
func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		switch {
		case strings.HasPrefix(argv0, UserRole):
			return fakeUser
		case argv0 == ServerRole:
			return fakeServer
		case argv0 == runnerRole:
			return func() int { return fakeRunner(os.Args[1:]) }
		case argv0 == thiefRole:
			return fakeThief
		case argv0 == signer.Role:
			return func() int {
				if signer.Run() != nil {
					return 1
				}
				return 0
			}
		}
		return nil
	}))
}

// fakeServer does what it is told on connections to the listener "control", a
// command a line, and answers with a line.
func fakeServer() int {
	l, err := Connect()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	if code, ok := strings.CutPrefix(string(l.Settings()), "exit "); ok {
		n, _ := strconv.Atoi(code)
		return n
	}
	s := &fake{link: l, control: map[string]net.Listener{}, reloads: make(chan string, 10), stopped: make(chan struct{}), certified: make(chan string, 100), missed: make(chan string, 100)}
	if c := l.Certificates(); c != nil {
		s.certify(*c)
	}
	s.settings.Store(string(l.Settings()))
	l.Ready()
	for _, listener := range l.Listeners() {
		s.accept(listener)
	}
	if f := l.Session(); f != nil {
		c, err := net.FileConn(f)
		f.Close()
		if err == nil {
			go s.commands(c)
		}
	}
	go s.events()
	select {
	case <-l.Closed():
		return 0
	case <-s.stopped:
		return 0
	}
}

type fake struct {
	link     *Link
	control  map[string]net.Listener
	settings atomic.Value
	reloads  chan string
	audits   atomic.Int64
	stopped  chan struct{}

	certified chan string                   // the first chain of each set that came
	missed    chan string                   // the name of each listener that did not
	fillers   []*os.File                    // all descriptors that it may have
	signer    atomic.Pointer[signer.Client] // of the last one

	asked sync.WaitGroup // commands that are not answered yet
}

func (s *fake) accept(listener service.Listener) {
	n, err := listener.Listen()
	if err != nil { // the broken one has left a descriptor
		s.fill()
		s.again(listener.Name)
		return
	}
	s.control[listener.Name] = n
	go func() {
		for {
			c, err := n.Accept()
			if err != nil {
				n.Close()
				s.link.Broken(listener.Name)
				return
			}
			go s.commands(c)
		}
	}()
}

func (s *fake) events() {
	for e := range s.link.Events() {
		switch e := e.(type) {
		case Stop:
			switch s.settings.Load() {
			case "deaf":
			case "patient":
				go func() { s.asked.Wait(); close(s.stopped) }()
			default:
				close(s.stopped)
			}
		case ToggleAudit:
			s.audits.Add(1)
		case Reload:
			s.settings.Store(string(e.Settings))
			s.reloads <- string(e.Settings)
		case NewListener:
			s.accept(e.Listener)
		case NewCertificates:
			s.certify(e)
		case Missed:
			if e.Listener == "" {
				select {
				case s.certified <- "missed: " + e.Err.Error():
				default: // some were told of
				}
				continue
			}
			s.missed <- e.Listener
			s.again(e.Listener)
		}
	}
}

// again asks for a listener once more, when the master has given up this one.
func (s *fake) again(name string) {
	time.AfterFunc(100*time.Millisecond, func() { s.link.Broken(name) })
}

// fill takes all descriptors that there are.
func (s *fake) fill() {
	for f, err := os.Open(os.DevNull); err == nil; f, err = os.Open(os.DevNull) {
		s.fillers = append(s.fillers, f)
	}
}

func (s *fake) certify(c NewCertificates) {
	client, err := signer.NewClient(c.Signer)
	if err != nil {
		s.certified <- err.Error()
		return
	}
	s.signer.Store(client)
	s.certified <- string(c.Chains[0])
}

func (s *fake) commands(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.asked.Add(1)
		fmt.Fprintln(c, s.command(strings.Fields(line)))
		s.asked.Done()
	}
}

func (s *fake) command(words []string) string {
	arg := func(i int) string { return words[i] }
	switch arg(0) {
	case "hello":
		var tokens []string
		for _, t := range s.link.Unrecorded() {
			tokens = append(tokens, t.Token+"="+t.Result.String())
		}
		return fmt.Sprint(os.Getpid(), " ", s.settings.Load(), " ", tokens)
	case "ids":
		nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		dump, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		groups, _ := os.Getgroups()
		return fmt.Sprintf("uid %d gid %d groups %v nnp %d dumpable %d", os.Getuid(), os.Getgid(), groups, nnp, dump)
	case "fds":
		return testenv.OpenFiles()
	case "stderr":
		name, _ := os.Readlink("/proc/self/fd/2")
		return name
	case "deliver": // token user text
		r := s.link.Deliver(context.Background(), arg(1), local.Delivery{User: arg(2), Body: strings.NewReader(arg(3) + "\n\n"), Size: -1})
		return fmt.Sprint(r.String(), " ", r.Reply.Status, " ", r.Err)
	case "large": // token user octets
		n, _ := strconv.Atoi(arg(3))
		r := s.link.Deliver(context.Background(), arg(1), local.Delivery{User: arg(2), Body: io.LimitReader(letters{}, int64(n)), Size: -1})
		return fmt.Sprint(r.String(), " ", r.Reply.Status, " ", r.Err)
	case "half": // token user octets: begin, then die
		n, _ := strconv.Atoi(arg(3))
		body := io.MultiReader(io.LimitReader(letters{}, int64(n)), readerFunc(func([]byte) (int, error) { return 0, syscall.Kill(os.Getpid(), syscall.SIGKILL) }))
		s.link.Deliver(context.Background(), arg(1), local.Delivery{User: arg(2), Body: body, Size: -1})
		return "not dead"
	case "stall": // token user: a message that has no end
		body := io.MultiReader(io.LimitReader(letters{}, 1<<20), readerFunc(func([]byte) (int, error) { <-s.link.Closed(); return 0, io.ErrUnexpectedEOF }))
		r := s.link.Deliver(context.Background(), arg(1), local.Delivery{User: arg(2), Body: body, Size: -1})
		return fmt.Sprint(r.String(), " ", r.Err)
	case "recorded":
		s.link.Recorded(arg(1))
		return "ok"
	case "lookup":
		a, err := s.link.Lookup(context.Background(), arg(1))
		return fmt.Sprint(a.Name, " ", a.UID, " ", errors.Is(err, account.ErrNoUser), " ", err)
	case "keepout":
		s.link.KeepOut(netip.MustParseAddr(arg(1)))
		return "ok"
	case "password": // host user again
		p, err := s.link.Password(context.Background(), arg(1), arg(2), arg(3) == "again")
		return fmt.Sprintf("%.40s of %d %v", p, len(p), err)
	case "auth": // a process of virtual domains, whose links are closed at once
		links, err := s.link.Auth(context.Background())
		closeAll(links)
		return fmt.Sprint(len(links), " ", err)
	}
	return s.lifeCommand(words)
}

// lifeCommand is of what the server hears from its master, and of its end.
func (s *fake) lifeCommand(words []string) string {
	arg := func(i int) string { return words[i] }
	switch arg(0) {
	case "hung":
		s.link.SignerHung()
		return "ok"
	case "broken":
		return fmt.Sprint(s.link.Broken(arg(1)))
	case "shutdown": // listener: make it useless, for everybody who has it
		rc, _ := s.control[arg(1)].(syscall.Conn).SyscallConn()
		var err error
		rc.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		return fmt.Sprint(err)
	case "done":
		err := s.link.Done()
		close(s.stopped)
		return fmt.Sprint(err)
	case "audits":
		return fmt.Sprint(s.audits.Load())
	case "reloaded": // waits for new settings
		return <-s.reloads
	case "certified": // waits for certificates
		return <-s.certified
	case "missed": // waits for a listener that does not come
		return <-s.missed
	case "starve": // has no descriptor free
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 100})
		s.fill()
		return fmt.Sprint(len(s.fillers) > 0)
	case "feed":
		closeAll(s.fillers)
		return "ok"
	case "sign": // with the first key, which is ECDSA
		_, err := s.signer.Load().Key(0, &ecdsa.PublicKey{}).Sign(nil, make([]byte, 32), crypto.SHA256)
		return fmt.Sprint(err)
	case "again":
		return fmt.Sprint(s.link.Again())
	case "exit":
		n, _ := strconv.Atoi(arg(1))
		os.Exit(n)
	}
	return s.userCommand(words)
}

// misbehave does what a server of ours never does.
func (s *fake) misbehave(words []string) string {
	arg := func(i int) string { return words[i] }
	switch arg(0) {
	case "frame": // hexadecimal octets, as they are
		b, _ := hex.DecodeString(arg(1))
		_, err := s.link.conn.c.Write(b)
		return fmt.Sprint(err)
	case "random": // seed: a frame of random octets
		seed, _ := strconv.ParseUint(arg(1), 10, 64)
		_, err := s.link.conn.c.Write(randomFrame(seed))
		return fmt.Sprint(err)
	case "file": // path token user: a delivery with that file for a pipe
		f, err := os.Open(arg(1))
		if err == nil {
			err = s.link.conn.send(frame{opDeliver, append(words[2:4], "", "", "", "", "")}, f)
		}
		return fmt.Sprint(err)
	case "with": // pipe, none or a file, and the frame's octets in hexadecimal
		b, _ := hex.DecodeString(arg(2))
		var rights []byte
		if arg(1) == "pipe" {
			r, _, _ := os.Pipe()
			rights = unix.UnixRights(int(r.Fd()))
		} else if f, err := os.Open(arg(1)); err == nil {
			rights = unix.UnixRights(int(f.Fd()))
		}
		_, _, err := s.link.conn.c.WriteMsgUnix(b, rights, nil)
		return fmt.Sprint(err)
	case "piece": // token user: a stream with a piece that is too long
		r, w, _ := os.Pipe()
		s.link.conn.send(frame{opDeliver, append(words[1:3], "", "", "", "", "")}, r)
		_, err := w.Write([]byte{0xff, 0xff, 0xff, 0xff, 'x'})
		return fmt.Sprint(err)
	}
	return "unknown command"
}

// randomFrame is sometimes nearly right.
func randomFrame(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 1+r.IntN(200))
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	if r.IntN(2) == 0 {
		ops := []op{opReady, opDone, opDeliver, opRecorded, opLookup, opBroken, opRun, opList, opForwards, opKeepOut, opPassword, opHung}
		b = frame{ops[r.IntN(len(ops))], []string{"t", "../x", string(b[:r.IntN(len(b))])}[:r.IntN(4)]}.append(nil)
	}
	return b
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a' + byte(i%64)
		if i%64 == 63 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
