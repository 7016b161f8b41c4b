//go:build !lite

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// filled makes a store with tables on several levels, deletions and a log, closes it, and
// returns what every key holds.
func filled(t *testing.T, dir string) map[string]string {
	t.Helper()
	s := open(t, dir)
	p := s.Part("")
	want := map[string]string{}
	var keys []string
	for round := range 4 {
		some := map[string]string{}
		for i := range 1000 {
			key := fmt.Sprintf("k%05d", i*7919%1200)
			some[key] = fmt.Sprintf("%d %s", round, strings.Repeat(key, 200))
			want[key] = some[key]
		}
		if err := p.Put(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	for key := range want {
		if len(keys) < 100 {
			keys = append(keys, key)
			delete(want, key)
		}
	}
	if _, err := p.Delete(t.Context(), keys, func(string, string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	set(t, p, "last", "of all")
	want["last"] = "of all"
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

// damages are what becomes of a file.
var damages = map[string]func(old []byte) []byte{
	"removed": func([]byte) []byte { return nil },
	"empty":   func([]byte) []byte { return []byte{} },
	"half":    func(old []byte) []byte { return old[:len(old)/2] },
	"short":   func(old []byte) []byte { return old[:max(len(old)-1, 0)] },
	"begin":   func(old []byte) []byte { return flip(old, 0) },
	"third":   func(old []byte) []byte { return flip(old, len(old)/3) },
	"end":     func(old []byte) []byte { return flip(old, len(old)-1) },
	"zeros":   func(old []byte) []byte { return make([]byte, len(old)) },
	"text":    func(old []byte) []byte { return []byte("what somebody wrote here\n") },
}

func flip(old []byte, at int) []byte {
	if at >= 0 && at < len(old) {
		old[at] ^= 0x55
	}
	return old
}

// TestDamage: whatever becomes of a file, the store opens with what is whole, or says that
// it is damaged and how it is mended; what it answers then is right or damage. Only the
// end of a log may be missing without a word: it looks as if it had never been written.
func TestDamage(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	want := filled(t, whole)
	files, err := os.ReadDir(filepath.Join(whole, dbName))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	opened, refused := 0, 0
	for _, f := range files {
		for name, damage := range damages {
			dir := filepath.Join(t.TempDir(), "s")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, dbName, f.Name())
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if now := damage(old); now == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, now, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if useDamaged(t, f.Name()+" "+name, dir, want) {
				opened++
			} else {
				refused++
			}
			if name == "third" || name == "half" || name == "removed" {
				mendDamaged(t, f.Name()+" "+name, dir, want)
			}
			os.RemoveAll(dir)
		}
	}
	t.Logf("%d files: %d opened, %d refused", len(files), opened, refused)
}

// useDamaged opens a store with a damaged file and reports whether that worked.
func useDamaged(t *testing.T, what, dir string, want map[string]string) bool {
	hurt := false
	damaged := func(err error) bool {
		d := (*DamageError)(nil)
		is := errors.As(err, &d) && errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), `run "mend it"`)
		hurt = hurt || is
		return is
	}
	checked := Check(dir, Options{Mend: "mend it"})
	if checked != nil && !damaged(checked) {
		t.Errorf("%s: check: %v", what, checked)
	}
	s, err := Open(dir, Options{Mend: "mend it"})
	if (err == nil) != (checked == nil) {
		t.Errorf("%s: check says %v, open %v", what, checked, err)
	}
	if err != nil {
		if !damaged(err) {
			t.Errorf("%s: open: %v", what, err)
		}
		return false
	}
	defer s.Close()
	p := s.Part("")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	had := 0
	err = p.Scan(ctx, "", func(key, value string) bool {
		if old := want[key]; value == old {
			had++
		} else if !strings.HasSuffix(value, strings.Repeat(key, 200)) {
			t.Errorf("%s: %s is %.40q", what, key, value)
		}
		return true
	})
	if err != nil && !damaged(err) {
		t.Errorf("%s: scan: %v", what, err)
	}
	if !strings.Contains(what, ".log ") && err == nil && had < len(want) {
		t.Errorf("%s: %d of %d records are there, and no error", what, had, len(want))
	}
	for i := range 20 {
		if _, _, err := p.Get(ctx, fmt.Sprintf("k%05d", i*60)); err != nil && !damaged(err) {
			t.Errorf("%s: get: %v", what, err)
		}
	}
	if err := p.Update(ctx, "new", to("v")); err != nil && !damaged(err) && !errors.Is(err, ErrLost) && !errors.Is(err, ErrLate) {
		t.Errorf("%s: update: %v", what, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
	if err := Check(dir, Options{}); hurt != errors.Is(err, ErrDamaged) {
		t.Errorf("%s: after it was used, and damage was found: %v, check says %v", what, hurt, err)
	}
	return true
}

// mendDamaged mends a store with a damaged file, which loses no more than that file had.
func mendDamaged(t *testing.T, what, dir string, want map[string]string) {
	m, err := Mend(dir, Options{})
	if err != nil {
		t.Errorf("%s: mend: %v", what, err)
		return
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Errorf("%s: open what was mended: %v", what, err)
		return
	}
	defer s.Close()
	had, all := 0, 0
	if err := s.Part("").Scan(t.Context(), "", func(key, value string) bool {
		all++
		if want[key] == value {
			had++
		}
		return true
	}); err != nil || all != m.Records {
		t.Errorf("%s: %d records are there, and %d were mended: %v", what, all, m.Records, err)
	}
	needed := !strings.Contains(what, ".sst ") && !strings.Contains(what, ".log ")
	if needed && had < len(want) {
		t.Errorf("%s: %d of %d records are left", what, had, len(want))
	}
	if named := strings.Fields(what); !needed && had < len(want) && named[1] != "removed" && named[0] != "" && !slices.Contains(m.Damaged, named[0]) && !strings.HasSuffix(named[0], ".log") {
		t.Errorf("%s: %d of %d records are left, and damaged is %q", what, had, len(want), m.Damaged)
	}
	set(t, s.Part(""), "after", "mending")
}
