package resolver

import (
	"sync"
	"time"
)

const (
	maxTTL      = time.Hour   // longest stay of an answer, whatever its TTL
	maxNegative = time.Minute // longest stay of "no such domain" and "no records"
	evictLook   = 8           // entries looked at to find one to give up
)

// cache keeps definite answers until their TTL ends. A full cache gives up the
// entry that ends first among a few taken at random.
type cache struct {
	mu      sync.Mutex
	limit   int
	entries map[question]cached
}

type cached struct {
	answer answer
	until  time.Time
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
		delete(c.entries, q)
		return answer{}, false
	}
	return e.answer, ok
}

func (c *cache) put(q question, a answer) {
	ttl := min(a.ttl, maxTTL)
	if len(a.records) == 0 && a.alias == "" {
		ttl = min(ttl, maxNegative)
	}
	if ttl <= 0 || c.limit == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[q]; !ok && len(c.entries) >= c.limit {
		c.evict()
	}
	c.entries[q] = cached{a, time.Now().Add(ttl)}
}

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
	delete(c.entries, victim)
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}

// Flush forgets all answers kept. For an operator who mended the DNS and wants
// the queue run now.
func (r *Resolver) Flush() { r.cache.flush() }
