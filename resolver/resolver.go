package resolver

import (
	"log/slog"
	"net/netip"
	"time"
)

// Options say whom to ask and how long to wait. The zero value asks the
// servers of /etc/resolv.conf.
type Options struct {
	// Servers to ask in this order, as host:port or an address alone (port 53).
	// Empty: those of ResolvConf, read again when it changes.
	Servers []string

	ResolvConf string // default /etc/resolv.conf
	HostsFile  string // default /etc/hosts, read again when it changes

	Timeout time.Duration // one question with all its tries; default 20 s
	Try     time.Duration // one server's answer; default resolv.conf's timeout, else 5 s

	CacheSize int // answers kept; default 4096, negative none

	Log *slog.Logger // default: nothing is logged

	// Interfaces lists this host's addresses; default net.InterfaceAddrs.
	Interfaces func() ([]netip.Addr, error)

	// NodeName is the kernel's name for this host; default os.Hostname.
	NodeName func() (string, error)
}

// Resolver asks the DNS. It is safe for concurrent use and holds no goroutine,
// socket or file while nobody asks.
type Resolver struct {
	opts  Options
	conf  confFile
	hosts hostsFile
	cache cache
	calls flights
	ours  interfaces
	names localNames

	forMail, forClients places
}

// New returns a resolver. It opens nothing: unreadable files show themselves
// in the answers, so that they can be mended while the program runs.
func New(o Options) *Resolver {
	o = o.withDefaults()
	r := &Resolver{opts: o}
	r.conf.init(o)
	r.hosts.path = o.HostsFile
	r.cache.init(o.CacheSize)
	r.ours.init(o)
	r.forMail, r.forClients = make(places, maxMailQuestions), make(places, maxClientQuestions)
	return r
}
