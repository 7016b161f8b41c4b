package deliver

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// ApplyResults records local deliveries that ended while nobody was there to
// record them. It is to be called before Run or Pass. A result that can't be
// recorded now stays with the mailer, and its message is left alone.
func (r *Runner) ApplyResults(ctx context.Context, results []local.TokenResult) {
	s := r.settings.Load()
	for _, res := range results {
		id, key, ok := parseToken(res.Token)
		if !ok {
			r.warn("unknown delivery result dropped", maillog.Reason(smtp.Printable(res.Token, 100)))
			s.Local.Recorded(res.Token)
			continue
		}
		switch err := r.recordResult(id, key, res.Result); {
		case err == nil, errors.Is(err, spool.ErrGone), errors.Is(err, spool.ErrCorrupt):
			s.Local.Recorded(res.Token)
		default:
			s.Log.LogAttrs(ctx, slog.LevelError, "delivery not recorded, message set aside until the next start",
				maillog.QueueID(id), maillog.Err(err))
			r.sched.SetAside(id)
		}
	}
}

// recordResult records one result. A refusal is not: the next attempt meets it again
// and reports it.
func (r *Runner) recordResult(id spool.ID, key envelope.Key, res local.Result) error {
	if res.Action != outcome.Delivered {
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
		if err := m.Record([]envelope.Key{key}, envelope.Delivered); err != nil {
			return err
		}
		r.opened(m).logRecipients([]envelope.Key{rc.Key}, hereOutcome(res), "message delivered", maillog.Sent, time.Time{})
		return nil
	}
	return nil
}

// token names a recipient of a message for local.Mailer: "ID/block/index".
func token(id spool.ID, k envelope.Key) string {
	return string(id) + "/" + strconv.Itoa(k.Block) + "/" + strconv.Itoa(k.Index)
}

// parseToken reads what token wrote and nothing else.
func parseToken(s string) (id spool.ID, k envelope.Key, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return "", k, false
	}
	id, ok = spool.ParseID(parts[0])
	block, err1 := strconv.Atoi(parts[1])
	index, err2 := strconv.Atoi(parts[2])
	k = envelope.Key{Block: block, Index: index}
	if !ok || err1 != nil || err2 != nil || block < 0 || index < 0 || token(id, k) != s {
		return "", envelope.Key{}, false
	}
	return id, k, true
}
