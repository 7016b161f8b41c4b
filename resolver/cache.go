package resolver

import (
	"sync"
	"time"
)

const (
	maxTTL      = time.Hour   // longest stay of an answer, whatever its TTL
	maxNegative = time.Minute // longest stay of "no such domain" and "no records"
	evictLook   = 8           // entries looked at to find one to give up
	entryOctets = 512         // memory of an entry, on average of a full cache
)

// cache keeps definite answers until their TTL ends. A full cache gives up the
// entry that ends first among a few taken at random.
type cache struct {
	mu      sync.Mutex
	limit   int // entries
	entries map[question]cached
	octets  int // of all entries
}

type cached struct {
	answer answer
	until  time.Time
	octets int
}

func (c *cache) init(limit int) {
	c.limit = max(limit, 0)
	c.entries = map[question]cached{}
}

func (c *cache) get(q question) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if ok && !time.Now().Before(e.until) {
		c.drop(q)
		return answer{}, false
	}
	return e.answer, ok
}

// put keeps a, unless it alone would take an eighth of the room.
func (c *cache) put(q question, a answer) {
	ttl := min(a.ttl, maxTTL)
	if len(a.records) == 0 && a.alias == "" {
		ttl = min(ttl, maxNegative)
	}
	e := cached{a, time.Now().Add(ttl), a.octets() + len(q.name)}
	room := c.limit * entryOctets
	if ttl <= 0 || e.octets > room/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(q)
	for len(c.entries) >= c.limit || c.octets+e.octets > room {
		c.evict()
	}
	c.entries[q] = e
	c.octets += e.octets
}

// octets estimates the memory of an answer.
func (a answer) octets() int {
	n := 160 + len(a.alias) // the map's share, and the structures
	for _, r := range a.records {
		n += 64 + len(r.host) + len(r.text)
	}
	return n
}

// drop forgets the answer to q, if there is one; c.mu is held.
func (c *cache) drop(q question) {
	c.octets -= c.entries[q].octets
	delete(c.entries, q)
}

// evict gives one entry up; c.mu is held.
func (c *cache) evict() {
	var victim question
	var first time.Time
	looked := 0
	for q, e := range c.entries {
		if looked == 0 || e.until.Before(first) {
			victim, first = q, e.until
		}
		if looked++; looked == evictLook {
			break
		}
	}
	c.drop(victim)
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.octets = 0
}

// Flush forgets all answers kept. For an operator who mended the DNS and wants
// the queue run now.
func (r *Resolver) Flush() { r.cache.flush() }
