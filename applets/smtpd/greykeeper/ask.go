package greykeeper

import (
	"context"
	"errors"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/rates"
)

// errRoom is the store's, which has all the records that it may have.
var errRoom = errors.New("the greylist has as many records as it may have, until some are forgotten")

// Ask judges a contact, and writes down that it came. It takes storeWait for each look and
// poolWait at most, whatever is left of its context's time: that others have used that up is
// no trouble of the store's, for which somebody may be let through.
func (k *Keeper) Ask(ctx context.Context, c Contact) greylist.Answer {
	o := k.options.Load()
	if o.Mode == Off || o.exempt(c) || k.released() {
		return greylist.Answer{Why: greylist.Exempt}
	}
	ctx = context.WithoutCancel(ctx)
	q := greylist.Question{Sender: c.Sender, Client: c.Client, Unnamed: c.Unnamed, Now: time.Now()}
	a, known, err := k.ask(ctx, o, q, c)
	if k.trouble.heard(err, o.Defer) && !known {
		if k.released() {
			return greylist.Answer{Why: greylist.Exempt}
		}
		a = greylist.Answer{Why: greylist.Unstored}
		if o.Defer {
			a.Verdict = greylist.Wait
		}
	}
	k.count(q.Now, o, a)
	return a
}

// search is what the store knows about a question.
type search struct {
	key    string // of the record that counts
	there  bool   // there is one
	record greylist.Record
}

// ask asks the store, and DNS where nothing is known of the client's own address. What the
// store knows of somebody holds also where it can't be written: known is true with that
// error.
func (k *Keeper) ask(ctx context.Context, o *Options, q greylist.Question, c Contact) (a greylist.Answer, known bool, err error) {
	found, err := k.find(ctx, o, q)
	if err == nil && !found.there && o.Pool != nil && (!o.Rules.From || q.Sender.IsNull()) {
		if q.Pool = k.pool(ctx, o, c); q.Pool != "" {
			found, err = k.find(ctx, o, q)
		}
	}
	if err != nil {
		return greylist.Answer{}, false, err
	}
	if !found.there || !found.record.HasPassed() && !found.record.ByHand() {
		if why, ok := k.known(ctx, o, q, c.Ours); ok {
			return greylist.Answer{Why: why, Key: found.key}, true, nil
		}
	}
	if !found.there && !q.Sender.IsNull() && !k.mayBegin(q) {
		found.key = o.Rules.AddressKey(q.Client)
	}
	a, err = k.decide(ctx, o, q, found.key)
	if err != nil && found.there {
		a = greylist.Decide(found.record, true, q, o.Rules)
		a.Key = found.key
	}
	return a, found.there && a.Why != greylist.Missed, err // a wait that nobody writes down would never end
}

// pool asks which provider the client sends for. The null sender has no domain: the name of
// the client stands for it, which leads back to its address.
func (k *Keeper) pool(ctx context.Context, o *Options, c Contact) string {
	domain := c.Sender.Domain
	if c.Sender.IsNull() {
		domain = c.Name
	}
	if domain == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, poolWait)
	defer cancel()
	return o.Pool(ctx, domain, c.Client)
}

// find looks for the record that counts: one that somebody made by hand, then the first
// that there is.
func (k *Keeper) find(ctx context.Context, o *Options, q greylist.Question) (found search, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	keys := greylist.Keys(q, o.Rules)
	found.key = keys[0]
	for _, key := range keys {
		text, there, err := k.stores.Records.Get(ctx, key)
		if err != nil {
			return search{}, err
		}
		if !there {
			continue
		}
		r, err := greylist.ParseRecord(text)
		if err != nil {
			continue // it is as good as none
		}
		if r.ByHand() {
			return search{key, true, r}, nil
		}
		if !found.there {
			found = search{key, true, r}
		}
	}
	return found, nil
}

// mayBegin reports whether a new sender of an address gets a record of its own.
func (k *Keeper) mayBegin(q greylist.Question) bool {
	l := rates.Limits{Per: 24 * time.Hour}
	l.Most[rates.Messages] = senderRate
	_, ok := k.fresh.Take(q.Now, q.Client, rates.Messages, l)
	return ok
}

// decide judges a contact by the record of a key, and keeps what becomes of that.
func (k *Keeper) decide(ctx context.Context, o *Options, q greylist.Question, key string) (greylist.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	var a greylist.Answer
	var added, full bool
	err := k.stores.Records.Update(ctx, key, func(old string, there bool) (string, bool) {
		r, err := greylist.ParseRecord(old)
		added, full = !there, false
		if there && err != nil {
			there = false
		}
		a = greylist.Decide(r, there, q, o.Rules)
		if full = added && !k.room.fits(k.limits); full {
			return "", false
		}
		return a.Record.String(), true
	})
	switch {
	case err != nil:
		return greylist.Answer{}, err
	case full:
		return greylist.Answer{}, errRoom
	case added:
		k.room.added(k.limits)
	}
	a.Key = key
	return a, nil
}

// known reports whether somebody passes at once who has no record, or waits.
func (k *Keeper) known(ctx context.Context, o *Options, q greylist.Question, ours bool) (greylist.Why, bool) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	if o.Written && !ours && !q.Sender.IsNull() {
		if _, there, err := k.stores.Written.Get(ctx, writtenKey(q.Sender)); err == nil && there {
			return greylist.Written, true
		}
	}
	if o.After > 0 {
		text, there, err := k.stores.Clients.Get(ctx, clientKey(o, q))
		if err == nil && there && parseClient(text).good >= o.After {
			return greylist.Trusted, true
		}
	}
	return 0, false
}
