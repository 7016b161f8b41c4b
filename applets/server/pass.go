package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/internal/statedir"
	"postoffice/spool"
)

// lastLook is what a client may take to read the end of an answer when a pass
// is over.
const lastLook = 10 * time.Second

// onePass is what a server for one pass tries.
type onePass struct {
	only    []spool.ID // none: everything
	reroute bool       // as for deliver.Runner.PassOf
}

// pass takes one session, if there is one, and then tries every message once.
// Beside that it answers a request to the control socket. Without a session that
// request decides: it asks to watch a run, or no message is tried.
func (s *system) pass(ctx context.Context, session, asked *os.File) error {
	begin := make(chan onePass, 1)
	var what onePass
	answered := make(chan struct{})
	if asked != nil {
		s.passes = func(p onePass) { begin <- p }
		if err := s.answer(ctx, asked, answered); err != nil {
			return err
		}
		defer s.awaitAnswer(answered)
	}
	switch {
	case session != nil:
		came, err := s.serveSession(ctx, session)
		if err != nil || !came || s.queueOnly || s.kept.Load() {
			return err
		}
	case asked != nil:
		select {
		case what = <-begin:
		case <-answered:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(what.only) > 0 {
		s.waiting.Pass(ctx)
		return s.runner.PassOf(ctx, what.only, what.reroute)
	}
	if session != nil && s.handOver(ctx) {
		return nil
	}
	s.pickUp(ctx)
	if session != nil && s.handOver(ctx) { // of what was picked up it may not know
		return nil
	}
	s.waiting.Pass(ctx)
	return s.runner.Pass(ctx)
}

// handOver tells a server that has the queue by now, and may have looked
// through it before our messages were there. It says whether one was
// told; while nobody has the queue, whoever takes it will look.
func (s *system) handOver(ctx context.Context) bool {
	unlock, err := s.queue.TryLock()
	if err == nil {
		unlock()
	}
	if !errors.Is(err, spool.ErrLocked) {
		return false
	}
	client, err := control.Dial(ctx, filepath.Join(s.settings.Load().conf.RunDir, service.Control))
	if err != nil {
		return false
	}
	defer client.Close()
	return client.Run(ctx) == nil
}

// answer answers the request of one connection in the background.
func (s *system) answer(ctx context.Context, asked *os.File, answered chan struct{}) error {
	conn, err := net.FileConn(asked)
	asked.Close()
	if err != nil {
		return fmt.Errorf("control connection: %w", err)
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return fmt.Errorf("control connection: a %s socket", conn.LocalAddr().Network())
	}
	s.work.Go(func() {
		defer close(answered)
		control.ServeConn(ctx, unix, s.controls(ctx))
	})
	return nil
}

// awaitAnswer lets who watches the pass see its end.
func (s *system) awaitAnswer(answered chan struct{}) {
	s.watchers.close()
	timer := time.NewTimer(lastLook)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	}
}

// serveSession takes one SMTP session. came says that there was a client.
func (s *system) serveSession(ctx context.Context, session *os.File) (came bool, err error) {
	conn, err := net.FileConn(session)
	session.Close()
	if err != nil {
		return false, fmt.Errorf("session: %w", err)
	}
	kind := smtpd.Relay // inetd's
	if _, unix := conn.(*net.UnixConn); unix {
		kind = smtpd.Local
	} else if conn.RemoteAddr() == nil {
		return false, conn.Close() // the client is gone, or there never was one
	}
	if err := s.smtp.ServeConn(ctx, conn, kind); err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "session ended", maillog.Err(err))
	}
	return true, nil
}

