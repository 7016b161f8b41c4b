package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Limits of requests about records. A page is in memory while it is sent, and a batch
// is a request's line.
const (
	maxPage    = 256 << 10 // octets of one page of records; whoever lists asks for one after the other, and holds up nobody meanwhile
	maxBatch   = 32 << 10  // octets of the keys and values that one request names: in base64 they fit into its line
	maxRecords = 200       // keys or changes of one request
	maxSwaps   = 100       // tries to change a record that others change all the time
	swapWait   = 20        // milliseconds between two of them at most, of which chance takes a part, so that all of those who try have their turn
)

// Store is a part of what the server keeps of strangers, as greylist.Store is one.
type Store interface {
	Get(ctx context.Context, key string) (value string, there bool, err error)
	Update(ctx context.Context, key string, change func(old string, there bool) (now string, keep bool)) error
	Scan(ctx context.Context, after string, each func(key, value string) bool) error
	Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (int, error)
}

// Record is what a key holds. Octets of any kind are in both.
type Record struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// Swap puts a value in another one's place, if that is still there. nil: there is none.
type Swap struct {
	Key []byte  `json:"key"`
	Old *[]byte `json:"old,omitempty"`
	New *[]byte `json:"new,omitempty"`
}

// records is the table of the verbs about records.
func (s *server) records(ctx context.Context, a *answer, p Peer, req Request) (text string, err error) {
	store, err := s.handler.Store(p, req.Part)
	if err != nil {
		return "", err
	}
	if len(req.Keys)+len(req.Swaps) > maxRecords {
		return "", &Error{codeUsage, fmt.Sprintf("more than %d records", maxRecords)}
	}
	switch req.Do {
	case Page:
		return "", s.question(ctx, a, p, func() error { return page(ctx, a, store, string(req.After)) })
	case Fetch:
		return "", s.question(ctx, a, p, func() error { return fetch(ctx, a, store, req.Keys) })
	}
	n, err := swapAll(ctx, store, req.Swaps)
	return fmt.Sprint(n), err
}

// page sends the first records behind a key, none where there are no more.
func page(ctx context.Context, a *answer, store Store, after string) error {
	var all []Record
	size := 0
	err := store.Scan(ctx, after, func(key, value string) bool {
		all = append(all, Record{[]byte(key), []byte(value)})
		size += len(key) + len(value)
		return size < maxPage
	})
	if err != nil {
		return err
	}
	return recordLines(all, a.line)
}

// fetch sends what keys hold, those that hold something.
func fetch(ctx context.Context, a *answer, store Store, keys [][]byte) error {
	for _, key := range keys {
		value, there, err := store.Get(ctx, string(key))
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := recordLines([]Record{{key, []byte(value)}}, a.line); err != nil {
			return err
		}
	}
	return nil
}

func recordLines(some []Record, write func(line []byte) error) error {
	for _, r := range some {
		if len(r.Key)+len(r.Value) > maxBatch {
			return tooLong(r.Key)
		}
	}
	return inBatches(some, func(r Record) Record { return r }, write, func(some []Record) frame { return frame{Records: some} })
}

func tooLong(key []byte) error {
	return &Error{codeUnavailable, fmt.Sprintf("the record of %.100q is too long to be sent: stop the server, and ask again", key)}
}

// swapAll makes changes, and returns how many were made. Those that only take something
// away are one change for the store.
func swapAll(ctx context.Context, store Store, all []Swap) (n int, err error) {
	was := map[string]string{}
	for _, w := range all {
		if w.Old != nil && w.New == nil {
			was[string(w.Key)] = string(*w.Old)
			continue
		}
		made, err := swap(ctx, store, w)
		if err != nil {
			return n, err
		}
		if made {
			n++
		}
	}
	if len(was) == 0 {
		return n, nil
	}
	keys := make([]string, 0, len(was))
	for key := range was {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	deleted, err := store.Delete(ctx, keys, func(key, value string) bool { return value == was[key] })
	return n + deleted, err
}

func swap(ctx context.Context, store Store, w Swap) (made bool, err error) {
	err = store.Update(ctx, string(w.Key), func(old string, there bool) (string, bool) {
		if made = there == (w.Old != nil) && (!there || old == string(*w.Old)); !made {
			return old, there
		}
		if w.New == nil {
			return "", false
		}
		return string(*w.New), true
	})
	return made && err == nil, err
}

// Records is a part of the store of a server that runs: a Store whose every call is a
// few requests, each with a connection that Dial makes.
type Records struct {
	Dial func(ctx context.Context) (*Client, error)
	Part string
}

// Look asks for nothing but whether the store may be asked.
func (r Records) Look(ctx context.Context) error { return r.fetch(ctx, nil, nil) }

func (r Records) ask(ctx context.Context, req Request, a collector) (string, error) {
	c, err := r.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	req.Part = r.Part
	return c.ask(ctx, req, a)
}

// fetch calls each with what keys hold, in their order.
func (r Records) fetch(ctx context.Context, keys []string, each func(key, value string)) error {
	req := Request{Do: Fetch}
	for _, key := range keys {
		req.Keys = append(req.Keys, []byte(key))
	}
	_, err := r.ask(ctx, req, collector{record: func(one Record) bool {
		each(string(one.Key), string(one.Value))
		return true
	}})
	return err
}

// swap makes changes, and returns how many.
func (r Records) swap(ctx context.Context, all []Swap) (n int, err error) {
	for _, w := range all {
		size := len(w.Key)
		for _, value := range []*[]byte{w.Old, w.New} {
			if value != nil {
				size += len(*value)
			}
		}
		if size > maxBatch {
			return 0, tooLong(w.Key)
		}
	}
	text, err := r.ask(ctx, Request{Do: Exchange, Swaps: all}, collector{})
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
		return 0, fmt.Errorf("the server's answer makes no sense: %.40q", text)
	}
	return n, nil
}

