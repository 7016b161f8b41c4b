package rates

import (
	"net/netip"
	"sync"
	"time"

	"postoffice/internal/peer"
)

// Kind is what is counted.
type Kind uint8

const (
	Connections Kind = iota
	Messages
	Recipients
	Unknown // recipients that there are not
	Logins  // that were refused
	Idle    // sessions that kept others out and brought nothing
	kinds
)

// String is what is counted, for people.
func (k Kind) String() string {
	return [...]string{"connections", "messages", "recipients", "unknown recipients", "refused logins", "sessions without a message"}[k]
}

// Limits are how many of each Kind one address may have in a time.
type Limits struct {
	Per  time.Duration
	Most [kinds]int // by Kind; 0 is no limit
}

// A level is a network around an address, and how many times as much all of it may.
type level struct {
	bits  int
	times int
}

// The levels, the widest first. What somebody is given is an address, or an IPv6 /64 or
// /48; a /32 is a provider's.
var (
	levels4 = []level{{24, 16}, {32, 1}}
	levels6 = []level{{32, 64}, {48, 16}, {64, 1}}
)

// levelsOf are those of an address, and the address as its networks have it.
func levelsOf(a netip.Addr) (netip.Addr, []level) {
	a = peer.Network(a).Addr()
	if a.Is6() {
		return a, levels6
	}
	return a, levels4
}

// A Refusal is more than a limit allows.
type Refusal struct {
	Wait  time.Duration // until one more is allowed
	First bool          // it was allowed until now
}

// Table counts. The zero Table is empty.
type Table struct {
	mu    sync.Mutex // guards what follows
	store store
}

// Take counts one more of an address's, if its limits allow that. Nothing is counted
// otherwise.
func (t *Table) Take(now time.Time, a netip.Addr, k Kind, l Limits) (Refusal, bool) {
	if l.Most[k] <= 0 || l.Per <= 0 {
		return Refusal{}, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.look(now, a, k, l); !ok {
		return r, false
	}
	t.count(now, a, k, l)
	return Refusal{}, true
}

// Look says whether the limits of an address allow one more, and counts nothing.
func (t *Table) Look(now time.Time, a netip.Addr, k Kind, l Limits) (Refusal, bool) {
	if l.Most[k] <= 0 || l.Per <= 0 {
		return Refusal{}, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.look(now, a, k, l)
}

// Count counts one more, whatever the limits allow.
func (t *Table) Count(now time.Time, a netip.Addr, k Kind, l Limits) {
	if l.Most[k] <= 0 || l.Per <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(now, a, k, l)
}

func (t *Table) look(now time.Time, a netip.Addr, k Kind, l Limits) (Refusal, bool) {
	a, all := levelsOf(a)
	for _, lv := range all {
		e := t.store.find(keyOf(a, lv.bits))
		if e == nil {
			continue
		}
		if wait := e.wait(now, k, l, lv); wait > 0 {
			first := e.refused[k] == 0
			if e.refused[k]++; e.refused[k] == 0 { // it has begun again
				e.refused[k]--
			}
			return Refusal{Wait: wait, First: first}, false
		}
		e.refused[k] = 0
	}
	return Refusal{}, true
}

func (t *Table) count(now time.Time, a netip.Addr, k Kind, l Limits) {
	a, all := levelsOf(a)
	for _, lv := range all {
		e := t.store.make(keyOf(a, lv.bits))
		e.empty[k] = now.UnixNano() + int64(min(e.used(now, k, l)+l.each(k, lv), l.Per))
		e.changed = true
	}
}

// each is the time after which one more is allowed.
func (l Limits) each(k Kind, lv level) time.Duration {
	return max(l.Per/time.Duration(l.Most[k]*lv.times), 1)
}

// wait is how long it is until one more is allowed; 0 or less: it is now.
func (e *entry) wait(now time.Time, k Kind, l Limits, lv level) time.Duration {
	return e.used(now, k, l) + l.each(k, lv) - l.Per
}

// used is what there is of Per. More than that was counted before the clock was set back,
// and counts no more.
func (e *entry) used(now time.Time, k Kind, l Limits) time.Duration {
	used := time.Duration(max(e.empty[k]-now.UnixNano(), 0))
	if used > l.Per {
		return 0
	}
	return used
}

// A Limited is a network that is refused something now.
type Limited struct {
	Network netip.Prefix
	Kind    Kind
	Most    int           // that it may have in Per
	Per     time.Duration // as the limits say
	Refused int           // since it was allowed the last time
	Wait    time.Duration // until one more is allowed
}

// Limited are those of now that were refused something, in no order.
func (t *Table) Limited(now time.Time, l Limits) (all []Limited) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.store.all() {
		network, lv := e.key.network()
		for k := range kinds {
			if l.Most[k] <= 0 || l.Per <= 0 || e.refused[k] == 0 {
				continue
			}
			if wait := e.wait(now, k, l, lv); wait > 0 {
				all = append(all, Limited{network, k, l.Most[k] * lv.times, l.Per, int(e.refused[k]), wait})
			}
		}
	}
	return all
}
