package quota

import (
	"sync"
	"time"
)

const (
	maxBook   = 10_000           // mailboxes that are remembered, about 200 octets each
	bookWait  = 10 * time.Second // how long what was counted counts, at least
	bookTimes = 20               // and so many times what counting took
)

// Book remembers what was counted in mailboxes. The zero Book is empty; any number of
// goroutines may use it.
type Book struct {
	mu   sync.Mutex // guards what follows
	sums map[string]sum
}

type sum struct {
	octets int64
	until  time.Time
}

// Get returns what a mailbox has as it is remembered.
func (b *Book) Get(mailbox string, now time.Time) (octets int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sums[mailbox]
	return s.octets, ok && now.Before(s.until)
}

// Put enters what was counted from a time on until now.
func (b *Book) Put(mailbox string, octets int64, from, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sums == nil || len(b.sums) >= maxBook {
		b.sums = map[string]sum{}
	}
	b.sums[mailbox] = sum{octets, now.Add(max(bookWait, bookTimes*now.Sub(from)))}
}

// Add adds what came into a mailbox that is remembered.
func (b *Book) Add(mailbox string, octets int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.sums[mailbox]; ok {
		s.octets += octets
		b.sums[mailbox] = s
	}
}
