package greykeeper

import (
	"context"
	"strconv"
	"strings"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/smtp"
)

// note is something to be written down that nobody waits for.
type note func(ctx context.Context) error

// later writes something down when there is time.
func (k *Keeper) later(n note) {
	select {
	case k.notes <- n:
	default: // it costs somebody a wait
	}
}

// Pushed lets the key of an answer wait anew, for a recipient that nobody is. What was
// decided by hand stays (B31).
func (k *Keeper) Pushed(c Contact, a greylist.Answer) {
	o := k.options.Load()
	if a.Key == "" || o.Mode == Off {
		return
	}
	q := greylist.Question{Sender: c.Sender, Client: c.Client, Unnamed: c.Unnamed, Now: time.Now()}
	k.later(func(ctx context.Context) error {
		return k.stores.Records.Update(ctx, a.Key, func(old string, there bool) (string, bool) {
			r, err := greylist.ParseRecord(old)
			if !there || err != nil {
				return "", false
			}
			return greylist.Push(r, q, o.Rules).String(), true
		})
	})
}

// Junk is Pushed for mail that a filter found bad; the client's good mail counts no more.
func (k *Keeper) Junk(c Contact, a greylist.Answer) {
	k.Pushed(c, a)
	o := k.options.Load()
	if a.Key == "" || o.After == 0 {
		return
	}
	key := clientOf(o, c, a)
	k.later(func(ctx context.Context) error {
		return k.stores.Clients.Update(ctx, key, func(string, bool) (string, bool) { return "", false })
	})
}

// goodPause is how long after good mail of a client more counts: who sends a hundred at
// once has shown no more than with one.
const goodPause = time.Hour

// Taken counts good mail of a client that has passed.
func (k *Keeper) Taken(c Contact, a greylist.Answer) {
	o := k.options.Load()
	if a.Key == "" || o.After == 0 || a.Verdict != greylist.Pass {
		return
	}
	key, now := clientOf(o, c, a), time.Now().Unix()
	k.later(func(ctx context.Context) error {
		return k.stores.Clients.Update(ctx, key, func(old string, there bool) (string, bool) {
			r := parseClient(old)
			if there && now >= r.last && now-r.last < int64(goodPause/time.Second) {
				return old, true
			}
			return client{min(r.good+1, maxGood), now}.String(), true
		})
	})
}

// client is what a client has brought.
type client struct {
	good int
	last int64
}

const maxGood = 1 << 20 // a count that goes no further

func (c client) String() string {
	return strconv.Itoa(c.good) + " " + strconv.FormatInt(c.last, 10)
}

// parseClient reads what String prints; anything else is a client that brought nothing.
func parseClient(text string) client {
	good, last, _ := strings.Cut(text, " ")
	g, err1 := strconv.ParseUint(good, 10, 20)
	l, err2 := strconv.ParseUint(last, 10, 40)
	if err1 != nil || err2 != nil {
		return client{}
	}
	return client{int(g), int64(l)}
}

// clientKey is under which the good mail of a client counts: its address, or the network
// that keys have, or its pool.
func clientKey(o *Options, q greylist.Question) string {
	if q.Pool != "" {
		return "[" + q.Pool + "]"
	}
	return o.Rules.Network(q.Client)
}

// clientOf is the same of a contact that has an answer, whose key has the pool.
func clientOf(o *Options, c Contact, a greylist.Answer) string {
	if at := strings.LastIndexByte(a.Key, '@'); at >= 0 && strings.HasPrefix(a.Key[at+1:], "[") && !o.Rules.From {
		return a.Key[at+1:]
	}
	return o.Rules.Network(c.Client)
}

// maxWritten is how many recipients of one user's are written down in a day: nobody makes
// the others' be forgotten.
const maxWritten = 2000

// maxWriters is how many there are whose recipients are written down in a day: more than a
// machine has accounts, and 100 octets each.
const maxWriters = 100_000

// Sent writes down whom a user of ours, or a trusted client, has written to.
func (k *Keeper) Sent(who string, recipients []smtp.Recipient) {
	o := k.options.Load()
	if o.Mode == Off || !o.Written {
		return
	}
	now := time.Now()
	var keys []string
	for _, r := range recipients {
		if !k.mayWrite(who, now) {
			break
		}
		keys = append(keys, writtenKey(r.Path))
	}
	if len(keys) == 0 {
		return
	}
	value := strconv.FormatInt(now.Unix(), 10)
	k.later(func(ctx context.Context) error { // one for a message: many recipients keep no note of others' out
		for _, key := range keys {
			if err := k.stores.Written.Update(ctx, key, func(string, bool) (string, bool) { return value, true }); err != nil {
				return err
			}
		}
		return nil
	})
}

// mayWrite counts one more of a user's.
func (k *Keeper) mayWrite(who string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if today := now.UTC().Format(time.DateOnly); today != k.wroteOn {
		k.wroteOn, k.wrote = today, map[string]int{}
	}
	if _, known := k.wrote[who]; !known && len(k.wrote) >= maxWriters {
		return false
	}
	k.wrote[who]++
	return k.wrote[who] <= maxWritten
}

func writtenKey(p smtp.Path) string { return smtp.Fold(p.String()) }
