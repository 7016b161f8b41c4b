package greylist

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Memory is a Store that ends with its process, for tests. The zero value is empty.
type Memory struct {
	mu    sync.Mutex // guards what follows
	all   map[string]string
	order []string // all keys, and some that hold nothing any more; nil: not known
}

func (m *Memory) Get(ctx context.Context, key string) (value string, there bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, there = m.all[key]
	return value, there, ctx.Err()
}

func (m *Memory) Update(ctx context.Context, key string, change func(old string, there bool) (now string, keep bool)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, there := m.all[key]
	now, keep := change(old, there)
	if !keep {
		delete(m.all, key)
		return nil
	}
	if m.all == nil {
		m.all = map[string]string{}
	}
	if !there {
		m.order = nil
	}
	m.all[key] = now
	return nil
}

func (m *Memory) Scan(ctx context.Context, after string, each func(key, value string) bool) error {
	m.mu.Lock()
	if m.order == nil {
		m.order = slices.Sorted(maps.Keys(m.all))
	}
	order := m.order
	m.mu.Unlock()
	from, found := slices.BinarySearch(order, after)
	if found {
		from++
	}
	for _, key := range order[from:] {
		value, there, err := m.Get(ctx, key)
		if err != nil {
			return err
		}
		if there && !each(key, value) {
			return nil
		}
	}
	return ctx.Err()
}

func (m *Memory) Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		if value, there := m.all[key]; there && gone(key, value) {
			delete(m.all, key)
			n++
		}
	}
	return n, nil
}

// Len is how many keys there are.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}
