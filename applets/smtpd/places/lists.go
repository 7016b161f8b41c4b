package places

import "sync"

// MaxLists is how many octets of memory lists of recipients of this machine's programs
// have, beyond what a stranger's may hold.
const MaxLists = 192 << 20

// Lists counts octets held for lists of recipients that are longer than a stranger's.
// The zero value is empty.
type Lists struct {
	mu   sync.Mutex
	held int
}

// Take takes octets of that memory, if they are there.
func (l *Lists) Take(octets int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held+octets > MaxLists {
		return false
	}
	l.held += octets
	return true
}

// Drop gives back what Take took.
func (l *Lists) Drop(octets int) {
	if octets > 0 {
		l.mu.Lock()
		l.held -= octets
		l.mu.Unlock()
	}
}

// Held returns how many octets are taken.
func (l *Lists) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}