// NetworkConn is standard input where that is an IP socket, as inetd, and
// systemd with Accept=yes, start -bs; else nil.
func NetworkConn(env *cmdline.Env) *os.File {
	f, ok := env.Stdin.(*os.File)
	if !ok {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	network := false
	err = raw.Control(func(fd uintptr) {
		addr, err := unix.Getsockname(int(fd))
		switch addr.(type) {
		case *unix.SockaddrInet4, *unix.SockaddrInet6:
			network = err == nil
		}
	})
	if err != nil || !network {
		return nil
	}
	return f
}

// ServeConn is -bs for a connection from the network: its peer is treated as
// on port 25. Nothing of it is read here: it is the session of a server for one
// pass, which as root is a process without rights. Where a server runs already
// it has the ports, and the queue, to itself.
func ServeConn(ctx context.Context, env *cmdline.Env, conn *os.File) error {
	conf, err := env.Config()
	if err == nil {
		running, unsure := service.Running(conf.RunDir)
		switch {
		case unsure != nil:
			err = cmdline.ExitWith(sysexits.TempFail, unsure)
		case running:
			err = cmdline.ExitWith(sysexits.TempFail, errors.New("a mail server runs here and listens itself; it and inetd don't share a queue"))
		case !MayServe(conf):
			err = cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%s belongs to somebody else; inetd must run this as its owner or as root", conf.QueueDir))
		}
	}
	if err != nil {
		if log, closeLog, failed := OpenLog(env, conf, "smtpd"); failed == nil {
			log.LogAttrs(ctx, slog.LevelError, "connection refused", maillog.Err(err))
			closeLog()
		}
		conn.WriteString("421 4.3.2 no mail service now, try again later\r\n") // who has gone needs no answer
	}
	session, moved := letGo(conn)
	if err := errors.Join(err, moved); err != nil {
		return cmdline.ExitWith(cmdline.ExitStatus(err), err)
	}
	d := daemon{env: env, conf: conf, onePass: true, session: session, network: true}
	return d.run(ctx)
}

// letGo moves the connection away from descriptors 0 to 2, which inetd makes
// all the same: no message of ours goes to a stranger, and the connection ends
// when its session does.
func letGo(conn *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(conn.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("move the connection: %w", err)
	}
	session := os.NewFile(uintptr(fd), "session")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		session.Close()
		return nil, err
	}
	defer null.Close()
	var here, there unix.Stat_t
	err = unix.Fstat(fd, &here)
	for i := 0; i < 3 && err == nil; i++ {
		if err = unix.Fstat(i, &there); err == nil && here.Dev == there.Dev && here.Ino == there.Ino {
			err = service.Duplicate(int(null.Fd()), i)
		}
	}
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("move the connection: %w", err)
	}
	return session, nil
}

const (
	pauseFile = "login-pauses" // below queue-dir
	maxPauses = 1 << 20        // octets of what one pass knows of logins that failed, for the next
)

// loginPauses are a login.Memory in queue-dir.
type loginPauses string

// rememberLogins has a server for one pass know of the logins that failed in the passes
// before: a smarthost that counts them must not get one for each message.
func (s *system) rememberLogins(conf *config.Config) {
	if s.state != nil {
		return // it stays
	}
	s.logins.Remember(loginPauses(conf.QueueDir))
}

func (p loginPauses) Read() (text []byte, err error) {
	d, err := disk.OS().OpenDir(string(p))
	if err == nil {
		defer d.Close() // it was only read
		text, err = statedir.Read(d, pauseFile, maxPauses)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return text, err
}

func (p loginPauses) Write(text []byte) error {
	d, err := disk.OS().OpenDir(string(p))
	if err != nil {
		return err
	}
	defer d.Close() // what is written is synced
	if text != nil {
		return statedir.Write(d, pauseFile, text)
	}
	if err = d.Unlink(pauseFile); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// runEvery tries the whole queue at once and then at intervals (R68).
func (s *system) runEvery(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s.runNow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// runNow tries every message now. With queue-only nothing runs the queue but
// this: one pass, in the background.
func (s *system) runNow(ctx context.Context) {
	s.work.Go(func() { s.pickUp(ctx) })
	s.waiting.Now()
	if !s.queueOnly {
		s.runner.RunNow()
		return
	}
	s.work.Go(func() {
		s.passing.Lock()
		defer s.passing.Unlock()
		if err := s.runner.Pass(ctx); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "queue not run", maillog.Err(err))
		}
	})
}
