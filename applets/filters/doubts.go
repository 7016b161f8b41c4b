package filters

import (
	"net/netip"
	"strconv"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/peer"
	"postoffice/milter"
)

const (
	firstRest  = time.Second     // after a filter's failure until it is tried again
	maxRest    = 2 * time.Minute // the same after many
	doubled    = 7               // rests after which they grow no more
	doubters   = 2               // clients in whose messages a filter fails until it is left alone
	maxLate    = 3               // times that one client waits in vain for a filter's answer, before it has rests of its own
	maxDoubted = 256             // clients of whom it is known that a filter failed in their messages, or that they have had their try
)

// A rest is how long a filter is left alone, after n of them in a row.
type rest struct {
	n     int
	until time.Time
}

func (r *rest) lasts(now time.Time) bool { return now.Before(r.until) }

// begin begins the next one, which is longer.
func (r *rest) begin(now time.Time) time.Duration {
	d := min(firstRest<<min(r.n, doubled), maxRest)
	r.n++
	r.until = now.Add(d)
	return d
}

// doubts are what failures in the middle of conversations say of a filter since it has
// shown that it works. What a client sends may be the cause of its failure, which then is
// nobody else's: so a filter rests for all when it has failed for two clients, and is tried
// again by one at a time. Whoever it failed, or has had a try, is no longer one of those
// who try for all: else one client could be the one who tries each time, with what breaks
// the filter, or with nothing. It has tries of its own.
type doubts struct {
	of      map[string]doubt // by client
	failed  int              // clients that it failed
	deepest milter.Step      // of those at which it did: an answer to an earlier one shows nothing
	fresh   rest             // for those who are not in of
	again   rest             // for those who are
}

// A doubt is what is known of one client.
type doubt struct {
	failed bool
	late   int // answers that it has waited for in vain
}

// depth is how much of a filter a step shows.
func depth(at milter.Step) milter.Step {
	if at == milter.AtUnknown { // any time
		return milter.AtConnect
	}
	return at
}

// tries reports whether who may try the filter now.
func (d *doubts) tries(who string, now time.Time) bool {
	is, known := d.of[who]
	if d.failed < doubters && is.late < maxLate {
		return true
	}
	r := &d.fresh
	if known {
		r = &d.again
	}
	if r.lasts(now) {
		return false
	}
	r.begin(now)
	d.note(who, is)
	return true
}

// fail notes a failure in a conversation about who, late where no answer came in time, and
// returns how long the filter is left alone.
func (d *doubts) fail(who string, at milter.Step, late bool, now time.Time) time.Duration {
	is := d.of[who]
	if !is.failed {
		is.failed = true
		d.failed++
	}
	if late {
		is.late++
	}
	d.deepest = max(d.deepest, depth(at))
	d.note(who, is)
	all, alone := d.failed >= doubters, is.late >= maxLate
	if (all || alone) && d.again.n == 0 {
		d.again.begin(now)
	}
	if all && d.fresh.n == 0 {
		d.fresh.begin(now)
	}
	switch {
	case all:
		return max(d.fresh.until.Sub(now), 0)
	case alone:
		return max(d.again.until.Sub(now), 0)
	}
	return 0
}

// note keeps what is known of who, in the place of anybody's where there are many.
func (d *doubts) note(who string, is doubt) {
	if d.of == nil {
		d.of = map[string]doubt{}
	}
	if _, known := d.of[who]; !known && len(d.of) >= maxDoubted {
		for other := range d.of {
			delete(d.of, other)
			break
		}
	}
	d.of[who] = is
}

// answered notes that the filter has answered a step, or said its last word.
func (d *doubts) answered(at milter.Step, last bool) {
	if len(d.of) > 0 && (last || depth(at) >= d.deepest) {
		*d = doubts{}
	}
}

// whoIs is who has the blame for what a filter does with a client's mail: a user of this
// machine, an address, or the IPv6 network that a site is given, which may have any address
// of it.
func whoIs(c *smtpd.Client) string {
	switch a := c.Addr.Addr(); {
	case c.Owner != nil:
		return "uid " + strconv.Itoa(*c.Owner)
	case c.Local:
		return "loopback"
	default:
		all := append([]netip.Prefix{peer.Network(a)}, peer.Site(a)...)
		return all[len(all)-1].String()
	}
}
