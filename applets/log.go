package applets

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"postoffice/internal/config"
	"postoffice/internal/maillog"
	"postoffice/internal/sysexits"
)

// logHere makes the log go to standard error, as it does in the foreground, and
// besides to where the configuration asks.
func logHere(conf *config.Config) {
	const here = "stderr"
	switch {
	case conf.Settings()[config.Index("log")].Origin == "default":
		conf.Log = []string{here}
	case !slices.Contains(conf.Log, here):
		conf.Log = append([]string{here}, conf.Log...)
	}
}

// logs are the places that the log goes to.
type logs []maillog.Output

// close ends them.
func (l logs) close() {
	for _, out := range l {
		out.Close() // what is lost of a log is no error of the mail's
	}
}

// reopen goes on in new files where the present ones were renamed.
func (l logs) reopen() error {
	var errs []error
	for _, out := range l {
		errs = append(errs, out.Reopen())
	}
	return errors.Join(errs...)
}

// openLogs opens every place that the log goes to. A file that root makes
// belongs to the server-user: master and server both append to it, and the
// server can make none in a directory of root's.
func openLogs(env *Env, conf *config.Config, program string) (*slog.Logger, logs, error) {
	o := maillog.Options{Format: conf.LogFormat, Program: program, Stderr: env.Stderr}
	if os.Getuid() == 0 {
		owner, _ := serverUser(conf) // without one no server starts
		o.UID, o.GID = owner.UID, owner.GID
	}
	var all logs
	var handlers []slog.Handler
	for _, o.Sink = range conf.Log {
		log, out, err := maillog.New(o)
		if err != nil {
			all.close()
			return nil, nil, exitWith(sysexits.CantCreate, fmt.Errorf("make the log: %w", err), "option log says where it goes")
		}
		handlers, all = append(handlers, log.Handler()), append(all, out)
	}
	return slog.New(slog.NewMultiHandler(handlers...)), all, nil
}

// warnOfSyslog tells who starts a server that the log goes nowhere.
func warnOfSyslog(env *Env, conf *config.Config) {
	if !slices.Contains(conf.Log, "syslog") {
		return
	}
	if err := (maillog.Options{}).CheckSyslog(); err != nil {
		say(env.Stderr, env.Program, fmt.Sprintf("warning: nobody takes the log: %v", err))
		say(env.Stderr, env.Program, "hint: start a syslog daemon, or write a file: option log=file:/var/log/postoffice.log")
	}
}

// openLog is openLogs for who leaves the files as they are.
func openLog(env *Env, conf *config.Config, program string) (log *slog.Logger, closeAll func(), err error) {
	log, all, err := openLogs(env, conf, program)
	return log, all.close, err
}
