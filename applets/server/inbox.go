package server

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/resolver"
	"postoffice/spool"
	"postoffice/spool/envelope"
	"postoffice/spool/shares"
)

// inbox is the spool as the SMTP server sees it.
type inbox struct {
	queue   *spool.Queue
	shares  *shares.Ledger
	log     *slog.Logger
	arrived func(spool.ID, *smtpd.Transaction) // told of each message that is durable in the queue and in the log

	waits  func(*smtpd.Transaction) bool      // whether a message waits for filters first; nil: none does
	judged func(spool.ID, *smtpd.Transaction) // told of each that does, in the place of arrived
}

// disowned is why a message is held that root seems to have left in maildrop/,
// where root leaves none: anybody might gain root's name so, or a name that the
// file gives as its sender.
const disowned = "root owns the file in maildrop/ that it came from, as after chown -R or from a backup: who left it is not known, so look at it before you release it"

func (b inbox) Room(context.Context) (peer.Amount, error) { return spare(b.queue) }

// spare is what there is room for in the queue.
func spare(queue *spool.Queue) (peer.Amount, error) {
	octets, inodes, err := queue.Spare()
	return peer.Amount{Octets: octets, Files: inodes}, err
}

func (b inbox) Held(ctx context.Context) *peer.Held { return b.shares.Held(ctx) }

func (b inbox) NewID() (string, error) {
	id, err := b.queue.NewID()
	return string(id), err
}

func (b inbox) Begin(_ context.Context, t *smtpd.Transaction) (smtpd.Incoming, error) {
	return b.begin(t, nil)
}

// begin opens a message, in the place of another one's parts where there are some.
func (b inbox) begin(t *smtpd.Transaction, instead []*spool.Incoming) (smtpd.Incoming, error) {
	in := &incoming{inbox: b, t: t, awaits: b.waits != nil && b.waits(t)}
	if t.Client.Absent && t.Client.UID == 0 {
		in.hold = disowned
	}
	for rcpts := range portions(t.Recipients) {
		part, err := b.part(t, rcpts, len(in.parts), instead)
		if err != nil {
			in.Abort()
			return nil, err
		}
		if in.awaits {
			part.Await()
		}
		in.parts = append(in.parts, part)
	}
	in.Hold(in.hold)
	return in, nil
}

// part opens the n-th of the messages in the queue that a transaction makes.
func (b inbox) part(t *smtpd.Transaction, rcpts []smtp.Recipient, n int, instead []*spool.Incoming) (*spool.Incoming, error) {
	env := envelope.Envelope{
		Arrived:     t.Arrived,
		Client:      recorded(t.Client),
		Session:     t.SessionID,
		Folder:      t.Mark.Folder,
		ReversePath: t.ReversePath,
		Params:      t.Params,
		Recipients:  rcpts,
	}
	switch {
	case n < len(instead):
		return instead[n].Instead(env)
	case n == 0:
		return b.queue.CreateAs(spool.ID(t.ID), env)
	}
	return b.queue.Create(env)
}

// What one message in the queue takes of a transaction's recipients, so that
// there is room for what they stand for.
const (
	maxPortion       = envelope.MaxRecipients / 5 // recipients
	maxPortionOctets = 4 << 20                    // octets of them
)

// portions yields recipients in runs that fit into one message each.
func portions(all []smtp.Recipient) func(yield func([]smtp.Recipient) bool) {
	return func(yield func([]smtp.Recipient) bool) {
		for begin := 0; begin < len(all); {
			end, octets := begin, 0
			for end < len(all) && end-begin < maxPortion && octets < maxPortionOctets {
				octets += len(all[end].Path.Local) + len(all[end].Path.Domain)
				for _, p := range all[end].Params {
					octets += len(p.Name) + len(p.Value)
				}
				end++
			}
			if !yield(all[begin:end]) {
				return
			}
			begin = end
		}
	}
}

// incoming is a transaction's message on its way into the spool: as one message,
// or as several with the same octets and a part of the recipients each.
type incoming struct {
	inbox
	t     *smtpd.Transaction
	hold  string // why it is held; "": it isn't
	parts []*spool.Incoming

	awaits bool // it waits for filters
}

func (in *incoming) ID() string { return string(in.parts[0].ID()) }

