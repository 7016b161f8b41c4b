//go:build !lite

package store

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/wal"
)

const maxMending = 256 // records that Mend writes at once

// Mended is what Mend found.
type Mended struct {
	Records int      // in the store now
	Damaged []string // files that could not be read to their end
	Old     string   // where the store is as it was
}

// Mend makes a store anew of whatever can be read of it: of each table what stands before
// and behind what can't be read, of each log what stands before. Without the list of the
// tables that count, one that was merged into another already may come back in part: a
// record that was deleted then is there again. Another process must not have the store.
func Mend(dir string, o Options) (m Mended, err error) {
	s := newStore(dir, o)
	t := &tables{life: &life{dir: s.dir, options: s.options, down: make(chan struct{})}}
	if err := t.openDir(false); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, t.letGo()) }()
	if err := s.options.As(t.takeLock); err != nil {
		return m, err
	}
	t.files = newFiles(t.dir, s.options)
	err = t.guarded(func() error { m, err = t.mend(); return err })
	return m, err
}

func (t *tables) at(name ...string) string {
	return filepath.Join(append([]string{t.life.dir}, name...)...)
}

// mend makes the new store in steps, of which each may be the last one before a crash.
func (t *tables) mend() (m Mended, err error) {
	if err := t.finishMending(); err != nil {
		return m, err
	}
	if err := errors.Join(t.files.RemoveAll(t.at(mendingName)), t.files.MkdirAll(t.at(mendingName), 0o700)); err != nil {
		return m, err
	}
	newest, err := pebble.Open(t.at(mendingName, "newest"), t.options())
	if err != nil {
		return m, err
	}
	m.Damaged, err = t.collect(&collector{db: newest})
	if err == nil {
		m.Records, err = t.copyNewest(newest)
	}
	if err = errors.Join(err, newest.Close()); err != nil {
		return m, err
	}
	m.Old = t.at(damagedName)
	return m, errors.Join(
		t.files.Rename(t.at(mendingName, dbName), t.at(mendedName)), t.dir.Sync(),
		t.files.RemoveAll(m.Old), t.files.Rename(t.at(dbName), m.Old), t.dir.Sync(),
		t.finishMending(), t.files.RemoveAll(t.at(mendingName)))
}

// finishMending puts a mended store in its place, if that was not done.
func (t *tables) finishMending() error {
	if _, err := t.files.Stat(t.at(mendedName)); err != nil {
		return nil
	}
	if _, err := t.files.Stat(t.at(dbName)); err == nil {
		return t.files.RemoveAll(t.at(mendedName)) // that one is as it was: it is mended again
	}
	return errors.Join(t.files.Rename(t.at(mendedName), t.at(dbName)), t.unmark(), t.dir.Sync())
}

// collect reads all files, and returns those that could not be read to their end.
func (t *tables) collect(c *collector) (damaged []string, err error) {
	names, err := t.files.List(t.at(dbName))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		number, ok := strings.CutSuffix(name, ".sst")
		if n, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			if t.readTable(c, name, n) != nil {
				damaged = append(damaged, name)
			}
		}
	}
	logs, err := wal.Scan(wal.Dir{FS: t.files, Dirname: t.at(dbName)})
	if err != nil {
		return nil, err
	}
	for _, l := range logs {
		if t.readLog(c, l) != nil {
			_, path := l.SegmentLocation(0)
			damaged = append(damaged, filepath.Base(path))
		}
	}
	return damaged, errors.Join(c.failed, c.flush())
}

// readTable reads what can be read of a table, from both its ends.
func (t *tables) readTable(c *collector, name string, number uint64) (err error) {
	defer t.life.caught(&err)
	f, err := t.files.Open(t.at(dbName, name))
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	defer r.Close()
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	var wrong error
	for kv := it.First(); kv != nil && wrong == nil; kv = it.Next() {
		var value []byte
		if value, _, wrong = kv.Value(nil); wrong == nil {
			c.add(string(kv.K.UserKey), uint64(kv.K.SeqNum()), number, kv.K.Kind(), string(value))
		}
	}
	if wrong = errors.Join(wrong, it.Error()); wrong == nil {
		return it.Close()
	}
	for kv := it.Last(); kv != nil; kv = it.Prev() {
		value, _, err := kv.Value(nil)
		if err != nil {
			break
		}
		c.add(string(kv.K.UserKey), uint64(kv.K.SeqNum()), number, kv.K.Kind(), string(value))
	}
	return errors.Join(wrong, it.Close())
}

// readLog reads a log up to what can't be read.
func (t *tables) readLog(c *collector, l wal.LogicalLog) (err error) {
	defer t.life.caught(&err)
	r := l.OpenForRead()
	defer r.Close()
	for {
		in, _, err := r.NextRecord()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		batch, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		head, ok := batchrepr.ReadHeader(batch)
		if !ok {
			return errors.New("a record without a head")
		}
		entries := batchrepr.Read(batch)
		for seq := uint64(head.SeqNum); ; seq++ {
			kind, key, value, ok, err := entries.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			c.add(string(key), seq, uint64(l.Num), kind, string(value))
		}
	}
}

// collector keeps the newest of what it is given of each key, in any order, with what says
// so before it: the number of the change, and that of its file.
type collector struct {
	db      *pebble.DB
	pending map[string]string
	failed  error
}

const newestHead = 8 + 8 + 1 // octets before a value: both numbers, and whether it was deleted

func (c *collector) add(key string, change, file uint64, kind pebble.InternalKeyKind, value string) {
	head := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, change), file)
	switch kind {
	case pebble.InternalKeyKindSet, pebble.InternalKeyKindSetWithDelete:
		head = append(head, 1)
	case pebble.InternalKeyKindDelete, pebble.InternalKeyKindSingleDelete, pebble.InternalKeyKindDeleteSized:
		head = append(head, 0)
	default:
		return
	}
	if c.pending == nil {
		c.pending = map[string]string{}
	}
	now := string(head) + value
	old, there := c.pending[key]
	if !there {
		v, closer, err := c.db.Get([]byte(key))
		if err == nil {
			old = string(v)
			err = closer.Close()
		}
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			c.failed = err
		}
	}
	if old == "" || now[:newestHead-1] > old[:newestHead-1] {
		c.pending[key] = now
	}
	if len(c.pending) >= maxMending {
		c.failed = errors.Join(c.failed, c.flush())
	}
}

func (c *collector) flush() error {
	b := c.db.NewBatch()
	defer b.Close()
	for key, value := range c.pending {
		if err := b.Set([]byte(key), []byte(value), nil); err != nil {
			return err
		}
	}
	c.pending = nil
	return b.Commit(pebble.NoSync)
}

// copyNewest writes the newest records into a store of their own.
func (t *tables) copyNewest(newest *pebble.DB) (n int, err error) {
	db, err := pebble.Open(t.at(mendingName, dbName), t.options())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	it, err := newest.NewIter(nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	b := db.NewBatch()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return n, err
		}
		if v[newestHead-1] == 0 {
			continue
		}
		if err := b.Set(it.Key(), v[newestHead:], nil); err != nil {
			return n, err
		}
		if n++; n%maxMending == 0 {
			if err := b.Commit(pebble.NoSync); err != nil {
				return n, err
			}
			b = db.NewBatch()
		}
	}
	return n, errors.Join(it.Error(), b.Commit(pebble.Sync), db.Flush())
}
