//go:build !lite

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"postoffice/internal/disk"
)

const maxFailures = 10 // of work behind the scenes, one after the other, which Pebble tries again at once and for ever

// tables is an engine of Pebble's.
type tables struct {
	life    *life
	db      *pebble.DB
	dir     disk.Dir
	lock    disk.File
	files   *files
	noting  sync.Mutex // held while damage is noted, and the directory closed; guards what follows
	open    bool
	pending error // damage that was found before it was open

	failures atomic.Int32 // of work behind the scenes, since some succeeded
}

// Supported says why this build keeps no records; nil: it does.
func Supported() error { return nil }

func openEngine(l *life) (e engine, err error) {
	t := &tables{life: l}
	as := l.options.As
	if err := t.openDir(true); err != nil {
		return nil, err
	}
	if err = as(t.takeLock); err == nil {
		err = t.openDB()
	}
	if err != nil {
		t.letGo()
		return nil, err
	}
	t.files.room.opened()
	t.opened()
	return t, nil
}

// openDir opens the directory, and makes it if need be and that is wanted.
func (t *tables) openDir(make bool) error {
	return t.life.options.As(func() (err error) {
		if make {
			err = os.MkdirAll(t.life.dir, 0o700)
		}
		if err == nil {
			t.dir, err = disk.OS().OpenDir(t.life.dir)
		}
		return err
	})
}

// takeLock makes the store this process's.
func (t *tables) takeLock() error {
	f, err := t.dir.Create(lockName, 0o600)
	if errors.Is(err, fs.ErrExist) {
		f, err = t.dir.Open(lockName, disk.ReadWrite)
	}
	if err != nil {
		return err
	}
	t.lock = f
	switch ours, err := f.TryLock(); {
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("%s: %w", t.life.dir, ErrLocked)
	}
	return nil
}

// letGo lets another process have the store.
func (t *tables) letGo() error {
	t.noting.Lock()
	defer t.noting.Unlock()
	t.open = false
	var err error
	if t.lock != nil {
		err = t.lock.Close()
	}
	return errors.Join(err, t.dir.Close())
}

// openDB opens what the directory holds.
func (t *tables) openDB() error {
	t.files = newFiles(t.dir, t.life.options)
	var db *pebble.DB
	err := t.guarded(func() (err error) {
		if err = t.whole(); err == nil {
			db, err = pebble.Open(t.at(dbName), t.options())
		}
		return err
	})
	t.db = db
	return t.openError(err)
}

// openError is what a store can't be opened for.
func (t *tables) openError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDamaged):
		return err
	case disk.Full(err):
		return fmt.Errorf("%s: %w", t.life.dir, ErrFull)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: all of %s is to be its owner's", err, t.life.dir)
	}
	return t.life.damaged(err)
}

// guarded does something with Pebble. Where that has found what it can't go on after, it
// hangs, and is left behind.
func (t *tables) guarded(do func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer t.life.caught(&err)
		err = do()
	}()
	select {
	case err := <-done:
		return err
	case <-t.life.down:
		t.files.cutOff()
		return t.life.damaged(t.life.err())
	}
}

// whole holds that there is one store.
func (t *tables) whole() error {
	if err := t.finishMending(); err != nil {
		return err
	}
	return errors.Join(t.marked(), t.listed())
}

