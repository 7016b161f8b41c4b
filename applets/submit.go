package applets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/peer"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// backlogWait is how long a program waits for a place at the submission socket.
const backlogWait = 60 * time.Second

// errNoServer is a mail server that isn't there, and that the caller may not
// start: he may leave his message in maildrop/.
var errNoServer = errors.New("no mail server answers here")

// service is how a program speaks with the server: in SMTP, and beside that, if
// it wants to watch, over a connection to the control socket.
type service struct {
	mail    net.Conn
	control *control.Client
	blind   error // why there is no control
}

func (s *service) close() {
	s.mail.Close()
	if s.control != nil {
		s.control.Close()
	}
}

// submission opens an SMTP session with whoever takes mail on this machine: the
// daemon behind its socket, or, for root and the owner of the queue, a server
// started for this one message, which goes on delivering in the background.
//
// A configuration with errors (confErr) keeps nobody from a daemon that
// answers, nor from maildrop/ if that is surely the right one: a typo must not
// lose cron's mail. It is told, and else it is what the caller gets.
//
// The error is an errNoServer for who may leave his message in maildrop/: no
// daemon answers him, and he may not start one.
func submission(ctx context.Context, env *Env, conf *config.Config, confErr error, watch bool) (*service, error) {
	conn, err := dialSubmission(ctx, conf)
	switch {
	case err == nil:
		if confErr != nil {
			env.report(confErr)
		}
		s := &service{mail: conn}
		if watch {
			s.control, s.blind = dialControl(ctx, conf)
		}
		return s, nil
	case ctx.Err() == nil && unusable(err) && !mayServe(conf):
		return nil, unserved(conf, err, confErr)
	case !isAbsent(err):
		return nil, exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case confErr != nil:
		return nil, confErr
	}
	if running, _ := privsep.Running(conf.RunDir); running {
		return nil, exitWith(sysexits.TempFail, fmt.Errorf("a mail server runs, but its socket %s doesn't answer", submissionPath(conf)),
			"try again; the server's log says why, if it stays so")
	}
	return startForOne(ctx, env, watch)
}

// unserved is the error for a caller whom no server answers, by the error of
// the socket.
func unserved(conf *config.Config, err, confErr error) error {
	if confErr != nil && !sparesQueue(confErr) {
		return confErr
	}
	if confErr != nil {
		return errors.Join(errNoServer, confErr)
	}
	if isAbsent(err) {
		err = fmt.Errorf("%w, and %s belongs to somebody else", errNoServer, conf.QueueDir)
	} else {
		err = fmt.Errorf("%w: %w", errNoServer, err)
	}
	return exitWith(sysexits.TempFail, err,
		"ask root to start it: postoffice smtpd; in a chroot or a container its socket must be at "+submissionPath(conf))
}

// sparesQueue says whether the errors of a configuration leave no doubt about
// where the queue is: what is left in another's maildrop/ is read by nobody.
func sparesQueue(confErr error) bool {
	all := config.Errors(nil)
	if !errors.As(confErr, &all) {
		return false
	}
	return !slices.ContainsFunc(all, func(e *config.Error) bool { return e.Option == "" || e.Option == "queue-dir" })
}

func submissionPath(conf *config.Config) string {
	return filepath.Join(conf.RunDir, privsep.Submission)
}

// isAbsent says whether nobody listens at the socket.
func isAbsent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// unusable says whether the caller can't use the socket, or not now, whoever
// listens there: it is shut to him, as in a sandbox without unix sockets, or
// full for a minute.
func unusable(err error) bool {
	return errors.As(err, new(*net.OpError)) || errors.Is(err, context.DeadlineExceeded)
}

// dialSubmission connects to the daemon. A full backlog means to wait. The
// other end must be root's or the server-user's: nobody else takes our mail.
func dialSubmission(ctx context.Context, conf *config.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, backlogWait)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", submissionPath(conf))
		if err == nil {
			if err := checkServer(conn, conf); err != nil {
				conn.Close()
				return nil, err
			}
			return conn, nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		again := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil, fmt.Errorf("%s: full for %v: %w", submissionPath(conf), backlogWait, ctx.Err())
		case <-again.C:
		}
	}
}

// checkServer says whether the process that listens is one of the server's.
func checkServer(conn net.Conn, conf *config.Config) error {
	server, err := peer.Of(conn.(*net.UnixConn))
	if err != nil {
		return err
	}
	if server.UID == 0 || server.UID == os.Getuid() || config.Outsider(server.UID) {
		return nil
	}
	if u, err := serverUser(conf); err == nil && u.UID == server.UID {
		return nil
	}
	return fmt.Errorf("%s belongs to uid %d, neither root nor %s: no mail goes there", submissionPath(conf), server.UID, conf.ServerUser)
}

// startForOne starts a server in the background that takes one session, from
// us, and then tries the queue once.
func startForOne(ctx context.Context, env *Env, watch bool) (*service, error) {
	start := privsep.Background{Args: append([]string{"--pass"}, env.ConfigFlags()...)}
	mail, theirs, err := connPair()
	if err != nil {
		return nil, err
	}
	s := &service{mail: mail}
	start.Session = theirs
	if watch {
		var ours *net.UnixConn
		if ours, start.Control, err = connPair(); err != nil {
			theirs.Close()
			s.close()
			return nil, err
		}
		s.control = control.NewClient(ours)
	}
	if err := start.Start(ctx); err != nil {
		s.close()
		return nil, startError(err)
	}
	return s, nil
}

// connPair is a connection with one end for us and one for another process.
func connPair() (*net.UnixConn, *os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// startError is what a program ends with when the server that it started could
// not begin: the server has said why on standard error, if it could.
func startError(err error) error {
	if e := (*privsep.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return exitWith(e.Code, errAnswered)
	}
	return exitWith(sysexits.TempFail, fmt.Errorf("start a server: %w", err))
}

// mayServe says whether the caller may run a server on the queue: he is root,
// or it is his, or would be if it were made. Root of a user namespace that the
// queue's owner isn't in has no right to it.
func mayServe(conf *config.Config) bool {
	for dir := conf.QueueDir; ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return os.Getuid() == 0
		}
		uid := int(st.Sys().(*syscall.Stat_t).Uid)
		return !config.Outsider(uid) && (os.Getuid() == 0 || os.Getuid() == uid)
	}
}

// socketPair is a unix stream socket pair as files.
func socketPair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "session"), os.NewFile(uintptr(fds[1]), "session"), nil
}
