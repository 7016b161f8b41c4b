package greykeeper

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postoffice/internal/maillog"
)

// calm is how long the store must have answered before the log says that it does, so that
// one that answers now and then fills no log.
const calm = 10 * time.Second

// trouble is whether the store can be asked.
type trouble struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	failed bool
	last   time.Time // when it failed last
}

// heard takes note of what the store answered, and reports whether it failed. Each change
// is one line of the log.
func (t *trouble) heard(err error, deferred bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if err == nil {
		if t.failed && now.Sub(t.last) >= calm {
			t.failed = false
			t.log.LogAttrs(context.Background(), slog.LevelInfo, "greylist asked again")
		}
		return false
	}
	t.last = now
	if !t.failed {
		t.failed = true
		what := "mail of strangers is taken meanwhile, as greylist-store-failed has it"
		if deferred {
			what = "mail of strangers is deferred meanwhile, as greylist-store-failed has it"
		}
		t.log.LogAttrs(context.Background(), slog.LevelWarn, "greylist not asked", maillog.Err(err), maillog.Reason(what))
	}
	return true
}