// listed holds that a directory with tables says which of them are in force: where that is
// missing Pebble would take them for left over, and make a new store.
func (t *tables) listed() error {
	names, err := t.files.List(t.at(dbName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	has, table := false, ""
	for _, name := range names {
		has = has || strings.HasPrefix(name, "marker.manifest.")
		if strings.HasSuffix(name, ".sst") {
			table = name
		}
	}
	if err == nil && !has && table != "" {
		err = fmt.Errorf("there is %s, and no marker.manifest", table)
	}
	return err
}

// options are small: a server that judges strangers needs no more.
func (t *tables) options() *pebble.Options {
	o := &pebble.Options{
		FS:                 t.files,
		FormatMajorVersion: pebble.FormatFlushableIngestExcises, // rows: columns need loose alignment
		MemTableSize:       1 << 20, MemTableStopWritesThreshold: 2,
		CacheSize: 4 << 20, MaxOpenFiles: 32,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		L0CompactionThreshold:      2, L0StopWritesThreshold: 20, LBaseMaxBytes: 4 << 20,
		MaxManifestFileSize: 1 << 20,
		DisableTableStats:   true, BytesPerSync: 256 << 10,
		Logger: quiet{t.life},
		EventListener: &pebble.EventListener{
			DataCorruption:  func(info pebble.DataCorruptionInfo) { t.spoiled(errors.New(info.String())) },
			BackgroundError: t.failed,
			FlushEnd:        func(info pebble.FlushInfo) { t.succeeded(info.Err) },
			CompactionEnd:   func(info pebble.CompactionInfo) { t.succeeded(info.Err) },
		},
	}
	o.Experimental.FileCacheShards = 1
	o.TargetFileSizes[0] = 2 << 20
	for i := range o.Levels {
		o.Levels[i].BlockSize = 4096
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].Compression = func() *block.CompressionProfile { return block.SnappyCompression }
	}
	return o
}

// failed counts what Pebble will try again.
func (t *tables) failed(err error) {
	switch {
	case pebble.IsCorruptionError(err):
		t.spoiled(err)
	case t.failures.Add(1) > maxFailures:
		t.life.lost(err)
	}
}

func (t *tables) succeeded(err error) {
	if err == nil {
		t.failures.Store(0)
	}
}

func (t *tables) get(key string) (value string, there bool, err error) {
	v, closer, err := t.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, t.unread(err)
	}
	return string(v), true, closer.Close()
}

func (t *tables) scan(prefix, from string, each func(key, value []byte) bool) (err error) {
	bounds := &pebble.IterOptions{UpperBound: after(prefix)}
	if from != "" { // an empty bound is none, which Pebble's own checks don't know
		bounds.LowerBound = []byte(from)
	}
	it, err := t.db.NewIter(bounds)
	if err != nil {
		return t.unread(err)
	}
	defer func() {
		if again := it.Close(); err == nil && again != nil {
			err = t.unread(again)
		}
	}()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return t.unread(err)
		}
		if !each(it.Key(), value) {
			return nil
		}
	}
	return nil // or what Close says
}

// after is the least key behind all that begin with prefix; nil: there is none.
func after(prefix string) []byte {
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}

func (t *tables) write(writes map[string]write) error {
	if err := t.files.room.check(); err != nil {
		return err
	}
	b := t.db.NewBatch()
	defer b.Close()
	for key, w := range writes {
		var err error
		if w.delete {
			err = b.Delete([]byte(key), nil)
		} else {
			err = b.Set([]byte(key), []byte(w.value), nil)
		}
		if err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (t *tables) full() bool { return t.files.room.full() }

func (t *tables) stuck() <-chan struct{} { return t.files.room.stuck() }

func (t *tables) close() (err error) {
	defer t.life.caught(&err)
	return errors.Join(t.flush(), t.db.Close(), t.letGo())
}

// flush has what is in the log alone written into a table, where there is room: who opens
// the store then has no log to read.
func (t *tables) flush() error {
	if t.full() {
		return nil
	}
	return t.db.Flush()
}

// abandon: Pebble can't be asked to close while something of it hangs.
func (t *tables) abandon() error {
	done := make(chan error, 1)
	go func() {
		t.files.cutOff()
		done <- t.letGo()
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: %s stays locked until the process ends", ErrLate, t.life.dir)
	}
}

// quiet is Pebble's log: what it can't go on after ends the store, and nothing else is
// told.
type quiet struct{ life *life }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf must not return, for Pebble would go on as if nothing were, and must not end the
// process.
func (q quiet) Fatalf(format string, args ...any) {
	q.life.lost(fmt.Errorf(format, args...))
	select {}
}
