package privsep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/privsep/signer"
	"postoffice/applets/service"
	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// serverLife is the master's side of one server's life.
type serverLife struct {
	m    *master
	c    *child
	log  *slog.Logger
	fail chan error // the first violation or broken link

	counts listCounts

	mu       sync.Mutex // guards what follows
	requests int        // deliveries under way
	lookups  int        // lookups under way
	lists    int        // lists being read
	keepOuts int        // clients that are being kept out
	secrets  int        // passwords that are being looked for
	foreign  int        // names asked for lately that don't exist

	foreignSince time.Time // when some of them were forgotten last

	auth, shadow help

	signer   *signer.Process // that the server was given at first; nil: none
	unsigned error           // why there is none
	hung     chan struct{}   // the one that it was given last answers nobody

	gaveWay atomic.Bool     // it said that another one is to come in its place
	leaving chan struct{}   // has one when it says so
	running sync.WaitGroup  // deliveries this server asked for
	ctx     context.Context // of those that have not begun
	cancel  context.CancelFunc
}

func newServerLife(m *master, c *child) *serverLife {
	s := &serverLife{m: m, c: c, fail: make(chan error, 1), hung: make(chan struct{}, 1), leaving: make(chan struct{}, 1), counts: listCounts{of: map[string]*listTally{}, wait: cmp.Or(m.o.listWait, listWait)}}
	s.log = m.o.Log.With(maillog.Proc("server"), slog.Int("pid", c.cmd.Process.Pid))
	s.auth = help{helper: &m.o.Auth, proc: "auth", link: opAuthLink, none: opNoAuth}
	s.shadow = help{helper: &m.o.Shadow, proc: "shadow", link: opShadowLink, none: opNoShadow}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// violation is what makes the master kill its server: something that a server
// of ours never sends (A71).
type violation struct{ error }

func violate(format string, args ...any) error { return violation{fmt.Errorf(format, args...)} }

// failed ends the session with the first error.
func (s *serverLife) failed(err error) {
	select {
	case s.fail <- err:
	default:
	}
}

// supervise hands everything over and serves the server until it ends.
func (s *serverLife) supervise(signals <-chan os.Signal) error {
	if err := s.handOver(); err != nil {
		s.failed(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { s.failed(s.read()) })
	s.running.Go(s.keepSigner)
	var (
		stopping bool
		deadline <-chan time.Time
		programs <-chan time.Time // the end of what users' processes do: the server records it
		done     = s.m.ctx.Done()
	)
	stop := func() {
		if stopping {
			return
		}
		stopping, done = true, nil
		deadline, programs = time.After(s.m.o.Grace), time.After(min(s.m.o.programWait, s.m.o.Grace-userEnd))
		s.m.notify(service.Stopping(s.m.o.Grace))
		if err := s.send(opStop); err != nil {
			s.c.kill()
		}
	}
	for {
		select {
		case <-done:
			stop()
		case sig := <-signals:
			if service.Ends(sig) {
				stop()
			} else {
				s.m.signal(sig, s)
			}
		case <-programs:
			s.m.users.stop()
		case <-s.leaving: // one that hangs would be followed by nobody
			deadline = cmp.Or(deadline, time.After(s.m.o.Grace))
		case <-deadline:
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "server killed", maillog.Reason("it did not end in time"))
			s.c.kill()
		case err := <-s.fail:
			if _, ok := errors.AsType[violation](err); ok {
				s.c.kill()
				s.log.LogAttrs(context.Background(), slog.LevelError, "server killed", maillog.Reason("it sent what it must not"), maillog.Err(err))
			} else if err != nil { // the link is broken: it ends by itself, or not
				deadline = time.After(time.Second)
			}
		case exit := <-s.c.exited:
			waitFor(&reading, orphanWait) // its last words
			if stopping {
				return errStopped
			}
			if s.gaveWay.Load() && exit.Code == 0 {
				return errGaveWay
			}
			return exit
		}
	}
}

// abandon closes the link of a server that ended. Deliveries that have not
// begun are given up; the others end soon, since their streams have ended. What
// takes longer goes on beside the next server, which hears the result when it
// asks for the delivery again.
func (s *serverLife) abandon() {
	s.c.conn.close()
	s.cancel()
	if !waitFor(&s.running, orphanWait) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "deliveries go on without their server")
	}
}

// handOver sends a new server everything it needs.
func (s *serverLife) handOver() error {
	if err := s.sendSettings(); err != nil {
		return err
	}
	for _, l := range s.m.sockets.Serve(s.giveListener) {
		if err := s.sendListener(l); err != nil {
			return err
		}
	}
	if f := s.m.o.Session; f != nil {
		if err := s.send(opSession, f); err != nil {
			return err
		}
		s.m.o.Session = nil
		f.Close() // its peer sees the end with the server's
	}
	s.signer, s.unsigned = s.giveSigner()
	for _, t := range s.m.results.unrecorded() {
		if err := s.sendResult(t); err != nil {
			return err
		}
	}
	mode := modeStay
	switch {
	case s.m.o.OnePass:
		mode = modePass
	case !s.m.renewable():
		mode = modeAgain
	}
	terminal := attached
	if s.m.o.Detach {
		terminal = detached
	}
	err := s.c.conn.send(frame{opStart, []string{mode, terminal}})
	if err == nil && s.m.audit {
		err = s.send(opAudit)
	}
	return err
}

// Certificates are chains in DER, the certificate itself first, and the key of each in
// PKCS #8.
type Certificates struct{ Chains, Keys [][]byte }

