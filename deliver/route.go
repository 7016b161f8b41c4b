package deliver

import (
	"context"
	"time"

	"postoffice/deliver/remote"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

const (
	routeWait     = 2 * time.Second // recipients for one next hop wait this long for each other's DNS
	routesAtOnce  = 16              // domains of one message that are looked up at one time
	relayDomain   = "\x00relay"     // relay-host's place among the domains
	domainRcptMax = 100             // recipients of one transaction (RFC 5321 section 4.5.3.1.8)
)

// routed is the answer for the recipients of one domain.
type routed struct {
	name       string
	keys       []spool.Key
	rt         *route
	failure    *Outcome
	remembered bool
	busy       *gate
}

// startRoutes asks where the domains go that are not known yet.
func (a *attempt) startRoutes() {
	for _, name := range sorted(a.domains) {
		keys := a.domains[name]
		delete(a.domains, name)
		if a.broken || a.stop.Err() != nil {
			continue
		}
		if a.s.asksNothing(name) {
			rt := a.s.findRoute(a.work, name)
			a.follow(routed{keys: keys, rt: &rt, failure: rt.failure})
			continue
		}
		if rt := a.r.knownRoute(a.it, name); rt != nil {
			a.follow(routed{keys: keys, rt: rt, failure: rt.failure})
			continue
		}
		if a.routeSlots == nil {
			a.routeSlots = make(chan struct{}, routesAtOnce)
		}
		a.routing++
		go func() { // collect waits for it
			a.routeSlots <- struct{}{}
			x := a.r.findRoute(a.work, a.s, a.it, name)
			<-a.routeSlots
			x.name, x.keys = name, keys
			a.routed <- x
		}()
	}
}

// follow does what the route of a domain says.
func (a *attempt) follow(x routed) {
	switch {
	case a.broken || a.stop.Err() != nil || a.work.Err() != nil:
	case x.busy != nil:
		a.busy = append(a.busy, refused{x.busy, func() { a.domains[x.name] = append(a.domains[x.name], x.keys...) }})
	case x.failure != nil:
		a.record([]answer{{keys: x.keys, outcome: *x.failure, remembered: x.remembered}})
	case x.rt.local:
		for _, k := range x.keys {
			a.placeHere(k)
		}
	default:
		for _, k := range x.keys {
			a.toHost(a.rcpt(k), x.rt)
		}
	}
}

// knownRoute returns what was found lately. Nobody needs a ticket for that.
func (r *Runner) knownRoute(it *item, name string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.dests.domains[name]
	if d == nil || !time.Now().Before(d.until) {
		return nil
	}
	if it.ticket == &d.gate {
		r.dropTicket(it)
	}
	rt := d.route
	return &rt
}

// findRoute asks DNS about a domain, unless others do so already.
func (r *Runner) findRoute(ctx context.Context, s *settings, it *item, name string) routed {
	r.mu.Lock()
	d := r.dests.domain(name)
	if time.Now().Before(d.until) {
		if it.ticket == &d.gate {
			r.dropTicket(it)
		}
		rt := d.route
		r.mu.Unlock()
		return routed{rt: &rt, failure: rt.failure}
	}
	ok, down := d.enter(it)
	r.mu.Unlock()
	switch {
	case down != nil:
		return routed{failure: down, remembered: true}
	case !ok:
		return routed{busy: &d.gate}
	}
	rt := s.findRoute(ctx, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ctx.Err() != nil: // no answer of DNS
	case rt.failure != nil && rt.failure.Action == Deferred:
		r.markDown(&d.gate, domainDown, *rt.failure)
	default:
		d.route, d.until = rt, time.Now().Add(routeAge)
		r.call(&d.gate, len(d.parked)) // the way is open to all
	}
	r.leave(&d.gate)
	return routed{rt: &rt, failure: rt.failure}
}

// routeName is the domain under which a recipient's route is looked up.
func (s *settings) routeName(domain string) string {
	if s.RelayHost != "" && !s.LocalByDNS {
		return relayDomain // they all go there
	}
	return fold(domain)
}

// asksNothing says whether a route needs no DNS: it is an address.
func (s *settings) asksNothing(name string) bool {
	if s.RelayHost == "" {
		return isLiteral(name)
	}
	h, err := remote.ParseRelayHost(s.RelayHost)
	return (err != nil || h.Addr.IsValid()) && (!s.LocalByDNS || isLiteral(name))
}

// findRoute decides where mail for a domain goes that is not local by its
// name. With a relay-host, a DNS that does not answer hinders nothing: the
// relay-host will know.
func (s *settings) findRoute(ctx context.Context, name string) route {
	if s.LocalByDNS && !isLiteral(name) {
		ours, err := s.router.isOursByDNS(ctx, name)
		switch {
		case ours:
			return route{local: true}
		case err != nil && s.RelayHost == "":
			o := outcomeOf(remote.ResultOf(err))
			return route{failure: &o}
		}
	}
	hops := remote.Router{Resolver: s.Resolver, Hostname: s.Hostname, Port: s.SMTPPort}
	var targets []remote.Target
	var err error
	if s.RelayHost != "" {
		targets, err = hops.RelayHops(ctx, s.RelayHost)
	} else {
		targets, err = hops.NextHops(ctx, name)
	}
	if err != nil {
		o := outcomeOf(remote.ResultOf(err))
		return route{failure: &o}
	}
	return route{key: hostKey(targets), targets: targets}
}

// outcomeOf translates a result of deliver/remote.
func outcomeOf(r remote.Result) Outcome {
	o := Outcome{Reply: r.Reply, Err: r.Err, Relay: r.Relay}
	switch r.Outcome {
	case remote.Delivered:
		o.Action = Delivered
	case remote.Bounced:
		o.Action = Bounced
	}
	return o
}

// A hop is what of one message goes to one next hop with one reverse-path.
type hop struct {
	id      string
	rt      *route
	reverse smtp.Path
	targets []*target
}

// addHop takes back what a host had no place for.
func (a *attempt) addHop(hp *hop) {
	if h := a.hops[hp.id]; h != nil {
		h.targets = append(h.targets, hp.targets...)
		return
	}
	a.hops[hp.id] = hp
}

// toHost gives a recipient to a next hop. Equal addresses are one recipient.
func (a *attempt) toHost(rc spool.Recipient, rt *route) {
	hopID := rt.key + "\x00" + rc.ReversePath.String()
	id := hopID + "\x00" + rc.Path.Local + "\x00" + fold(rc.Path.Domain)
	t := a.remotes[id]
	if t != nil && t.done && t.ended == Delivered { // a .forward led there too, and was read late
		a.settle([]spool.Key{rc.Key}, already("address"))
		return
	}
	if t == nil || t.done {
		t = &target{path: rc.Path, params: rc.Params}
		a.remotes[id] = t
		h := a.hops[hopID]
		if h == nil {
			h = &hop{id: hopID, rt: rt, reverse: rc.ReversePath}
			a.hops[hopID] = h
		}
		h.targets = append(h.targets, t)
	}
	t.keys = append(t.keys, rc.Key)
}
