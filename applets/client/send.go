package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/spool/maildrop"
)

// SendOptions are how sendmail's flags want one message to be sent.
type SendOptions struct {
	Sender     cmdline.Text // -f, -r; the caller, if not given
	FullName   cmdline.Text // -F
	FromHeader bool         // -t: recipients are those of the header
	Dots       bool         // -i: a line "." doesn't end the message
	DSN        DSN
	Delivery   cmdline.Text // -od: b, i, q or d; as configured, if not given
	Verbose    bool         // -v
	Wait       cmdline.Text // --wait, as cmdline.Span reads it
	Refused    func()       // called when recipients were refused, each of which has been told; or nil
}

// Send submits the message on standard input, or leaves it in maildrop/.
func Send(ctx context.Context, env *cmdline.Env, o SendOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conf, err := env.Config()
	bad := &flaw{env: env, err: err}
	if mode := o.Delivery; mode.Given && (len(mode.Value) != 1 || !strings.Contains("biqd", mode.Value)) {
		return cmdline.Usagef("--delivery-mode %q: want b, i, q or d", mode.Value)
	}
	if !o.Delivery.Given && !conf.Immediate {
		o.Delivery = cmdline.Given("q")
	}
	w, err := o.waiter(env)
	if err != nil {
		return err
	}
	l, err := o.letter(env)
	if err != nil {
		return err
	}
	defer l.body.close()
	err = l.send(ctx, env, conf, bad, w)
	if errors.Is(err, errNoServer) {
		return w.left(l.leave(conf, bad, err))
	}
	return err
}

// send submits the message to a server and, with w, waits for what becomes of
// it.
func (l letter) send(ctx context.Context, env *cmdline.Env, conf *config.Config, bad *flaw, w *waiter) error {
	limit := time.Now().Add(greetWait)
	s, err := submission(ctx, env, conf, bad, w != nil, limit)
	if errors.Is(err, errNoServer) {
		return err
	}
	if err != nil {
		return w.notTaken(err)
	}
	defer s.close()
	submit := func() (*submitted, error) {
		return l.submit(ctx, env, s.mail, limit, sessions{
			more: func(limit time.Time) (net.Conn, error) { return mailOf(submission(ctx, env, conf, bad, false, limit)) },
			last: func(why error) (net.Conn, error) { return unheard(ctx, env, conf, bad, why) },
		})
	}
	if w == nil {
		_, err := submit()
		return err
	}
	if err := w.begin(ctx, s); err != nil {
		return err
	}
	limit = time.Now().Add(greetWait)
	return w.follow(submit)
}

// mailOf is the session of connections.
func mailOf(s *connections, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return s.mail, nil
}

// unheard is what follows where a server is there and gives no session for too
// long: one for this message alone, for those who may start it; others may leave
// theirs in maildrop/. Nothing was submitted yet.
func unheard(ctx context.Context, env *cmdline.Env, conf *config.Config, bad *flaw, why error) (net.Conn, error) {
	if bad.err != nil || !server.MayServe(conf) {
		return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w: %w", errNoServer, why))
	}
	return mailOf(startForOne(ctx, env, false))
}

// leave puts the message into maildrop/, as no server answers; why is what the
// caller gets where that is no way.
func (l letter) leave(conf *config.Config, bad *flaw, why error) error {
	text, err := l.text()
	if err != nil {
		return cmdline.ExitWith(sysexits.TempFail, errors.Join(why, err))
	}
	d := maildrop.Drop{Params: l.params, Recipients: l.to}
	if !l.o.own() {
		d.ReversePath = &l.from
	}
	err = leave(conf, d, text, why)
	if err == nil {
		bad.tell()
	}
	return err
}
