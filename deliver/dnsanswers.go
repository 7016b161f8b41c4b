package deliver

import (
	"sync"
	"time"

	"postoffice/deliver/route"
)

const (
	answerAge  = time.Minute // an answer of DNS is used for this long, then asked for again
	answersMax = 4096        // from so many answers on old ones are forgotten
)

// dnsAnswers are the routes of domains that were found lately.
type dnsAnswers struct {
	mu      sync.Mutex
	of      map[string]*dnsAnswer // by name: see route.Router.HopName
	sweepAt int
}

type dnsAnswer struct {
	hop   route.NextHop
	until time.Time
}

// known returns the route of a domain; nil if DNS is to be asked.
func (d *dnsAnswers) known(name string) *route.NextHop {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.of[name]
	if x == nil || !time.Now().Before(x.until) {
		return nil
	}
	return &x.hop
}

// keep remembers the route of a domain.
func (d *dnsAnswers) keep(name string, rt route.NextHop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.of) >= max(d.sweepAt, answersMax) {
		for k, x := range d.of {
			if !time.Now().Before(x.until) {
				delete(d.of, k)
			}
		}
		d.sweepAt = 2 * len(d.of)
	}
	d.of[name] = &dnsAnswer{hop: rt, until: time.Now().Add(answerAge)}
}

// forget makes DNS be asked again about every domain.
func (d *dnsAnswers) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.of)
	d.sweepAt = 0
}
