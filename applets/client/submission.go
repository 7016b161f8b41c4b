package client

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

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/internal/peer"
)

// greetWait is how long a program waits for a session that greets it.
const greetWait = time.Minute

// errNoServer is a mail server that isn't there, and that the caller may not
// start: they may leave their message in maildrop/.
var errNoServer = errors.New("no mail server answers here")

// errSilent is a mail server that runs and doesn't listen: it stops, or starts.
var errSilent = errors.New("a mail server runs, but its socket doesn't answer")

// silentPause is the time between two looks for its socket.
const silentPause = 200 * time.Millisecond

// connections are how a program speaks with the server: in SMTP, and beside that, if
// it wants to watch, over a connection to the control socket.
type connections struct {
	mail    net.Conn
	control *control.Client
	blind   error // why there is no control
}

func (s *connections) close() {
	s.mail.Close()
	if s.control != nil {
		s.control.Close()
	}
}

// submission opens an SMTP session with whoever takes mail on this machine: the
// daemon behind its socket, or, for root and the owner of the queue, a server
// started for this one message, which goes on delivering in the background.
//
// A configuration with errors (bad) keeps nobody from a daemon that answers, nor
// from maildrop/ if that is surely the right one: a typo must not lose cron's
// mail. It is told, and else it is what the caller gets.
//
// The error is an errNoServer for whoever may leave a message in maildrop/: no
// daemon answers them, and they may not start one.
//
// A server that stops, or is about to listen, or has no place, is waited for until
// limit.
func submission(ctx context.Context, env *cmdline.Env, conf *config.Config, bad *flaw, watch bool, limit time.Time) (*connections, error) {
	for {
		s, err := oneSubmission(ctx, env, conf, bad, watch, limit)
		switch {
		case !errors.Is(err, errSilent):
			return s, err
		case time.Now().Before(limit) && pause(ctx, silentPause):
		case ctx.Err() != nil || !server.MayServe(conf):
			return nil, err
		default:
			return startForOne(ctx, env, watch)
		}
	}
}

// oneSubmission is submission without a wait for a server that says nothing.
func oneSubmission(ctx context.Context, env *cmdline.Env, conf *config.Config, bad *flaw, watch bool, limit time.Time) (*connections, error) {
	conn, err := dialSubmission(ctx, conf, limit)
	switch {
	case err == nil:
		bad.tell()
		s := &connections{mail: conn}
		if watch {
			s.control, s.blind = dialControl(ctx, conf)
		}
		return s, nil
	case ctx.Err() == nil && unusable(err) && !server.MayServe(conf):
		return nil, unserved(conf, err, bad.err)
	case !isAbsent(err) && !errors.Is(err, errSilent):
		return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case bad.err != nil:
		return nil, bad.err
	case errors.Is(err, errSilent):
		return nil, cmdline.ExitWith(sysexits.TempFail, err)
	}
	if running, _ := service.Running(conf.RunDir); running {
		return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w: %s", errSilent, submissionPath(conf)),
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
	return cmdline.ExitWith(sysexits.TempFail, err,
		"ask root to start it: postoffice smtpd; in a chroot or a container its socket must be at "+submissionPath(conf))
}

// flaw is what is wrong with the configuration, where it keeps nobody from an
// answer. It is told once.
type flaw struct {
	env  *cmdline.Env
	err  error // nil: nothing
	told bool
}

func (f *flaw) tell() {
	if f.err != nil && !f.told {
		f.env.Report(f.err)
		f.told = true
	}
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
	return filepath.Join(conf.RunDir, service.Submission)
}

// isAbsent says whether nobody listens at the socket.
func isAbsent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// unusable says whether the caller can't use the socket, or not now, whoever
// listens there: it is shut to the caller, as in a sandbox without unix sockets, or
// full for a minute.
func unusable(err error) bool {
	return errors.As(err, new(*net.OpError)) || errors.Is(err, errSilent)
}

// dialSubmission connects to the daemon. A full backlog means to wait, until limit. The
// other end must be root's or the server-user's: nobody else takes our mail.
func dialSubmission(ctx context.Context, conf *config.Config, limit time.Time) (net.Conn, error) {
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
		if !time.Now().Before(limit) || !pause(ctx, firstPause) {
			return nil, fmt.Errorf("%w: %s: %w", errSilent, submissionPath(conf), err)
		}
	}
}

// checkServer says whether the process that listens is one of the server's.
func checkServer(conn net.Conn, conf *config.Config) error {
	other, err := peer.Of(conn.(*net.UnixConn))
	if err != nil {
		return err
	}
	if other.UID == 0 || other.UID == os.Getuid() || config.Outsider(other.UID) {
		return nil
	}
	if u, err := server.ServerUser(conf); err == nil && u.UID == other.UID {
		return nil
	}
	return fmt.Errorf("%s belongs to uid %d, neither root nor %s: no mail goes there", submissionPath(conf), other.UID, conf.ServerUser)
}

// startForOne starts a server in the background that takes one session, from
// us, and then tries the queue once.
func startForOne(ctx context.Context, env *cmdline.Env, watch bool) (*connections, error) {
	start := service.Background{Args: append([]string{"--pass"}, env.ConfigFlags()...)}
	mail, theirs, err := service.ConnPair()
	if err != nil {
		return nil, err
	}
	s := &connections{mail: mail}
	start.Session = theirs
	if watch {
		var ours *net.UnixConn
		if ours, start.Control, err = service.ConnPair(); err != nil {
			theirs.Close()
			s.close()
			return nil, err
		}
		s.control = control.NewClient(ours)
	}
	if err := start.Start(ctx); err != nil {
		s.close()
		return nil, server.StartError(err)
	}
	return s, nil
}

// dialControl connects to the daemon's control socket.
func dialControl(ctx context.Context, conf *config.Config) (*control.Client, error) {
	return control.Dial(ctx, filepath.Join(conf.RunDir, service.Control))
}
