package applets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

// queueAccess is a way to the queue: through the daemon, or to its files.
type queueAccess interface {
	list(ctx context.Context) iter.Seq2[control.Message, error] // with histories
	show(ctx context.Context, id string) (control.Message, error)
	cat(ctx context.Context, id string, w io.Writer) error
	act(ctx context.Context, r control.Request) error
	close() error
}

// atQueue calls do with the daemon's queue, or with the files where none runs
// and the caller may read them. For root another process runs the whole applet
// again, with the rights of the server-user: root parses no queue file. change
// says that do may change something.
func atQueue(ctx context.Context, env *Env, change bool, do func(queueAccess, *config.Config) error) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	client, err := dialControl(ctx, conf)
	if err == nil {
		client.Close() // each request has its own connection
		return do(daemonAccess{conf}, conf)
	}
	if !isAbsent(err) {
		return exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	if !mayServe(conf) {
		code, what := sysexits.Unavailable, "look into"
		if change {
			code, what = sysexits.NoPerm, "change"
		}
		return exitWith(code, fmt.Errorf("no mail server runs here, and only root may %s %s", what, conf.QueueDir),
			"run this as root, or ask root to start the server: postoffice smtpd")
	}
	if running, _ := privsep.Running(conf.RunDir); running && change {
		return unanswered(conf)
	}
	if _, err := os.Stat(conf.QueueDir); errors.Is(err, os.ErrNotExist) {
		return do(noQueue{}, conf)
	}
	if os.Getuid() == 0 {
		return asOwner(ctx, env, conf, change)
	}
	files, err := openFiles(env, conf, change)
	if err != nil {
		return err
	}
	return errors.Join(do(files, conf), files.close())
}

// unanswered is the error where a server runs that can't be asked.
func unanswered(conf *config.Config) error {
	return exitWith(sysexits.TempFail, fmt.Errorf("a mail server runs, but its control socket doesn't answer in %s", conf.RunDir),
		"try again in ten seconds: it makes a socket that was removed anew",
		"if it stays so, its log says why; a restart makes everything anew")
}

// ownerRole is the process that is an applet for root, with the ids of the
// queue's owner; the configuration comes on standard input.
const ownerRole = "postoffice: queue"

// asOwner runs the applet again as the server-user.
func asOwner(ctx context.Context, env *Env, conf *config.Config, change bool) error {
	owner, err := serverUser(conf)
	if err != nil {
		return err
	}
	if change { // it will log, and can make no file of the log's
		_, closeLog, err := openLog(env, conf, "queue")
		if err != nil {
			return err
		}
		closeLog()
	}
	argv := append([]string{ownerRole, env.Program, env.applet.Name}, env.given...)
	return asUser(ctx, env, owner, argv, bytes.NewReader(conf.Encode()))
}

func runAsOwner(ctx context.Context, env *Env) error {
	if len(env.Args) < 2 || os.Getuid() == 0 {
		return usageErrorf("this is a part of mailq and queue")
	}
	a, ok := named(env.Args[1])
	if !ok {
		return usageErrorf("no applet %q", env.Args[1])
	}
	data, err := io.ReadAll(env.Stdin)
	if err != nil {
		return err
	}
	conf, err := config.Decode(data)
	if err != nil {
		return err
	}
	env.Program = env.Args[0]
	env.prepare(a, env.Args[2:])
	env.config, env.forRoot = conf, true
	return a.Run(ctx, env)
}

// daemonAccess is the queue of the server that runs.
type daemonAccess struct{ conf *config.Config }

// ask makes a request, with a connection of its own.
func (d daemonAccess) ask(ctx context.Context, request func(*control.Client) error) error {
	client, err := dialControl(ctx, d.conf)
	if err != nil {
		return exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	defer client.Close()
	return request(client)
}

func (d daemonAccess) list(ctx context.Context) iter.Seq2[control.Message, error] {
	return func(yield func(control.Message, error) bool) {
		err := d.ask(ctx, func(c *control.Client) error {
			c.List(ctx)(yield)
			return nil
		})
		if err != nil {
			yield(control.Message{}, err)
		}
	}
}

func (d daemonAccess) show(ctx context.Context, id string) (m control.Message, err error) {
	err = d.ask(ctx, func(c *control.Client) error {
		m, err = c.Show(ctx, id)
		return err
	})
	return m, err
}

func (d daemonAccess) cat(ctx context.Context, id string, w io.Writer) error {
	return d.ask(ctx, func(c *control.Client) error { return c.Cat(ctx, id, w) })
}

func (d daemonAccess) act(ctx context.Context, r control.Request) error {
	return d.ask(ctx, func(c *control.Client) error { return c.Act(ctx, r) })
}

func (d daemonAccess) close() error { return nil }

// fileAccess is the queue as files, where no server runs.
type fileAccess struct {
	listing
	*changer
	closeLog func()
}

func openFiles(env *Env, conf *config.Config, change bool) (fileAccess, error) {
	f := fileAccess{closeLog: func() {}}
	o := spool.Options{Dir: conf.QueueDir, MinFree: conf.MinFree}
	if change {
		log, closeLog, err := openLog(env, conf, "queue")
		if err != nil {
			return f, err
		}
		o.Log, f.closeLog = log, closeLog
	}
	queue, err := spool.Open(o)
	if err != nil {
		f.closeLog()
		return f, fmt.Errorf("open the queue: %w", err)
	}
	f.listing = listing{queue, func(spool.ID) bool { return false }}
	f.changer = &changer{env: env, conf: conf, log: o.Log, queue: queue}
	return f, nil
}

func (f fileAccess) list(context.Context) iter.Seq2[control.Message, error] {
	return f.all(control.Peer{UID: os.Getuid()})
}

func (f fileAccess) show(_ context.Context, id string) (control.Message, error) {
	return f.one(spool.ID(id))
}

func (f fileAccess) cat(_ context.Context, id string, w io.Writer) error {
	r, err := f.listing.open(id)
	if err != nil {
		return err
	}
	defer r.Close() // only read
	_, err = io.Copy(w, r)
	return err
}

func (f fileAccess) act(ctx context.Context, r control.Request) error {
	uid := os.Getuid()
	if f.changer.env.forRoot {
		uid = 0
	}
	return f.changer.act(ctx, r, by(uid))
}

func (f fileAccess) close() error {
	defer f.closeLog()
	return f.changer.queue.Close()
}

// noQueue is a queue that nobody has made yet: it is empty.
type noQueue struct{}

func (noQueue) list(context.Context) iter.Seq2[control.Message, error] {
	return func(func(control.Message, error) bool) {}
}

func (noQueue) show(_ context.Context, id string) (control.Message, error) { return noMessage(id) }

func (noQueue) cat(_ context.Context, id string, _ io.Writer) error {
	_, err := noMessage(id)
	return err
}

func (noQueue) act(_ context.Context, r control.Request) error {
	_, err := noMessage(r.ID)
	return err
}

func (noQueue) close() error { return nil }
