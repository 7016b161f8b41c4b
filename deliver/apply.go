package deliver

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
	"postoffice/spool"
)

// ApplyResults records local deliveries that ended while nobody was there to
// record them. It is to be called before Run or Pass. A result that can't be
// recorded now stays with the mailer, and its message is left alone.
func (r *Runner) ApplyResults(ctx context.Context, results []TokenResult) {
	s := r.settings.Load()
	for _, res := range results {
		id, key, ok := parseToken(res.Token)
		if !ok {
			r.warn("unknown delivery result dropped", maillog.Reason(printable(res.Token, 100)))
			s.Local.Recorded(res.Token)
			continue
		}
		switch err := r.apply(id, key, res.Result); {
		case err == nil, errors.Is(err, spool.ErrGone), errors.Is(err, spool.ErrCorrupt):
			s.Local.Recorded(res.Token)
		default:
			s.Log.LogAttrs(ctx, slog.LevelError, "delivery not recorded, message set aside until the next start",
				maillog.QueueID(id), maillog.Err(err))
			r.mu.Lock()
			if it := r.sched.items[id]; it == nil {
				r.sched.items[id] = &item{id: id, state: aside}
			}
			r.mu.Unlock()
		}
	}
}

// apply records one result. A refusal is not: the next attempt meets it again
// and reports it.
func (r *Runner) apply(id spool.ID, key spool.Key, res local.Result) error {
	if res.Status != local.Delivered {
		return nil
	}
	m, err := r.queue.Claim(id)
	if err != nil {
		return err
	}
	defer m.Close()
	for rc := range m.Pending() {
		if rc.Key != key {
			continue
		}
		if err := m.Record([]spool.Key{key}, spool.Delivered); err != nil {
			return err
		}
		a := &attempt{r: r, s: r.settings.Load(), m: m, id: id, env: m.Envelope()}
		a.logRecipient(rc, localOutcome(res, ""), "message delivered", maillog.Sent)
		return nil
	}
	return nil
}

// token names a recipient of a message for LocalMailer: "ID/block/index".
func token(id spool.ID, k spool.Key) string {
	return string(id) + "/" + strconv.Itoa(k.Block) + "/" + strconv.Itoa(k.Index)
}

// parseToken reads what token wrote and nothing else.
func parseToken(s string) (id spool.ID, k spool.Key, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return "", k, false
	}
	id, ok = spool.ParseID(parts[0])
	block, err1 := strconv.Atoi(parts[1])
	index, err2 := strconv.Atoi(parts[2])
	k = spool.Key{Block: block, Index: index}
	if !ok || err1 != nil || err2 != nil || block < 0 || index < 0 || token(id, k) != s {
		return "", spool.Key{}, false
	}
	return id, k, true
}