// giveSigner starts a signer with the keys of now, and gives the server its link and the
// certificates. What goes wrong is told, and costs TLS alone. It returns neither where
// there are no certificates.
func (s *serverLife) giveSigner() (*signer.Process, error) {
	if s.m.o.Certificates == nil {
		return nil, nil
	}
	c := s.m.o.Certificates()
	if len(c.Chains) == 0 {
		return nil, nil
	}
	p, err := signer.Start(c.Keys, account.Keys)
	if err == nil {
		defer p.Link.Close()
		for _, chain := range c.Chains {
			if err = s.c.conn.send(frame{opCertificate, []string{string(chain)}}); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = s.send(opSigner, p.Link)
	}
	if err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelError, "signer not started", maillog.Err(err), maillog.Reason("TLS is not offered until it is"))
		return nil, err
	}
	return p, nil
}

// keepSigner keeps a signer for the server until that ends.
func (s *serverLife) keepSigner() {
	k := signer.Keeper{Give: s.giveSigner, Renew: s.m.o.Renew, Hung: s.hung, First: s.m.o.firstPause, Last: s.m.o.lastPause, Log: s.log}
	k.Keep(s.ctx, s.signer, s.unsigned)
}

// giveWay hears that the server ends, and another one is to come in its place.
func (s *serverLife) giveWay() {
	s.gaveWay.Store(true)
	select {
	case s.leaving <- struct{}{}:
	default: // it was said already
	}
}

// signerHung hears that the signer answers nobody.
func (s *serverLife) signerHung() error {
	if s.m.o.Certificates == nil {
		return errors.New("a signer has hung, and there never was one")
	}
	select {
	case s.hung <- struct{}{}:
	default: // it was said already
	}
	return nil
}

const (
	modeStay  = "stay"
	modePass  = "pass"
	modeAgain = "again" // stay, and don't give way for RenewEvery

	attached = "attached"
	detached = "detached"
)

func (s *serverLife) send(o op, files ...*os.File) error {
	return s.c.conn.send(frame{op: o}, files...)
}

// tell sends what has no fields to a server that may be ending.
func (s *serverLife) tell(o op) {
	if err := s.send(o); err != nil {
		s.failed(err)
	}
}

func (s *serverLife) sendSettings() error { return sendPieces(s.c.conn, s.m.o.Settings) }

// sendPieces sends settings.
func sendPieces(c *conn, rest []byte) error {
	for {
		n := min(len(rest), maxPiece)
		if err := c.send(frame{opSettings, []string{string(rest[:n])}}); err != nil || n < maxPiece {
			return err
		}
		rest = rest[n:]
	}
}

// giveListener sends a socket that was bound again.
func (s *serverLife) giveListener(l service.Listener) {
	if err := s.sendListener(l); err != nil {
		s.failed(err)
	}
}

func (s *serverLife) sendListener(l service.Listener) error {
	return s.c.conn.send(frame{opListener, []string{l.Name, l.Service, l.Network, l.Address}}, l.File)
}

func (s *serverLife) sendResult(t local.TokenResult) error {
	return s.c.conn.send(resultFrame(t))
}

// read handles what the server sends until its link closes (nil) or it sends
// what it must not.
func (s *serverLife) read() error {
	for {
		f, files, err := s.c.conn.recv()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if errors.Is(err, errFrame) {
			return violation{err}
		}
		if err == errDescriptors {
			s.starved(f)
			continue
		}
		if err != nil {
			return err
		}
		if err := s.handle(f, files); err != nil {
			closeAll(files)
			return violation{err}
		}
	}
}

// maxKeepOuts bounds the clients that the kernel is being asked to keep out.
const maxKeepOuts = 4

// keepOut has a client's address kept out. More at once than maxKeepOuts are
// forgotten: whoever asks is not answered.
func (s *serverLife) keepOut(address string) error {
	switch {
	case s.m.o.KeepOut == nil:
		return errors.New("a client is to be kept out, and coal is off")
	case len(address) != addressSize:
		return fmt.Errorf("a client's address of %d octets, want %d", len(address), addressSize)
	}
	if !s.begin(&s.keepOuts, maxKeepOuts) {
		return nil
	}
	s.m.running.Go(func() {
		defer s.end(&s.keepOuts)
		s.m.o.KeepOut(netip.AddrFrom16([addressSize]byte([]byte(address))))
	})
	return nil
}

// birthTime is what a process has to become what it is to be, a server or a
// user's process, and to give us its link.
const birthTime = time.Minute

// child is a server process.
type child struct {
	conn   *conn
	cmd    *exec.Cmd
	exited chan *service.ExitError // its one value comes when the process is gone; Code 0 is a good end
}

// startServer starts the server, as user u, with nothing but standard error,
// /dev/null and its link, without any capability. It is born with no_new_privs.
func startServer(u service.User) (*child, error) {
	b, err := birth.Start(birth.Options{
		Argv0:      ServerRole,
		Identity:   creds.Identity{UID: u.UID, GID: u.GID, Groups: []uint32{uint32(u.GID)}, Bare: creds.MayCut()},
		NoNewPrivs: true,
		Stderr:     os.Stderr,
	})
	if err != nil {
		return nil, fmt.Errorf("start the server as user %s: %w", u.Name, err)
	}
	c := &child{cmd: b.Cmd, exited: make(chan *service.ExitError, 1)}
	go func() { c.exited <- service.Exit(ServerRole, b.Cmd.Wait()) }()
	link, err := b.Link(birthTime)
	if err != nil {
		c.kill()
		exit := <-c.exited
		if errors.Is(err, birth.ErrEnded) {
			return nil, exit
		}
		return nil, fmt.Errorf("start the server as user %s: %w", u.Name, err)
	}
	c.conn = newConn(link, toMaster(), toServer())
	return c, nil
}

// kill ends the process at once.
func (c *child) kill() { c.cmd.Process.Kill() }
