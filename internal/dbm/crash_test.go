//go:build !lite

package dbm

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

const where = "/etc/aliases.db"

// plain is the disk before: an old database, and what an earlier crash left.
func plain(f *crashfs.FS) {
	f.MkdirAll("/etc", 0o755)
	write(f, Options{Mode: 0o600}, "old", "1", "same", "x")
	f.Plant("/etc/.aliases.db.new-LEFT", 0o600, []byte("half of a"))
	f.Plant("/etc/.aliases.db.lock", 0o600, nil)
}

// write builds a database on the disk.
func write(d disk.FS, o Options, pairs ...string) error {
	o.FS = d
	b, err := Create(where, o)
	if err != nil {
		return err
	}
	defer b.Abort()
	for i := 0; i < len(pairs); i += 2 {
		if err := b.Add([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			return err
		}
	}
	return b.Commit()
}

// build replaces the database by another, through runs on the disk.
func build(d disk.FS, ack func(string)) error {
	err := write(d, Options{Memory: 40}, "new", "2", "same", "y", "more", strings.Repeat("z", 300))
	if err == nil {
		ack("new")
	}
	return err
}

// edit changes the database.
func edit(d disk.FS, ack func(string)) error {
	e, err := Change(where, Options{FS: d})
	if err != nil {
		return err
	}
	defer e.Abort()
	if err := errors.Join(e.Delete([]byte("old")), e.Store([]byte("new"), []byte("2"), Insert)); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	ack("new")
	return nil
}

// content is the database on the disk as text.
func content(d disk.FS) (string, error) {
	db, err := Open(where, Options{FS: d})
	if err != nil {
		return "", err
	}
	defer db.Close()
	var b strings.Builder
	for r, err := range db.All() {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s=%.3s ", r.Key, r.Value)
	}
	return b.String(), nil
}

// oldOrNew fails unless the database is the old one, or the new one if that
// was acknowledged.
func oldOrNew(old, next string) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		got, err := content(d)
		switch {
		case err != nil:
			t.Errorf("after the crash: %v", err)
		case got != next && (got != old || len(acked) > 0):
			t.Errorf("after the crash: %q, acknowledged %q", got, acked)
		}
	}
}

var scenes = []struct {
	name     string
	scenario crashfs.Scenario
	check    crashfs.Check
}{
	{"build", build, oldOrNew("old=1 same=x ", "more=zzz new=2 same=y ")},
	{"edit", edit, oldOrNew("old=1 same=x ", "new=2 same=x ")},
}

// Readers find the old or the new database whatever happens (A79).
func TestCrashA79(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Log(crashfs.Run{Prepare: plain}.EveryStep(t, s.scenario, s.check))
		})
	}
}

func TestCrashErrorsA79(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Log(crashfs.Run{Prepare: plain, Random: 2}.EveryError(t, s.scenario, s.check))
		})
	}
}

// writers are two programs that change the database at the same time.
func writers(f *crashfs.FS) []crashfs.Actor {
	var actors []crashfs.Actor
	for _, key := range []string{"one", "two"} {
		p := f.Process()
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) {
			e, err := Change(where, Options{FS: p})
			if err != nil {
				return
			}
			defer e.Abort()
			if e.Store([]byte(key), nil, Insert) == nil && e.Close() == nil {
				ack(key)
			}
		}})
	}
	return actors
}

// makers are two programs that make a new database at the same time: one of
// them does.
func makers(f *crashfs.FS) []crashfs.Actor {
	var actors []crashfs.Actor
	for _, key := range []string{"one", "two"} {
		p := f.Process()
		actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) {
			if err := write(p, Options{New: true}, key, ""); err == nil {
				ack(key)
			} else if !errors.Is(err, fs.ErrExist) {
				ack("an error: " + err.Error())
			}
		}})
	}
	return actors
}

// allThere fails unless every acknowledged record is in the database.
func allThere(t testing.TB, d disk.FS, acked []string) {
	got, err := content(d)
	if errors.Is(err, fs.ErrNotExist) && len(acked) == 0 {
		return
	}
	if err != nil {
		t.Error(err)
	}
	for _, key := range acked {
		if !slices.Contains(strings.Fields(got), key+"=") {
			t.Errorf("%q was acknowledged and isn't in %q", key, got)
		}
	}
}

// meddler is a disk on which somebody else changes the database between the
// next opening of it and the lock.
type meddler struct {
	disk.FS
	meddle func()
}

type meddlerDir struct {
	disk.Dir
	m *meddler
}

func (m *meddler) OpenDir(path string) (disk.Dir, error) {
	d, err := m.FS.OpenDir(path)
	return meddlerDir{d, m}, err
}

func (d meddlerDir) Open(name string, a disk.Access) (disk.File, error) {
	f, err := d.Dir.Open(name, a)
	if meddle := d.m.meddle; meddle != nil {
		d.m.meddle = nil
		meddle()
	}
	return f, err
}

func (d meddlerDir) Rename(old string, to disk.Dir, name string) error {
	return d.Dir.Rename(old, to.(meddlerDir).Dir, name)
}

// changedBetween fails if a change is lost that comes between open and lock.
func changedBetween(t testing.TB) {
	f := crashfs.New()
	plain(f)
	m := &meddler{FS: f, meddle: func() {
		if err := edit(f.Process(), func(string) {}); err != nil {
			t.Error(err)
		}
	}}
	e, err := Change(where, Options{FS: m})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Abort()
	if _, err := f.ReadFile("/etc/.aliases.db.lock"); err != nil {
		t.Errorf("%v: the lock is on a file that was removed", err)
	}
	if err := errors.Join(e.Store([]byte("mine"), nil, Insert), e.Close()); err != nil {
		t.Error(err)
	}
	if got, err := content(f); got != "mine= new=2 same=x " || err != nil {
		t.Errorf("%q, %v: a change is lost", got, err)
	}
}

func TestChangedBetween(t *testing.T) { changedBetween(t) }

func interleave(t testing.TB, schedules int) {
	t.Helper()
	crashfs.Run{Prepare: plain}.Interleave(t, schedules, writers, allThere)
	crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/etc", 0o755) }}.Interleave(t, schedules, makers, allThere)
}

func TestInterleave(t *testing.T) { interleave(t, 100) }

// TestCrashMutants leaves out each sync, exclusive create, lock and second look.
func TestCrashMutants(t *testing.T) {
	crashfs.Mutants(t, func(t testing.TB) {
		for _, s := range scenes {
			crashfs.Run{Prepare: plain}.EveryStep(t, s.scenario, s.check)
		}
		changedBetween(t)
		interleave(t, 20)
	},
		crashfs.Allowed{Kind: crashfs.Exclusive, Where: "internal/dbm/build.go", Reason: "a temporary name is random and never comes twice"},
		crashfs.Allowed{Kind: crashfs.Exclusive, Where: "internal/dbm/edit.go", Reason: "whoever else made the lock's file, or finds it, has it locked by one, with a second look"},
	)
}
