package schedule

import (
	"math/rand/v2"
	"time"
)

// delays is the wait after the first attempts; after later ones it is the
// last of them.
var delays = [...]time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour}

// MaxDelay is the longest RetryDelay: the last of delays and its fifth.
const MaxDelay = 72 * time.Minute

// RetryDelay returns the wait after attempt number n, counted from 1, give or
// take a fifth of it, so that what failed together does not come back together.
func RetryDelay(n int) time.Duration {
	d := delays[min(max(n, 1), len(delays))-1]
	return d*4/5 + rand.N(d*2/5+1)
}
