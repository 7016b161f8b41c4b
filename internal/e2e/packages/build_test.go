//go:build e2e

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/internal/e2e/lan"
)

// older and newer are the versions of packages that tests install; newer is the program's.
const older, newer = "0.0.8", cmdline.Release

// build makes packages of the binary under test.
func build(t *testing.T, dir, version string, formats ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../../../packaging/package.sh", append([]string{dir}, formats...)...)
	cmd.Env = append(os.Environ(), "BINARY="+lan.Binary)
	if version != newer {
		cmd.Env = append(cmd.Env, "VERSION="+version)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("package.sh: %v\n%s", err, out)
	}
}

var making sync.Mutex

// pack returns the file of one package, which all tests share.
func pack(t *testing.T, version, format string) string {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	dir := filepath.Join(filepath.Dir(lan.Binary), "packages", version, format)
	found, _ := filepath.Glob(filepath.Join(dir, "*."+format))
	if len(found) == 0 {
		build(t, dir, version, format)
		found, _ = filepath.Glob(filepath.Join(dir, "*."+format))
	}
	if len(found) != 1 {
		t.Fatalf("package.sh made %v", found)
	}
	return found[0]
}
