package coal

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"postoffice/internal/maillog"
)

// Keeper keeps clients out for the master: those that its Gate lets pass.
type Keeper struct {
	Gate Gate
	Add  func(p netip.Prefix, d time.Duration) error // keeps a network out for a while
	For  time.Duration
	Log  *slog.Logger

	mu   sync.Mutex // guards what follows
	told error      // what was wrong last
	when time.Time  // and when the log was told so
}

// tellEvery is how often the log has the same fault.
const tellEvery = time.Minute

// KeepOut keeps out the client that the server names, or its /64, and says in the log
// whether it did.
func (k *Keeper) KeepOut(a netip.Addr) {
	p, err := k.Gate.Judge(time.Now(), a)
	if err == nil {
		err = k.Add(p, k.For)
	}
	client := maillog.Client("[" + a.Unmap().String() + "]")
	if err == nil {
		k.Log.LogAttrs(context.Background(), slog.LevelInfo, "client kept out", client, maillog.Reason(p.String()+" may not connect for "+k.For.String()))
		return
	}
	if k.isNews(err) {
		k.Log.LogAttrs(context.Background(), slog.LevelWarn, "client not kept out", client, maillog.Err(err))
	}
}

// isNews says whether the log is to have a fault: many requests may have the same one.
func (k *Keeper) isNews(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if errors.Is(err, k.told) && now.Sub(k.when) < tellEvery {
		return false
	}
	k.told, k.when = err, now
	return true
}
