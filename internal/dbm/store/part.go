package store

import "context"

// Part is the records of a store whose keys begin alike, as one kind of them has to see.
type Part struct {
	store  *Store
	prefix string
}

// Part returns the part whose keys begin with prefix, which none of its calls shows. The
// prefix of no other part should begin with it.
func (s *Store) Part(prefix string) Part { return Part{s, prefix} }

// Get returns what a key holds; there is false where it holds nothing.
func (p Part) Get(ctx context.Context, key string) (value string, there bool, err error) {
	ctx, cancel := within(ctx)
	defer cancel()
	l, err := p.store.open(ctx)
	if err != nil {
		return "", false, err
	}
	return l.get(ctx, p.prefix+key)
}

// Update puts what change makes of a key's value in its place, and returns when that is on
// disk. keep is false where the key is to hold nothing. Nobody else changes the key
// meanwhile. change runs where others wait: it decides, and does nothing else. After an
// error it may have run or not, and nothing is kept; but with ErrLate, ErrFull, ErrClosed
// and ErrLost what it said may be kept yet.
func (p Part) Update(ctx context.Context, key string, change func(old string, there bool) (now string, keep bool)) error {
	_, err := p.change(ctx, []changing{{key: p.prefix + key, to: change}})
	return err
}

// Delete empties those of keys of which gone says yes when it is asked with what the key
// holds then, and returns how many. It does so with some at a time, so that others don't
// wait long.
func (p Part) Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (n int, err error) {
	for len(keys) > 0 && err == nil {
		some := keys[:min(len(keys), maxChanges)]
		keys = keys[len(some):]
		all := make([]changing, len(some))
		for i, key := range some {
			all[i] = changing{key: p.prefix + key, to: func(old string, there bool) (string, bool) {
				return old, there && !gone(key, old)
			}}
		}
		var deleted int
		deleted, err = p.change(ctx, all)
		n += deleted
	}
	return n, err
}

// Put puts values in the place of what their keys hold, many with one sync.
func (p Part) Put(ctx context.Context, records map[string]string) error {
	var some []changing
	for key, value := range records {
		some = append(some, changing{p.prefix + key, func(string, bool) (string, bool) { return value, true }, true})
		if len(some) == maxChanges {
			if _, err := p.change(ctx, some); err != nil {
				return err
			}
			some = nil
		}
	}
	if len(some) == 0 {
		return nil
	}
	_, err := p.change(ctx, some)
	return err
}

func (p Part) change(ctx context.Context, all []changing) (deleted int, err error) {
	ctx, cancel := within(ctx)
	defer cancel()
	l, err := p.store.open(ctx)
	if err != nil {
		return 0, err
	}
	return l.change(ctx, all)
}

// Scan calls each with keys and what they hold, in the order of their octets, from the
// first one behind after on ("" is from the start), until it says no. It reads some at a
// time: each may change the store, and what changes meanwhile is seen or not.
func (p Part) Scan(ctx context.Context, after string, each func(key, value string) bool) error {
	from := p.prefix
	if after != "" {
		from += after + "\x00"
	}
	for {
		some, err := p.some(ctx, from)
		if err != nil {
			return err
		}
		for _, r := range some {
			if !each(r.key[len(p.prefix):], r.value) {
				return nil
			}
		}
		if len(some) < maxRead {
			return nil
		}
		from = some[len(some)-1].key + "\x00"
	}
}

// some are the next records from a key on.
func (p Part) some(ctx context.Context, from string) ([]record, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	l, err := p.store.open(ctx)
	if err != nil {
		return nil, err
	}
	return l.some(ctx, p.prefix, from)
}
