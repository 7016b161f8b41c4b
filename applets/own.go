package applets

import (
	"context"
	"log/slog"
	"sync/atomic"

	"postoffice/deliver/local"
	"postoffice/internal/config"
	"postoffice/internal/disk"
)

// ownMailer delivers in this process, for the user who started it alone.
// Nothing outlives it, so there is nothing to record.
type ownMailer struct {
	me     local.Account
	boxes  *local.Mailboxes
	person atomic.Pointer[local.Person]
	log    *slog.Logger
}

func newOwnMailer(conf *config.Config, me local.Account, log *slog.Logger) *ownMailer {
	o := &ownMailer{me: me, log: log, boxes: local.NewMailboxes(local.Options{
		FS: disk.OS(), Dir: conf.MailDir, Mailbox: conf.Mailbox, Accounts: local.Only(me), Log: log,
	})}
	o.use(conf)
	return o
}

// use takes what the configuration says now of programs and lists. The alias
// file is the user's, or root's.
func (o *ownMailer) use(conf *config.Config) {
	o.person.Store(local.NewPerson(local.PersonOptions{
		Account:     o.me,
		DefaultUser: o.me.Name,
		Aliases:     conf.Aliases,
		AliasOwner:  o.me.UID,
		Usermap:     conf.Usermap,
		Mailer:      conf.Mailer,
		ProgramDir:  conf.ProgramDir,
		ProgramTime: conf.ProgramTime,
		FS:          disk.OS(),
		Files:       o.boxes,
		Accounts:    local.Only(o.me),
		Log:         o.log,
	}))
}

func (o *ownMailer) Deliver(ctx context.Context, _ string, d local.Delivery) local.Result {
	return o.boxes.Deliver(ctx, d)
}

func (o *ownMailer) Run(ctx context.Context, _ string, j local.Job) local.Result {
	return o.person.Load().Run(ctx, j)
}

func (o *ownMailer) Forwards(ctx context.Context, user, extension string) (bool, error) {
	return o.boxes.Forwards(ctx, user, extension)
}

func (o *ownMailer) List(ctx context.Context, l local.Listing) ([]local.Line, error) {
	return o.person.Load().List(ctx, l)
}

func (o *ownMailer) Recorded(string) {}
