package places

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// loadAge is how long a look at the load holds.
const loadAge = 5 * time.Second

// Load is the load of the system, looked up once in loadAge.
type Load struct {
	mu   sync.Mutex // guards what follows
	load float64
	err  error
	time time.Time
}

// Above reports whether the load that average tells is above limit; 0 is none. One
// that can't be read is above nothing, and its error is returned once.
func (l *Load) Above(limit float64, average func() (float64, error)) (bool, error) {
	if limit <= 0 {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.time.IsZero() || now.Sub(l.time) > loadAge {
		l.load, l.err = average()
		l.time = now
		if l.err != nil {
			return false, l.err
		}
	}
	return l.err == nil && l.load > limit, nil
}

// Average returns the load of the last minute, where the system is one that
// has it in a file.
func Average() (float64, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	one, _, _ := strings.Cut(string(b), " ")
	return strconv.ParseFloat(one, 64)
}
