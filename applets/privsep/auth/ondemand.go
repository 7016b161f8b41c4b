package auth

import (
	"cmp"
	"context"
	"errors"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/logins"
	"postoffice/applets/smtpd/login"
	"postoffice/vhost"
)

// OnDemand asks a process that is started when it is needed, and again when it has
// ended.
type OnDemand struct {
	Start func(context.Context) (Links, error) // starts it and returns the server's ends of its links

	Note func(text string) // told what a process says is wrong with its indexes

	wait, lives time.Duration // for tests: askWait and livesWait else
	kept        logins.Kept[*ends]
}

// ends are those of one process: questions, and logins.
type ends struct {
	*Client
	logins *logins.Client
}

// Alive reports whether neither half of it has ended.
func (e *ends) Alive() bool { return e.Client.Alive() && e.logins.Alive() }

// Close ends it.
func (e *ends) Close() error { return errors.Join(e.Client.Close(), e.logins.Close()) }

// current returns the process.
func (d *OnDemand) current(ctx context.Context) (*ends, error) {
	return d.kept.Get(ctx, func(ctx context.Context) (*ends, error) {
		links, err := d.Start(ctx)
		if err != nil {
			return nil, err
		}
		return d.take(ctx, links)
	})
}

// take takes over the links of a process. Whether that lives is asked by the one of logins.
func (d *OnDemand) take(ctx context.Context, l Links) (*ends, error) {
	conn, err := birth.Conn(l.Logins)
	if err != nil {
		l.Questions.Close()
		return nil, err
	}
	asked, err := logins.NewClient(ctx, conn)
	if err != nil {
		l.Questions.Close()
		return nil, err
	}
	c, err := NewClient(l.Questions, cmp.Or(d.wait, askWait), func() bool { return asked.Lives(cmp.Or(d.lives, livesWait)) }, d.Note)
	if err != nil {
		asked.Close()
		return nil, err
	}
	return &ends{c, asked}, nil
}

// Logins are those at the process.
func (d *OnDemand) Logins() login.Source {
	return logins.Demanded{
		Current: func(ctx context.Context) (*logins.Client, error) {
			now, err := d.current(ctx)
			if err != nil {
				return nil, err
			}
			return now.logins, nil
		},
		Running: func() *logins.Client {
			if now := d.kept.Running(); now != nil {
				return now.logins
			}
			return nil
		},
	}
}

// User is Client.User.
func (d *OnDemand) User(ctx context.Context, domain, name string) (vhost.Box, error) {
	c, err := d.current(ctx)
	if err != nil {
		return vhost.Box{}, err
	}
	return c.User(ctx, domain, name)
}

// Used is Client.Used.
func (d *OnDemand) Used(ctx context.Context, domain, name string, enough int64) (int64, error) {
	c, err := d.current(ctx)
	if err != nil {
		return 0, err
	}
	return c.Used(ctx, domain, name, enough)
}

// Alias is Client.Alias.
func (d *OnDemand) Alias(ctx context.Context, domain, name string) (vhost.Alias, error) {
	c, err := d.current(ctx)
	if err != nil {
		return vhost.Alias{}, err
	}
	return c.Alias(ctx, domain, name)
}
