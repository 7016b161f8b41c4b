//go:build e2e

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"postoffice/internal/e2e/lan"
)

// older and newer are the versions of packages that tests install.
const older, newer = "0.0.8", "0.0.9"

// build makes packages of the binary under test.
func build(t *testing.T, dir, version string, formats ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../../../packaging/package.sh", append([]string{dir}, formats...)...)
	cmd.Env = append(os.Environ(), "BINARY="+lan.Binary, "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("package.sh: %v\n%s", err, out)
	}
}

var made sync.Mutex

// made returns the file of one package, which all tests share.
func pack(t *testing.T, version, format string) string {
	t.Helper()
	made.Lock()
	defer made.Unlock()
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
