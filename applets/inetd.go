package applets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"postoffice/internal/maillog"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// networkConn is standard input where that is an IP socket, as inetd, and
// systemd with Accept=yes, start -bs; else nil.
func networkConn(env *Env) *os.File {
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

// serveConn is -bs for a connection from the network: its peer is treated as
// on port 25. Nothing of it is read here: it is the session of a server for one
// pass, which as root is a process without rights. Where a server runs already
// it has the ports, and the queue, to itself.
func serveConn(ctx context.Context, env *Env, conn *os.File) error {
	conf, err := env.Config()
	if err == nil {
		running, unsure := privsep.Running(conf.RunDir)
		switch {
		case unsure != nil:
			err = exitWith(sysexits.TempFail, unsure)
		case running:
			err = exitWith(sysexits.TempFail, errors.New("a mail server runs here and listens itself; it and inetd don't share a queue"))
		case !mayServe(conf):
			err = exitWith(sysexits.TempFail, fmt.Errorf("%s belongs to somebody else; inetd must run this as its owner or as root", conf.QueueDir))
		}
	}
	if err != nil {
		if log, closeLog, failed := openLog(env, conf, "smtpd"); failed == nil {
			log.LogAttrs(ctx, slog.LevelError, "connection refused", maillog.Err(err))
			closeLog()
		}
		conn.WriteString("421 4.3.2 no mail service now, try again later\r\n") // who has gone needs no answer
	}
	session, moved := letGo(conn)
	if err := errors.Join(err, moved); err != nil {
		return exitWith(exitStatus(err), err)
	}
	d := daemon{env: env, conf: conf, onePass: true, session: session}
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
			err = unix.Dup3(int(null.Fd()), i, 0)
		}
	}
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("move the connection: %w", err)
	}
	return session, nil
}
