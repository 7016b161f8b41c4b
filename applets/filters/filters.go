package filters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/filterline"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/milter"
)

// Options are the filters, and what is asked of others.
type Options struct {
	Filters  []filterline.Filter
	Hostname string // ours
	Version  string // of this program
	// IsLocal says whether a domain's mail stays here, as far as that is known without
	// asking DNS. nil: none does.
	IsLocal func(domain string) bool
	// Fits says why no message in the queue can have a recipient, or a sender. nil: each
	// can have any.
	Fits func(p smtp.Path, params []smtp.Param, sender bool) error
	// MaxRecipients are those that a message in the queue can have; 0: any number.
	MaxRecipients int
	// Addrs returns the addresses of a host. nil: the system's resolver.
	Addrs func(ctx context.Context, host string) ([]netip.Addr, error)
	Log   *slog.Logger
}

const (
	maxConns  = 200 // connections to one filter: twice as many as strangers have sessions, by default
	connShare = 4   // one of so many parts of those that are free is what a client's network may have
)

// A Set is the filters of a server, with what is known of each.
type Set struct {
	o       Options
	all     []*filter
	clients *peer.Room[netip.Addr] // who has sessions about which filters are asked
}

// filter is what sessions share of a filter.
type filter struct {
	filterline.Filter
	room peer.Room[peer.Holder]

	mu     sync.Mutex // guards what follows
	away   rest       // it could not be reached
	doubts doubts
	why    string // it failed last
	counts Counts
}

// New returns the filters. Those that old has with the same words keep their state.
func New(o Options, old *Set) *Set {
	s := &Set{o: o, clients: &peer.Room[netip.Addr]{}}
	if old != nil {
		s.clients = old.clients
	}
	for _, line := range o.Filters {
		f := &filter{Filter: line}
		if old != nil {
			for _, was := range old.all {
				if was.String() == line.String() {
					f = was
				}
			}
		}
		s.all = append(s.all, f)
	}
	return s
}

// errResting is that a filter failed lately.
var errResting = errors.New("it is left alone for a while")

// errBusy is that a client has its share of a filter's connections.
var errBusy = errors.New("the client has its share of the connections to the filter")

// dial connects to the filter for who, whose connection counts for by. Of those who come
// when its rest is over the first tries.
func (f *filter) dial(ctx context.Context, by peer.Holder, who string, o *Options) (*milter.Conn, error) {
	if !f.room.EnterShare(by, maxConns, connShare) { // first: who can't try takes nobody the turn
		return nil, errBusy
	}
	if err := f.begin(who, time.Now()); err != nil {
		f.room.Leave(by)
		return nil, err
	}
	c, err := dial(ctx, f.Filter, o.Addrs, f.answered)
	if err != nil {
		f.room.Leave(by)
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = rest{}
	return c, nil
}

// begin is why the filter is not to be tried now by who; nil: it is.
func (f *filter) begin(who string, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away.lasts(now) || !f.doubts.tries(who, now) {
		return fmt.Errorf("%w: %s", errResting, f.why)
	}
	if f.away.n > 0 {
		f.away.until = now.Add(f.Connect) // it is known by then
	}
	return nil
}

// answered notes that the filter has answered a step; last: see milter.Options.
func (f *filter) answered(at milter.Step, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubts.answered(at, last)
}

// unreachable notes that there is no talking to the filter, and returns how long it is left
// alone.
func (f *filter) unreachable(err error) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Failed++
	f.why = err.Error()
	return f.away.begin(time.Now())
}

// fail notes that the filter failed at a step of a conversation about who, and returns how
// long it is left alone: 0, unless others than who have found that too.
func (f *filter) fail(who string, at milter.Step, err error) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Failed++
	f.why = err.Error()
	return f.doubts.fail(who, at, errors.Is(err, milter.ErrNoAnswer), time.Now())
}

// Dial connects to a filter. addrs returns the addresses of a host; nil: the system's
// resolver is asked.
func Dial(ctx context.Context, f filterline.Filter, addrs func(ctx context.Context, host string) ([]netip.Addr, error)) (*milter.Conn, error) {
	return dial(ctx, f, addrs, nil)
}

func dial(ctx context.Context, f filterline.Filter, addrs func(ctx context.Context, host string) ([]netip.Addr, error), answered func(milter.Step, bool)) (*milter.Conn, error) {
	m := milter.Options{Network: "tcp", Address: f.Address, Connect: f.Connect, Command: f.Command, Message: f.Message, Answered: answered}
	if strings.HasPrefix(f.Address, "/") {
		m.Network = "unix"
	} else if addrs != nil {
		m.Dial = func(ctx context.Context, _, address string) (net.Conn, error) { return dialTCP(ctx, address, addrs) }
	}
	return milter.Dial(ctx, m)
}

// dialTCP opens a connection, to a name at the first of its addresses that answers.
func dialTCP(ctx context.Context, address string, lookup func(ctx context.Context, host string) ([]netip.Addr, error)) (net.Conn, error) {
	var d net.Dialer
	host, port, err := net.SplitHostPort(address)
	if _, ip := netip.ParseAddr(host); err != nil || ip == nil {
		return d.DialContext(ctx, "tcp", address)
	}
	addrs, err := lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, a := range addrs {
		trying, cancel := partOf(ctx, len(addrs)-i)
		c, err := d.DialContext(trying, "tcp", net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// partOf is ctx for one of so many things that are left to do, so that one that hangs leaves
// the others their time.
func partOf(ctx context.Context, left int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
}

// log writes a line about a filter in a session.
func (s *Session) log(level slog.Level, event string, f *filter, attrs ...slog.Attr) {
	all := []slog.Attr{maillog.Session(s.client.Session), maillog.Client(s.client.String()), maillog.Filter(f.Name)}
	if s.id != "" {
		all = append([]slog.Attr{maillog.QueueID(s.id)}, all...)
	}
	s.set.o.Log.LogAttrs(context.Background(), level, event, append(all, attrs...)...)
}

// Session returns the filters of a client's session; nil: none is asked about it. What
// programs of this machine submit is shown to them in the queue, if at all.
func (s *Set) Session(c *smtpd.Client) *Session {
	if s == nil || c.Kind == smtpd.Local {
		return nil
	}
	return s.session(c, whoIs(c))
}

// session is that of a client for whom who has the blame.
func (s *Set) session(c *smtpd.Client, who string) *Session {
	ss := &Session{set: s, client: c, who: who}
	for _, f := range s.all {
		if f.Has(c.Addr.Addr(), int(c.Server.Port())) {
			ss.links = append(ss.links, &link{s: ss, f: f})
		}
	}
	if len(ss.links) == 0 {
		return nil
	}
	ss.from = c.Addr.Addr()
	s.clients.Enter(ss.from, -1, -1)
	return ss
}
