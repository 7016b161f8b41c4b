package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/spool"
)

// Queue is a way to the queue: through the daemon, or to its files.
type Queue interface {
	List(ctx context.Context) iter.Seq2[control.Message, error] // without histories
	Show(ctx context.Context, id string) (control.Message, error)
	Cat(ctx context.Context, id string, w io.Writer) error // header and body as they are
	Act(ctx context.Context, r control.Request) error      // what changes a message
}

// AtQueue calls do with the daemon's queue, or with the files where none runs
// and the caller may read them. For root another process runs the whole applet
// again, with the rights of the server-user: root parses no queue file. change
// says that do may change something.
//
// A configuration with errors keeps nobody from the daemon, nor from the files if
// they are surely the right ones: the errors are told beside the answer.
func AtQueue(ctx context.Context, env *cmdline.Env, change bool, do func(Queue, *config.Config) error) error {
	conf, confErr := env.Config()
	bad := &flaw{env: env, err: confErr}
	client, err := dialControl(ctx, conf)
	if err == nil {
		client.Close() // each request has its own connection
		bad.tell()
		return do(serverQueue{conf}, conf)
	}
	if !isAbsent(err) {
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	if confErr != nil && !sparesQueue(confErr) {
		return confErr
	}
	if !server.MayServe(conf) {
		code, what := sysexits.Unavailable, "look into"
		if change {
			code, what = sysexits.NoPerm, "change"
		}
		return cmdline.ExitWith(code, fmt.Errorf("no mail server runs here, and only root may %s %s", what, conf.QueueDir),
			"run this as root, or ask root to start the server: postoffice smtpd")
	}
	if running, _ := service.Running(conf.RunDir); running && change {
		return unanswered(conf)
	}
	bad.tell()
	if _, err := os.Stat(conf.QueueDir); errors.Is(err, os.ErrNotExist) {
		return do(noQueue{}, conf)
	}
	if os.Getuid() == 0 {
		return asOwner(ctx, env, conf, change)
	}
	files, err := OpenFiles(env, conf, change)
	if err != nil {
		return err
	}
	return errors.Join(do(files, conf), files.Close())
}

// AtServer calls do with a way to make requests of the daemon, each with a connection
// of its own. Where none runs, that is the error.
func AtServer(ctx context.Context, env *cmdline.Env, do func(request func(func(*control.Client) error) error) error) error {
	conf, confErr := env.Config()
	client, err := dialControl(ctx, conf)
	switch {
	case err == nil:
		client.Close()
		(&flaw{env: env, err: confErr}).tell()
		server := serverQueue{conf}
		return do(func(request func(*control.Client) error) error { return answered(server.ask(ctx, request)) })
	case !isAbsent(err):
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case confErr != nil:
		return confErr
	}
	if running, _ := service.Running(conf.RunDir); running {
		return unanswered(conf)
	}
	return cmdline.ExitWith(sysexits.Unavailable, errors.New("no mail server runs here"), "root starts one: postoffice smtpd")
}

// unanswered is the error where a server runs that can't be asked.
func unanswered(conf *config.Config) error {
	return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("a mail server runs, but its control socket doesn't answer in %s", conf.RunDir),
		"try again in ten seconds: it makes a socket that was removed anew",
		"if it stays so, its log says why; a restart makes everything anew")
}

// serverQueue is the queue of the server that runs.
type serverQueue struct{ conf *config.Config }

// ask makes a request, with a connection of its own.
func (d serverQueue) ask(ctx context.Context, request func(*control.Client) error) error {
	client, err := dialControl(ctx, d.conf)
	if err != nil {
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	defer client.Close()
	return request(client)
}

func (d serverQueue) List(ctx context.Context) iter.Seq2[control.Message, error] {
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

func (d serverQueue) Show(ctx context.Context, id string) (m control.Message, err error) {
	err = d.ask(ctx, func(c *control.Client) error {
		m, err = c.Show(ctx, id)
		return err
	})
	return m, err
}

func (d serverQueue) Cat(ctx context.Context, id string, w io.Writer) error {
	return d.ask(ctx, func(c *control.Client) error { return c.Cat(ctx, id, w) })
}

func (d serverQueue) Act(ctx context.Context, r control.Request) error {
	return d.ask(ctx, func(c *control.Client) error { return c.Act(ctx, r) })
}

// Files is the queue as files, where no server runs.
type Files struct {
	listing  server.Listing
	changer  *server.Changer
	env      *cmdline.Env
	closeLog func()
}

// OpenFiles opens the queue's files. change says that Act will be called: what it
// does is logged.
func OpenFiles(env *cmdline.Env, conf *config.Config, change bool) (Files, error) {
	f := Files{env: env, closeLog: func() {}}
	o := spool.Options{Dir: conf.QueueDir, MinFree: conf.MinFree}
	if change {
		log, closeLog, err := server.OpenLog(env, conf, "queue")
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
	f.listing = server.WholeListing(queue)
	f.changer = server.NewChanger(conf, o.Log, queue)
	return f, nil
}

// List implements Queue.
func (f Files) List(context.Context) iter.Seq2[control.Message, error] {
	return control.Messages(f.listing.All())
}

// Show implements Queue.
func (f Files) Show(_ context.Context, id string) (control.Message, error) {
	for m, err := range control.Messages(f.listing.One(spool.ID(id))) {
		return m, err
	}
	return control.Message{}, server.NoMessage(id)
}

// Cat implements Queue.
func (f Files) Cat(_ context.Context, id string, w io.Writer) error {
	r, err := f.listing.Open(id)
	if err != nil {
		return err
	}
	defer r.Close() // only read
	_, err = io.Copy(w, r)
	return err
}

// Act implements Queue.
func (f Files) Act(ctx context.Context, r control.Request) error {
	return f.changer.Act(ctx, r, f.env.UID())
}

// Close lets go of the files.
func (f Files) Close() error {
	defer f.closeLog()
	return f.listing.Queue.Close()
}

// noQueue is a queue that nobody has made yet: it is empty.
type noQueue struct{}

func (noQueue) List(context.Context) iter.Seq2[control.Message, error] {
	return func(func(control.Message, error) bool) {}
}

func (noQueue) Show(_ context.Context, id string) (control.Message, error) {
	return control.Message{}, server.NoMessage(id)
}

func (noQueue) Cat(_ context.Context, id string, _ io.Writer) error {
	return server.NoMessage(id)
}

func (noQueue) Act(_ context.Context, r control.Request) error {
	return server.NoMessage(r.ID)
}
