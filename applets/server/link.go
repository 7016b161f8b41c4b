package server

import (
	"context"
	"log/slog"
	"os"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/privsep"
	"postoffice/applets/service"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// runServerRole is the server of the root tree: no rights, all the work. The
// master behind the link gave it its configuration and its sockets, and ends it.
func runServerRole(ctx context.Context, env *cmdline.Env) error {
	service.TakeName() // before it hides from its user's other processes
	link, err := privsep.Connect()
	if err != nil {
		return err
	}
	conf, err := config.Decode(link.Settings())
	if err != nil {
		return err
	}
	program := "smtpd"
	if link.OnePass() {
		program = "runq"
	}
	log, closeLog, err := OpenLog(env, conf, program)
	if err != nil {
		return err
	}
	defer closeLog()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // nobody is left who delivers: what is under way is worth nothing
		<-link.Closed()
		cancel()
	}()
	s, err := assemble(ctx, conf, log, ground{accounts: link.Accounts(account.Names{}), mailer: link, maildrop: true, keepOut: link.KeepOut})
	if err != nil {
		// In the background nobody sees the standard error of a second server.
		log.LogAttrs(ctx, slog.LevelError, "server not started", maillog.Err(err))
		return err
	}
	s.recordOld(ctx, link)
	if link.OnePass() {
		return s.serveOnce(ctx, cancel, link)
	}
	return s.serveLink(ctx, cancel, link)
}

// recordOld writes down what an earlier server had delivered and could not say.
func (s *system) recordOld(ctx context.Context, link *privsep.Link) {
	s.runner.ApplyResults(ctx, link.Unrecorded())
}

// serveOnce is one pass for the master.
func (s *system) serveOnce(ctx context.Context, cancel func(), link *privsep.Link) error {
	if err := link.Ready(); err != nil {
		return err
	}
	go func() {
		for event := range link.Events() {
			if _, ok := event.(privsep.Stop); ok {
				cancel()
			}
		}
	}()
	var asked *os.File
	for _, l := range link.Listeners() {
		asked = l.File
	}
	err := s.pass(ctx, link.Session(), asked)
	cancel()
	s.stop()
	if err != nil {
		return err
	}
	return link.Done()
}

// serveLink serves until the master says stop.
func (s *system) serveLink(ctx context.Context, cancel func(), link *privsep.Link) error {
	s.broken = link.Broken
	if c := link.Certificates(); c != nil {
		s.takeCertificates(ctx, *c)
	}
	for _, l := range link.Listeners() {
		if err := s.listen(ctx, l); err != nil {
			return err
		}
	}
	s.deliverAll(ctx)
	if err := link.Ready(); err != nil {
		return err
	}
	for event := range link.Events() {
		switch e := event.(type) {
		case privsep.Stop:
			cancel()
			s.stop()
			return nil
		case privsep.Reload:
			conf, err := config.Decode(e.Settings)
			if err != nil {
				s.log.LogAttrs(ctx, slog.LevelError, "configuration refused", maillog.Err(err))
				continue
			}
			s.reload(ctx, conf)
		case privsep.NewCertificates:
			s.takeCertificates(ctx, e)
		case privsep.ToggleAudit:
			s.policy.ToggleAudit()
		case privsep.NewListener:
			if err := s.listen(ctx, e.Listener); err != nil {
				s.log.LogAttrs(ctx, slog.LevelError, "listener lost", maillog.Err(err))
			}
		}
	}
	cancel()
	s.stop()
	return nil
}
