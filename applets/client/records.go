package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/service"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/state"
	"postoffice/applets/sysexits"
	"postoffice/internal/dbm/store"
)

// AtStore calls do with the parts of the server's store, or with those of the files where
// no server has it open and the caller may read them. For root another process runs the
// whole applet again, with the rights of the server-user. change says that do may change
// something, which is logged then.
func AtStore(ctx context.Context, env *cmdline.Env, change bool, do func(part func(prefix string) control.Store, conf *config.Config) error) error {
	conf, confErr := env.Config()
	bad := &flaw{env: env, err: confErr}
	at := func(part string) control.Records {
		return control.Records{Part: part, Dial: func(ctx context.Context) (*control.Client, error) { return dialControl(ctx, conf) }}
	}
	err := at(state.Greylist).Look(ctx)
	switch {
	case err == nil:
		bad.tell()
		return answered(do(func(part string) control.Store { return at(part) }, conf))
	case control.Unknown(err):
		return otherVersion(ctx, conf, err)
	case server.IsStoreShut(err), isAbsent(err):
	case errors.As(err, new(*control.Error)):
		return answered(err)
	default:
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	if confErr != nil { // it may have another store in mind
		return confErr
	}
	if err := storeDir(conf); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		return asOwner(ctx, env, conf, change)
	}
	return answered(atFiles(env, conf, change, do))
}

// ServerStore is a part of the store in a directory where the server that runs has that
// open and lets the caller ask.
func ServerStore(ctx context.Context, env *cmdline.Env, dir, part string) (records control.Records, ok bool) {
	conf, err := env.Config()
	if err != nil {
		return records, false
	}
	if dir, err = filepath.Abs(dir); err != nil || dir != filepath.Clean(state.Dir(conf.DBDir)) {
		return records, false
	}
	records = control.Records{Part: part, Dial: func(ctx context.Context) (*control.Client, error) { return dialControl(ctx, conf) }}
	return records, records.Look(ctx) == nil
}

// otherVersion is the error of a server that knows no records.
func otherVersion(ctx context.Context, conf *config.Config, err error) error {
	client, dialErr := dialControl(ctx, conf)
	if dialErr != nil {
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", dialErr))
	}
	defer client.Close()
	version, versionErr := client.Version(ctx)
	if versionErr != nil {
		version = "unknown"
	}
	return cmdline.ExitWith(sysexits.Unavailable, fmt.Errorf("the mail server that runs doesn't understand the question (%w): it is version %s, this is %s", err, cmdline.Printed(version), cmdline.Version()),
		"restart the server, so that both are of one version: postoffice smtpd")
}

// storeDir looks whether the store's files are there, for us to read.
func storeDir(conf *config.Config) error {
	dir := state.Dir(conf.DBDir)
	if !server.MayServe(conf) {
		return cmdline.ExitWith(sysexits.NoPerm, fmt.Errorf("no mail server has %s open, and only root and the server-user may look into it", dir), "run this as root")
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cmdline.ExitWith(sysexits.NoInput, fmt.Errorf("there is no %s yet: nothing is known of any sender", dir),
			"a server with option greylist on or shadow makes it; postoffice config shows greylist and db-dir")
	case err != nil:
		return cmdline.ExitWith(sysexits.NoInput, err, "option db-dir names its directory: postoffice config shows it")
	case !info.IsDir():
		return cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("%s is no directory", dir), "move it away: the server makes it anew")
	}
	owner, want := int(info.Sys().(*syscall.Stat_t).Uid), os.Getuid()
	if want == 0 {
		u, err := server.ServerUser(conf)
		if err != nil {
			return err
		}
		want = u.UID
	}
	if owner != want {
		return cmdline.ExitWith(sysexits.NoPerm, fmt.Errorf("%s belongs to uid %d, and the server runs as uid %d: it can't use it", dir, owner, want),
			fmt.Sprintf("chown -R %d %s", want, dir))
	}
	return nil
}

// atFiles calls do with the parts of the store that nobody has open.
func atFiles(env *cmdline.Env, conf *config.Config, change bool, do func(part func(prefix string) control.Store, conf *config.Config) error) error {
	var log *slog.Logger
	var err error
	closeLog := func() {}
	if change {
		if log, closeLog, err = server.OpenLog(env, conf, "authexpire"); err != nil {
			return err
		}
	}
	defer closeLog()
	s, err := store.Open(state.Dir(conf.DBDir), store.Options{Mend: state.Mend(conf.DBDir), Log: log})
	if errors.Is(err, store.ErrLocked) {
		if running, _ := service.Running(conf.RunDir); running {
			return unanswered(conf)
		}
	}
	if err != nil {
		return server.StoreError(err)
	}
	part := func(prefix string) control.Store {
		records := server.Records{Store: s.Part(prefix), Log: log, UID: env.UID()}
		if prefix == state.Greylist {
			records.Deleted = func(ctx context.Context, n int) {
				_ = greykeeper.AddRemoved(ctx, s.Part(state.GreylistHours), time.Now(), n) // they are gone, counted or not
			}
		}
		return records
	}
	return errors.Join(do(part, conf), server.StoreError(s.Close()))
}