func (in *incoming) More() []string {
	var ids []string
	for _, part := range in.parts[1:] {
		ids = append(ids, string(part.ID()))
	}
	return ids
}

func (in *incoming) Write(p []byte) (int, error) {
	for _, part := range in.parts {
		if n, err := part.Write(p); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// ReadAt reads what each part has.
func (in *incoming) ReadAt(p []byte, off int64) (int, error) { return in.parts[0].ReadAt(p, off) }

func (in *incoming) Instead(_ context.Context, t *smtpd.Transaction) (smtpd.Incoming, error) {
	return in.inbox.begin(t, in.parts)
}

func (in *incoming) Hold(reason string) {
	if reason == "" {
		return
	}
	in.hold = reason
	for _, part := range in.parts {
		part.Hold(reason)
	}
}

func (in *incoming) Abort() {
	for _, part := range in.parts {
		part.Abort() // what stays in tmp/ is removed when it is old
	}
}

// Commit makes all parts durable.
func (in *incoming) Commit(context.Context) error { return in.parts[0].CommitWith(in.parts[1:]...) }

// Release tells of them, and first logs those of which the session knows nothing.
func (in *incoming) Release() {
	i := 0
	for rcpts := range portions(in.t.Recipients) {
		id, t := in.parts[i].ID(), in.t
		if len(in.parts) > 1 {
			part := *t
			part.Recipients, t = rcpts, &part
		}
		if i > 0 {
			in.log.LogAttrs(context.Background(), slog.LevelInfo, "message queued", maillog.QueueID(id), maillog.Session(t.SessionID), maillog.Client(t.Client.String()),
				maillog.From(t.ReversePath), maillog.NRcpt(len(rcpts)), maillog.Reason("more recipients of "+in.ID()))
		}
		if in.hold != "" {
			in.log.LogAttrs(context.Background(), slog.LevelWarn, "message held", maillog.QueueID(id), maillog.Reason(in.hold))
		} else if in.awaits {
			in.judged(id, t)
		} else {
			in.arrived(id, t)
		}
		i++
	}
}

// recorded is a client in the envelope of its message, which tells for whom it counts.
func recorded(c *smtpd.Client) string {
	if c.Owner != nil {
		return envelope.OwnedBy(c.String(), *c.Owner)
	}
	return c.String()
}

// mailbox says what Delivered-To has in the mailbox that a recipient leads to.
func (s *system) mailbox(ctx context.Context, to smtp.Path) (deliveredTo string, ok bool) {
	router := s.runner.Router()
	name, ok := router.Mailbox(ctx, to)
	return router.DeliveredTo(name).String(), ok
}

// clients tells the server's own addresses and those of trusted clients from
// strangers'.
type clients struct {
	nets   peer.Networks
	ours   func(netip.Addr) bool
	lookup func(context.Context, string) ([]netip.Addr, error)
	log    *slog.Logger

	mu      sync.Mutex          // guards what follows
	names   map[netip.Addr]bool // what the trusted names resolved to
	unknown []string            // the trusted names of which DNS says nothing now
}

// newClients reads the option trusted. Names are looked up here, once for each
// start and reload, as the original does; one that can't be is logged and trusts
// nobody. What DNS did not say is asked again.
func newClients(ctx context.Context, trusted []string, ours func(netip.Addr) bool,
	lookup func(context.Context, string) ([]netip.Addr, error), log *slog.Logger) *clients {
	c := &clients{names: map[netip.Addr]bool{}, ours: ours, lookup: lookup, log: log}
	for _, text := range trusted {
		if p, ok := smtp.ParseNetwork(text); ok {
			c.nets.Add(p)
			continue
		}
		if err := c.learn(ctx, text); err != nil {
			log.LogAttrs(ctx, slog.LevelWarn, "trusted client unknown", maillog.Client(text),
				maillog.Reason("its name has no address now, so it may not relay"), maillog.Err(err))
		}
	}
	return c
}

// learn looks up a trusted name.
func (c *clients) learn(ctx context.Context, name string) error {
	addrs, err := c.lookup(ctx, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range addrs {
		c.names[a.Unmap()] = true
	}
	if errors.Is(err, resolver.ErrTemporary) {
		c.unknown = append(c.unknown, name)
	}
	return err
}

// again looks up the names of which DNS said nothing.
func (c *clients) again(ctx context.Context) {
	c.mu.Lock()
	names := c.unknown
	c.mu.Unlock()
	for _, name := range names {
		if err := c.learn(ctx, name); err == nil {
			c.log.LogAttrs(ctx, slog.LevelInfo, "trusted client known", maillog.Client(name))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unknown = c.unknown[len(names):]
}

// unsure reports whether a stranger may turn out to be trusted.
func (c *clients) unsure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unknown) > 0
}

// within reports whether an address is in a list of addresses and networks, which the
// configuration has checked.
func within(list []string) func(netip.Addr) bool {
	var nets peer.Networks
	for _, text := range list {
		if p, ok := smtp.ParseNetwork(text); ok {
			nets.Add(p)
		}
	}
	return nets.Contains
}

// of says what the server has to know of an address.
func (c *clients) of(a netip.Addr) (local, trusted bool) {
	a = a.Unmap()
	if c.ours(a) {
		return true, true
	}
	if c.nets.Contains(a) {
		return false, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return false, c.names[a]
}

// senders says whose word is taken for a reverse-path, as -f gives it.
type senders struct {
	trusted []string // account names
	domains []string // in which an account's name is its user's own address
}

func newSenders(conf *config.Config, self string) senders {
	return senders{
		trusted: append([]string{conf.ServerUser}, conf.TrustedUsers...),
		domains: append([]string{self, "localhost"}, conf.LocalDomains...),
	}
}

// ownSender says whether an address is an account's: its name at a local domain, with or
// without a detail, or what leads to its mailbox as an alias.
func (s *system) ownSender(ctx context.Context, account string, from smtp.Path) (bool, error) {
	if a, err := smtp.ParseAddress(account); err == nil && a.Domain != "" && smtp.EqualFold(a.Domain, from.Domain) && s.settings.Load().isName(from.Local, a.Local) {
		return true, nil
	}
	router := s.runner.Router()
	if here, err := router.IsLocal(ctx, from.Domain); !here || err != nil {
		return false, err
	}
	return router.LeadsTo(ctx, from, account)
}

// isName says whether a local part is a name, with or without a detail.
func (s *settings) isName(local, name string) bool {
	if d := s.conf.Delimiter; d != "" && len(local) > len(name) && strings.HasPrefix(local[len(name):], d) {
		local = local[:len(name)]
	}
	return smtp.EqualFold(local, name)
}

// own says whether the program's user may send as from without a word about it
// in the header: root and trusted users as anybody, all others as themselves.
func (s senders) own(c *smtpd.Client, from smtp.Path) bool {
	if c.UID == 0 || slices.Contains(s.trusted, c.User) {
		return true
	}
	// In a chroot without accounts sendmail knows the caller by number alone.
	himself := from.Local == c.User || from.Local == "uid-"+strconv.Itoa(c.UID)
	return himself && slices.ContainsFunc(s.domains, func(d string) bool { return smtp.EqualFold(d, from.Domain) })
}

// useFilters takes the filters of a configuration. What is known of those that stay is
// kept, and what the others have done is in the log.
func (s *system) useFilters(now *settings) {
	former, next := s.filters.Load(), (*filters.Set)(nil)
	if len(now.conf.Filters) > 0 {
		next = filters.New(filters.Options{
			Filters:  now.conf.Filters,
			Hostname: now.self,
			Version:  cmdline.Version(),
			IsLocal:  func(domain string) bool { return s.runner.Router().IsStatic(domain) },
			Addrs:    now.resolver.HostAddrs,
			Log:      s.log,

			Fits:          envelope.Fits,
			MaxRecipients: envelope.MaxRecipients,
		}, former)
	}
	s.filters.Store(next)
	former.LogCounts(context.Background(), next)
}

// spfDNS is DNS as the pools of providers ask it.
type spfDNS struct{ *resolver.Resolver }

func (d spfDNS) Exchangers(ctx context.Context, domain string) (hosts []string, err error) {
	all, err := d.MX(ctx, domain)
	for _, mx := range all {
		hosts = append(hosts, mx.Host)
	}
	return hosts, err
}