// Get implements Store.
func (r Records) Get(ctx context.Context, key string) (value string, there bool, err error) {
	err = r.fetch(ctx, []string{key}, func(_, v string) { value, there = v, true })
	return value, there, err
}

// Update implements Store: change is called again where another one was faster.
func (r Records) Update(ctx context.Context, key string, change func(old string, there bool) (now string, keep bool)) error {
	for try := range maxSwaps {
		old, there, err := r.Get(ctx, key)
		if err != nil {
			return err
		}
		now, keep := change(old, there)
		w := Swap{Key: []byte(key)}
		if there {
			w.Old = octets(old)
		}
		if keep {
			w.New = octets(now)
		}
		if keep == there && now == old || !keep && !there {
			return nil
		}
		n, err := r.swap(ctx, []Swap{w})
		if err != nil || n == 1 {
			return err
		}
		timer := time.NewTimer(rand.N(min(time.Duration(try+1), swapWait) * time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return &Error{codeTempFail, fmt.Sprintf("%.100q changes all the time, try again", key)}
}

func octets(s string) *[]byte {
	b := []byte(s)
	return &b
}

// Scan implements Store. It holds one page, and the server nothing while each works.
func (r Records) Scan(ctx context.Context, after string, each func(key, value string) bool) error {
	for {
		var some []Record
		_, err := r.ask(ctx, Request{Do: Page, After: []byte(after)}, collector{record: func(one Record) bool {
			some = append(some, one)
			return true
		}})
		if err != nil || len(some) == 0 {
			return err
		}
		for _, one := range some {
			if string(one.Key) <= after {
				return errors.New("the server's answer makes no sense: its keys are out of order")
			}
			after = string(one.Key)
			if !each(after, string(one.Value)) {
				return nil
			}
		}
	}
}

// Delete implements Store.
func (r Records) Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (n int, err error) {
	for some := range batches(keys, func(key string) int { return len(key) }) {
		var all []Swap
		err := r.fetch(ctx, some, func(key, value string) {
			if gone(key, value) {
				all = append(all, Swap{Key: []byte(key), Old: octets(value)})
			}
		})
		if err != nil {
			return n, err
		}
		for some := range batches(all, func(w Swap) int { return len(w.Key) + len(*w.Old) }) {
			deleted, err := r.swap(ctx, some)
			n += deleted
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Put puts values in the place of what their keys hold, for who brings many.
func (r Records) Put(ctx context.Context, records map[string]string) error {
	var all []Swap
	for key, value := range records {
		all = append(all, Swap{Key: []byte(key), New: octets(value)})
	}
	for some := range batches(all, func(w Swap) int { return 2*len(w.Key) + len(*w.New) + maxBatch/maxRecords }) {
		keys := make([]string, len(some))
		places := map[string]*Swap{}
		for i := range some {
			keys[i] = string(some[i].Key)
			places[keys[i]] = &some[i]
		}
		if err := r.fetch(ctx, keys, func(key, value string) {
			if w := places[key]; w != nil && len(value) < maxBatch/maxRecords {
				w.Old = octets(value)
			}
		}); err != nil {
			return err
		}
		n, err := r.swap(ctx, some)
		if err != nil {
			return err
		}
		if n == len(some) {
			continue
		}
		for _, w := range some { // somebody changes them too
			value := string(*w.New)
			if err := r.Update(ctx, string(w.Key), func(string, bool) (string, bool) { return value, true }); err != nil {
				return err
			}
		}
	}
	return nil
}

// batches are as many items at a time as fit into a request.
func batches[T any](all []T, size func(T) int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		begin, octets := 0, 0
		for i, one := range all {
			if n := size(one); i > begin && (octets+n > maxBatch || i-begin == maxRecords) {
				if !yield(all[begin:i]) {
					return
				}
				begin, octets = i, 0
			}
			octets += size(one)
		}
		if begin < len(all) {
			yield(all[begin:])
		}
	}
}

// Unknown reports whether an error is that of a server which knows no records: one of
// another version.
func Unknown(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && (e.Code == codeProtocol || e.Code == codeUnavailable && strings.HasPrefix(e.Text, unknownRequest))
}
