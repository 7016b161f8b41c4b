package applets

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"postoffice/deliver"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/internal/smtpd"
	"postoffice/spool"
)

// inbox is the spool as the SMTP server sees it.
type inbox struct {
	queue   *spool.Queue
	arrived func(spool.ID, *smtpd.Transaction) // told of each message that is durable
}

func (b inbox) Room(context.Context) error { return b.queue.Room() }

func (b inbox) NewID() (string, error) {
	id, err := b.queue.NewID()
	return string(id), err
}

func (b inbox) Begin(_ context.Context, t *smtpd.Transaction) (smtpd.Incoming, error) {
	in, err := b.queue.CreateAs(spool.ID(t.ID), spool.Envelope{
		Arrived:     t.Arrived,
		Client:      t.Client.String(),
		Session:     t.SessionID,
		ReversePath: t.ReversePath,
		Params:      t.Params,
		Recipients:  t.Recipients,
	})
	if err != nil {
		return nil, err
	}
	return incoming{in, func() { b.arrived(in.ID(), t) }}, nil
}

// incoming is one message on its way into the spool.
type incoming struct {
	*spool.Incoming
	arrived func()
}

func (in incoming) ID() string { return string(in.Incoming.ID()) }
func (in incoming) Abort()     { in.Incoming.Abort() }

func (in incoming) Commit(context.Context) error {
	if err := in.Incoming.Commit(); err != nil {
		return err
	}
	in.arrived()
	return nil
}

// policy decides for the SMTP server who may send what to whom.
type policy struct {
	runner *deliver.Runner
}

// Sender accepts every reverse-path: it is checked when something can be done
// about it, not before.
func (p policy) Sender(context.Context, *smtpd.Client, smtp.Path) smtp.Reply { return smtp.Reply{} }

// Recipient asks the router. Who has gone is not asked back: what is wrong with
// a recipient turns out at delivery, and a report tells him.
func (p policy) Recipient(ctx context.Context, c *smtpd.Client, to smtp.Path) smtp.Reply {
	if c.Absent {
		return smtp.Reply{}
	}
	return p.runner.Router().Recipient(ctx, to, c.Local || c.Trusted)
}

// clients tells the server's own addresses and those of trusted clients from
// strangers'.
type clients struct {
	nets  []netip.Prefix
	names map[netip.Addr]bool // what the trusted names resolved to
	ours  func(netip.Addr) bool
}

// newClients reads the option trusted. Names are looked up here, once for each
// start and reload, as the original does (original.md 2.4); one that can't be is
// logged and trusts nobody.
func newClients(ctx context.Context, trusted []string, ours func(netip.Addr) bool,
	lookup func(context.Context, string) ([]netip.Addr, error), log *slog.Logger) clients {
	c := clients{names: map[netip.Addr]bool{}, ours: ours}
	for _, text := range trusted {
		if p, err := prefix(text); err == nil {
			c.nets = append(c.nets, p)
			continue
		}
		addrs, err := lookup(ctx, text)
		if err != nil {
			log.LogAttrs(ctx, slog.LevelWarn, "trusted client unknown", maillog.Client(text),
				maillog.Reason("its name has no address now, so it may not relay; reload when it has one"), maillog.Err(err))
		}
		for _, a := range addrs {
			c.names[a.Unmap()] = true
		}
	}
	return c
}

// prefix reads an address or a network.
func prefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is no address and no network", text)
	}
	return p.Masked(), nil
}

// of says what the server has to know of an address.
func (c clients) of(a netip.Addr) (local, trusted bool) {
	a = a.Unmap()
	if c.ours(a) {
		return true, true
	}
	for _, p := range c.nets {
		if p.Contains(a) {
			return false, true
		}
	}
	return false, c.names[a]
}
