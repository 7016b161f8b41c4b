package state

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// table is a Table for tests.
type table struct {
	mu       sync.Mutex
	changed  map[string]string
	restored map[string]string
}

func (t *table) Changed(time.Time) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.changed
	t.changed = nil
	return all
}

func (t *table) Restore(_ time.Time, key, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.restored == nil {
		t.restored = map[string]string{}
	}
	t.restored[key] = value
}

func (t *table) Spent(_ time.Time, _, value string) bool { return value == "spent" }

func (t *table) has(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.restored[key] != ""
}

// TestKeep: what a table had at the end the next server has, but for what is spent by
// then, which is removed, however much it is.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	many := map[string]string{"good": "1"}
	for i := range 3 * sweepSome {
		many[fmt.Sprint(i)] = "spent"
	}
	first := New(dir, slog.New(slog.DiscardHandler))
	first.Keep(Scores, &table{changed: many})
	first.Keep(Rates, &table{changed: map[string]string{"rate": "2"}})
	waitOpen(t, first)
	first.Close()

	second := New(dir, slog.New(slog.DiscardHandler))
	defer second.Close()
	scores := &table{}
	second.Keep(Scores, scores)
	second.Keep(Scores, &table{}) // once is enough
	waitOpen(t, second)
	for deadline := time.After(time.Minute); !scores.has("good"); {
		select {
		case <-deadline:
			t.Fatal("nothing was restored")
		case <-time.After(time.Millisecond):
		}
	}
	if len(scores.restored) != 1 {
		t.Errorf("%d are restored", len(scores.restored))
	}
	n := 0
	if err := second.Part("").Scan(t.Context(), "", func(string, string) bool { n++; return true }); err != nil || n != 2 {
		t.Errorf("%d records are left, %v", n, err)
	}
}

// waitOpen waits until the store is open and what is kept was read once.
func waitOpen(t *testing.T, s *State) {
	t.Helper()
	if _, _, err := s.Part("").Get(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
}

// TestNoStore: where the store can't be opened nothing waits for it, not even the end.
func TestNoStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := New(file, slog.New(slog.DiscardHandler))
		s.Keep(Scores, &table{})
		time.Sleep(time.Hour)
		s.Close()
	})
}

// TestMake: the directory becomes the server's, with what is missing above it, whatever
// the umask; what is another's is left, and the error says what to do.
func TestMake(t *testing.T) {
	testenv.NeedsRoot(t, "gives files away")
	defer syscall.Umask(syscall.Umask(0o077))
	const uid, gid = 65534, 65534
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := Make(disk.OS(), dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{dir: "0 755", Dir(dir): "65534 700"} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %o", info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm()); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if err := os.Chown(Dir(dir), 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := Make(disk.OS(), dir, uid, gid); err == nil || !strings.Contains(err.Error(), "chown -R 65534:65534") {
		t.Errorf("another's: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Make(disk.OS(), dir, uid, gid); err == nil || !strings.Contains(err.Error(), "chmod a+x") {
		t.Errorf("closed: %v", err)
	}
	link := filepath.Join(t.TempDir(), "c")
	if err := os.MkdirAll(link, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", Dir(link)); err != nil {
		t.Fatal(err)
	}
	if err := Make(disk.OS(), link, uid, gid); err == nil {
		t.Error("a link is followed")
	}
}
