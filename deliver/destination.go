package deliver

import (
	"slices"
	"strings"
	"time"

	"postoffice/deliver/remote"
)

const (
	hostPlaces = 20  // sessions with one host, once it has shown that it takes mail
	maxHosts   = 400 // hosts with a session: the first of each is never refused before that
	maxExtra   = 100 // sessions beyond the first of each host, together

	boxPlaces      = 64 // messages in work for one mailbox, one batch of deliver/local
	boxFirst       = 16 // the same before the first success
	domainPlaces   = 2  // messages that wait for the same answer of DNS
	hostDown       = 2 * time.Minute
	servedAge      = 15 * time.Second // a host that says "busy" and served us so lately is asked again
	busyPause      = time.Second
	busyTries      = 5
	ceilingAge     = 5 * time.Minute // so long no more sessions are tried than a host was found to allow
	domainDown     = time.Minute
	boxDown        = 30 * time.Second
	routeAge       = time.Minute // an answer of DNS is used for this long, then asked for again
	sweepFrom      = 4096        // destinations; from there idle ones are forgotten
	linger         = 2 * time.Second
	boxSlow        = 5 * time.Second // a mailbox that took longer and failed is down
	maxSessionJobs = 50              // then a session makes room for another host
)

// A gate lets a few messages to one destination at a time. Those that find it
// full are parked: only their ID is kept. The Runner's mutex guards it.
type gate struct {
	inside int // messages in work here
	coming int // were parked and have a ticket for a place
	places int
	max    int
	parked []*item

	downUntil time.Time
	downWords Outcome
}

// enter takes a place for a message, for which a ticket is good. If the
// destination is known to be down, down is the outcome for whoever wanted one;
// else ok says whether there was a place.
func (g *gate) enter(it *item) (ok bool, down *Outcome) {
	ticket := it.ticket == g
	if ticket {
		it.ticket = nil
		g.coming--
	}
	if time.Now().Before(g.downUntil) {
		words := g.downWords
		return false, &words
	}
	if !ticket && g.full() {
		return false, nil
	}
	g.inside++
	return true, nil
}

// open says that enter would not refuse.
func (g *gate) open() bool { return !g.full() || time.Now().Before(g.downUntil) }

func (g *gate) full() bool { return g.inside+g.coming >= g.places }

func (g *gate) setDown(d time.Duration, words Outcome) {
	g.downUntil, g.downWords = time.Now().Add(d), words
}

// grow makes room after a success.
func (g *gate) grow() { g.places = min(g.places*2, g.max) }

func (g *gate) idle() bool {
	return g.inside+g.coming+len(g.parked) == 0 && !time.Now().Before(g.downUntil)
}

// A domain is what DNS says of one recipient domain, or of relay-host.
type domain struct {
	gate
	route route
	until time.Time
}

// A route says where the mail of a domain goes: to our own mailboxes, to
// hosts, or nowhere.
type route struct {
	local   bool
	key     string // of the host queue: all domains with the same exchangers share it
	targets []remote.Target
	failure *Outcome
}

// A host is a next hop: the exchangers of one or more domains, or relay-host.
type host struct {
	gate
	queue []*job // waiting for a session
	live  int    // sessions
	limit int    // of sessions: 1 until the host has taken a message, then doubled

	ceiling      int // sessions that it was found to allow
	ceilingUntil time.Time
	served       time.Time // when it took or refused a message last

	hungry bool          // waits for a session to be free
	idlers int           // sessions that linger without work
	wake   chan struct{} // tells one of them of a job
}

// destinations are all that mail is going to or has gone to lately.
type destinations struct {
	domains map[string]*domain
	hosts   map[string]*host
	boxes   map[string]*gate
	runs    gate    // of programs and files, in all
	store   gate    // of the LMTP server that keeps the mailboxes
	first   int     // hosts with a session
	extra   int     // sessions beyond those
	hungry  []*host // have a job and may not have a session
}

func newDestinations() destinations {
	return destinations{
		domains: map[string]*domain{}, hosts: map[string]*host{}, boxes: map[string]*gate{},
		runs:  gate{places: runsAtOnce, max: runsAtOnce},
		store: gate{places: storePlaces, max: storePlaces},
	}
}

func (d *destinations) domain(name string) *domain {
	x := d.domains[name]
	if x == nil {
		sweep(d.domains, func(x *domain) bool { return x.idle() && time.Now().After(x.until) })
		x = &domain{gate: gate{places: domainPlaces, max: domainPlaces}}
		d.domains[name] = x
	}
	return x
}

func (d *destinations) host(key string) *host {
	h := d.hosts[key]
	if h == nil {
		sweep(d.hosts, func(h *host) bool { return h.idle() && h.live == 0 })
		h = &host{gate: gate{places: 1, max: 2 * hostPlaces}, limit: 1, wake: make(chan struct{}, hostPlaces)}
		d.hosts[key] = h
	}
	return h
}

func (d *destinations) box(name string) *gate {
	g := d.boxes[name]
	if g == nil {
		sweep(d.boxes, (*gate).idle)
		g = &gate{places: boxFirst, max: boxPlaces}
		d.boxes[name] = g
	}
	return g
}

// sweep forgets idle destinations where there are many.
func sweep[T any](m map[string]*T, idle func(*T) bool) {
	if len(m) < sweepFrom {
		return
	}
	for k, x := range m {
		if idle(x) {
			delete(m, k)
		}
	}
}

// forgetDown makes every destination be tried again, with new answers of DNS.
func (d *destinations) forgetDown() {
	d.forgetRoutes()
	for _, x := range d.hosts {
		x.downUntil = time.Time{}
	}
	for _, g := range d.boxes {
		g.downUntil = time.Time{}
	}
	d.store.downUntil = time.Time{}
}

func (d *destinations) forgetRoutes() {
	for _, x := range d.domains {
		x.until, x.downUntil = time.Time{}, time.Time{}
	}
}

// hostKey names the set of hosts in targets whatever their order, which is
// random among equals.
func hostKey(targets []remote.Target) string {
	var names []string
	port := ""
	for _, t := range targets {
		names = append(names, fold(t.Host))
		port = itoa(t.Port)
	}
	slices.Sort(names)
	return strings.Join(names, ",") + ":" + port
}

// markDown remembers that a destination failed as a whole.
func (r *Runner) markDown(g *gate, d time.Duration, words Outcome) {
	g.setDown(d, words)
	r.admit(g)
}
