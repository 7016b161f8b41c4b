package server

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"slices"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/privsep/auth"
	"postoffice/applets/sysexits"
	"postoffice/deliver/local"
	"postoffice/deliver/route"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/vhost"
)

// routeWait bounds the search for one route: DNS may be slow.
const routeWait = 2 * time.Minute

// route answers where a message would go. What another user has written into
// their files is for them and administrators.
func (s *system) route(ctx context.Context, p control.Peer, r control.Request) iter.Seq2[control.Step, error] {
	return func(yield func(control.Step, error) bool) {
		to, from, err := routeOf(r.Address, r.Sender)
		if err != nil {
			yield(control.Step{}, err)
			return
		}
		ctx, cancel := context.WithTimeout(ctx, routeWait)
		defer cancel()
		v := view{Viewer: s.settings.Load().viewer(p.UID)}
		for step := range s.runner.Router().DryRun(ctx, to, from) {
			if shown, ok := v.step(step); ok && !yield(shown, nil) {
				return
			}
		}
	}
}

// routeOf reads the addresses of a request.
func routeOf(address, sender string) (to, from smtp.Path, err error) {
	bad := func(what string, err error) error {
		return &control.Error{Code: sysexits.Usage, Text: what + ": " + err.Error()}
	}
	if to, err = smtp.ParseAddress(address); err != nil {
		return to, from, bad("address "+clean(address), err)
	}
	if sender != "" && sender != "<>" {
		if from, err = smtp.ParseAddress(sender); err != nil {
			return to, from, bad("sender "+clean(sender), err)
		}
	}
	return to, from, nil
}

// viewer is who asks, by the configuration as it is now.
func (s *settings) viewer(uid int) route.Viewer {
	user, _, _ := accountOf(uid)
	admin := uid == 0 || uid == os.Getuid() || user != "" && slices.Contains(s.senders.trusted, user)
	return route.Viewer{UID: uid, User: user, Admin: admin, All: admin || s.conf.QueueView == config.ViewAll}
}

// view is how much of a route somebody is shown.
type view struct {
	route.Viewer
	hidden int // the depth from which on nothing is shown now, 0: all is
}

// step is a step as it is shown, if it is. Whoever wrote a .forward, a personal
// alias file or a list in a file has not written it for everybody.
func (v *view) step(r route.DryStep) (control.Step, bool) {
	if v.hidden > 0 && r.Depth >= v.hidden {
		return control.Step{}, false
	}
	v.hidden = 0
	s := stepOf(r)
	if r.Quote != "" && v.Quoted(r.Read.Owner) {
		s.Reason = clean(r.Quote)
	}
	if s.Hidden = s.How != route.HowFailure && !v.Sees(r.Read); s.Hidden {
		v.hidden = r.Depth + 1
	}
	return s, true
}

// stepOf is a step as clients see it: foreign text is printable.
func stepOf(r route.DryStep) control.Step {
	s := control.Step{
		Depth: r.Depth, Recipient: clean(r.Recipient), File: clean(r.File), Line: r.Line, How: r.How, Name: clean(r.Name), Again: r.Again, Sender: clean(r.Sender),
		User: clean(r.User), UID: r.UID, Extension: clean(r.Extension), Way: clean(r.Way), Quota: r.Quota, Used: r.Used, RelayHost: clean(r.RelayHost), Routes: clean(r.Routes),
		Code: r.Code, Status: clean(r.Status), Reason: clean(r.Reason), Permanent: r.Permanent,
	}
	for _, h := range r.Hosts {
		s.Hosts = append(s.Hosts, control.Host{Name: clean(h.Name), Port: h.Port, Addrs: h.Addrs})
	}
	return s
}

// Router finds the steps of a message from sender to address.
type Router func(ctx context.Context, address, sender string) ([]control.Step, error)

// RoutesHere finds routes in this process, for somebody who may neither ask a
// server, since none runs, nor start one. It reads what the caller may read.
func RoutesHere(ctx context.Context, env *cmdline.Env, conf *config.Config) (Router, error) {
	me, err := ourselves()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	g := ground{accounts: account.Machine(), mailer: bystander{newPrivateMailer(ctx, conf, me, log), me.Name}}
	g.virtual = newVirtual(conf, vhost.New(conf.VHostDir, g.accounts), auth.Counted(whereVirtual(conf)), g.accounts)
	router := route.New(newSettings(ctx, conf, log).route(g))
	env.Say("no mail server runs here: whether other users' mail is forwarded can't be seen")
	return func(ctx context.Context, address, sender string) ([]control.Step, error) {
		to, from, err := routeOf(address, sender)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, routeWait)
		defer cancel()
		var all []control.Step
		for step := range router.DryRun(ctx, to, from) {
			if step.Quote != "" { // of a file that the caller can read
				step.Reason = step.Quote
			}
			all = append(all, stepOf(step))
		}
		return all, nil
	}, nil
}

// bystander is a local.Mailer that reads with the rights of its user alone, and
// delivers nothing.
type bystander struct {
	own *privateMailer
	me  string
}

var errBystander = errors.New("only the mail server may do that, and none runs")

func (b bystander) Deliver(context.Context, string, local.Delivery) (res local.Result) {
	res.Err = errBystander
	return res
}

func (b bystander) Run(context.Context, string, local.Job) (res local.Result) {
	res.Err = errBystander
	return res
}

func (b bystander) Recorded(string) {}

func (b bystander) Forwards(ctx context.Context, user, extension string) (bool, error) {
	if user != b.me {
		return false, nil
	}
	return b.own.Forwards(ctx, user, extension)
}

// List reads a list in a file that an alias names as its default-user would, if
// the file is for everybody.
func (b bystander) List(ctx context.Context, l local.Listing) ([]local.Line, error) {
	if l.User != b.me && l.Item.Source != local.FromAlias {
		return nil, errBystander
	}
	l.User = b.me
	return b.own.List(ctx, l)
}

// watchAliases says in the log, once for each, what is wrong with the alias
// database, and that its text is newer, and with the list of virtual domains; it asks
// again for trusted clients whose addresses DNS did not say; and it tries the queue where
// there is a new password for a smarthost that refused the old one.
func (s *system) watchAliases(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	aliases, domains := once{}, once{}
	for {
		for _, err := range aliases.news(s.settings.Load().aliases.Problem()) {
			s.log.LogAttrs(ctx, slog.LevelWarn, "alias database to be made anew", maillog.Reason(err.Error()))
		}
		if s.virtual != nil {
			for _, err := range domains.news(s.virtual.Domains.Problem()) {
				s.log.LogAttrs(ctx, slog.LevelWarn, "virtual domains to be mended", maillog.Reason(err.Error()))
			}
		}
		s.settings.Load().clients.again(ctx)
		if s.logins.Mended(ctx) {
			s.runNow(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// once has what was told of last.
type once struct{ told string }

// news returns the lines of an error that is another one than before.
func (o *once) news(err error) []error {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == o.told || text == "" {
		o.told = text
		return nil
	}
	o.told = text
	return maillog.Lines(err)
}
