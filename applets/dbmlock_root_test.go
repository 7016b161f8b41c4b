//go:build e2e && !lite

package applets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/testenv"
)

// TestLockLeftByRoot: a lock of root's that a crash left beside a user's database is taken
// away by the user's own change, or the error says who has to remove it.
func TestLockLeftByRoot(t *testing.T) {
	testenv.NeedsRoot(t, "runs a program as another user")
	dir, dbm := t.TempDir(), installed(t, "dbm", 0o755)
	path, lock := filepath.Join(dir, "x.db"), filepath.Join(dir, ".x.db.lock")
	change := func(dirMode os.FileMode, args ...string) (int, string) {
		t.Helper()
		err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, 0, 0), os.Chmod(dir, dirMode))
		if err != nil {
			t.Fatal(err)
		}
		return as(t, nil, append([]string{dbm, "-d", path}, args...)...)
	}
	if code, text := change(0o777, "create"); code != 0 {
		t.Fatalf("exit code %d, %s", code, text)
	}
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := change(0o777, "insert", "a", "1"); code != 0 {
		t.Errorf("exit code %d, %s", code, text)
	}
	if _, err := os.Lstat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is still there: %v", err)
	}
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "it belongs to uid 0; if no program changes x.db now, remove it"
	if code, text := change(0o777|os.ModeSticky, "insert", "b", "2"); code == 0 || !strings.Contains(text, want) {
		t.Errorf("where it can't be removed: exit code %d, %s, want %q", code, text, want)
	}
}
