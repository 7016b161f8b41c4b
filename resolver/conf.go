package resolver

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postoffice/internal/smtp"
)

const (
	defaultTimeout  = 20 * time.Second
	defaultTry      = 5 * time.Second
	defaultAttempts = 2
	defaultCache    = 4096
	restAfter       = 30 * time.Second // a silent server is asked last for so long
)

func (o Options) withDefaults() Options {
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.HostsFile == "" {
		o.HostsFile = "/etc/hosts"
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCache
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Interfaces == nil {
		o.Interfaces = interfaceAddrs
	}
	if o.NodeName == nil {
		o.NodeName = os.Hostname
	}
	return o
}

// servers is what one question needs to know of the configuration.
type servers struct {
	list     []*server
	try      time.Duration
	attempts int
	search   []string
}

// server is one name server and what was learnt of it.
type server struct {
	addr    string // host:port
	trusted bool   // resolv.conf says trust-ad: what it says of signatures counts

	mu    sync.Mutex
	plain bool      // it can't do EDNS0 (RFC 6891 section 7)
	down  time.Time // it was silent: asked last until then
}

func (s *server) isPlain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plain
}

func (s *server) setPlain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain = true
}

func (s *server) resting(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.down)
}

func (s *server) silent(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = time.Time{}
	if yes {
		s.down = time.Now().Add(restAfter)
	}
}

// ordered lists those that answered lately first.
func (s servers) ordered() []*server {
	now := time.Now()
	var up, down []*server
	for _, v := range s.list {
		if v.resting(now) {
			down = append(down, v)
		} else {
			up = append(up, v)
		}
	}
	return append(up, down...)
}

// confFile gives the servers: fixed ones, or resolv.conf's.
type confFile struct {
	fixed *servers
	try   time.Duration // overrides resolv.conf's if not 0
	file  watched[servers]

	mu   sync.Mutex
	read int // state of file when the cache was last flushed
}

func (c *confFile) init(o Options) {
	c.try = o.Try
	c.file.path = o.ResolvConf
	c.file.parse = parseResolvConf
	if len(o.Servers) > 0 {
		c.fixed = &servers{list: serverList(o.Servers, "53"), try: defaultTry, attempts: defaultAttempts}
	}
}

// get returns the servers to ask, and whether they changed since the last call.
// Without a resolv.conf that is this host, as for the C library.
func (c *confFile) get() (s servers, changed bool, err error) {
	file, read, err := c.file.get()
	if c.fixed != nil {
		s, err = *c.fixed, nil
		s.search = file.search
	} else {
		s = file
		c.mu.Lock()
		changed = c.read != read && c.read != 0
		c.read = read
		c.mu.Unlock()
	}
	if os.IsNotExist(err) || err == nil && len(s.list) == 0 {
		s.list, err = serverList([]string{"127.0.0.1"}, "53"), nil
	}
	if len(s.list) > 0 {
		err = nil // an unreadable file: the servers of before
	}
	if c.try > 0 {
		s.try = c.try
	}
	if s.try <= 0 {
		s.try = defaultTry
	}
	s.attempts = max(s.attempts, 1)
	return s, changed, err
}

func parseResolvConf(r io.Reader) servers {
	var text bytes.Buffer
	conf, err := dns.ClientConfigFromReader(io.TeeReader(r, &text))
	if err != nil {
		return servers{}
	}
	list := serverList(conf.Servers, conf.Port)
	for _, s := range list {
		s.trusted = trustsAD(text.String())
	}
	return servers{
		list:     list,
		try:      time.Duration(min(conf.Timeout, 30)) * time.Second,
		attempts: min(conf.Attempts, 5),
		search:   conf.Search,
	}
}

// trustsAD looks for the option by which an administrator says that the servers check
// signatures and that nobody stands between: else what they say of it means nothing.
func trustsAD(resolvConf string) (yes bool) {
	for line := range strings.Lines(resolvConf) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "options" {
			yes = yes || slices.Contains(words[1:], "trust-ad")
		}
	}
	return yes
}

// serverList reads host:port, address and [address] forms.
func serverList(texts []string, port string) []*server {
	var list []*server
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			t = net.JoinHostPort(a.String(), port)
		} else if a, ok := smtp.ParseLiteral(t); ok {
			t = net.JoinHostPort(a.String(), port)
		} else if _, _, err := net.SplitHostPort(t); err != nil {
			t = net.JoinHostPort(t, port)
		}
		list = append(list, &server{addr: t})
	}
	return list
}
