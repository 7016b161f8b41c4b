//go:build e2e

package lan

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// Binary is the postoffice under test, built as `make` builds it.
var Binary string

// Main runs the tests of a package, whose TestMain calls it and exits with the
// code that it returns.
func Main(m *testing.M) int {
	if err := testenv.RunTraced(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 126
	}
	code, err := setUp(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

// ownMounts executes the test binary once more, in a mount namespace of its own:
// what tests mount reaches their hosts and nobody else, and goes with the last of
// their processes.
func ownMounts() error {
	const mark = "POSTOFFICE_E2E_MOUNTS"
	if os.Getenv(mark) != "" {
		return os.Unsetenv(mark)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"unshare", "--mount", "--propagation", "shared", self}, os.Args[1:]...)
	return syscall.Exec(unshare, args, append(os.Environ(), mark+"=own"))
}

// check says what the suite lacks.
func check() error {
	if os.Geteuid() != 0 {
		return errors.New("these tests make network namespaces and need root; run them with sudo, or `make quick` without them")
	}
	var missing []string
	for _, tool := range []string{"ip", "ss", "setpriv", "unshare", "nsenter", "swaks", "unbound", "strace", "apt-get", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("these programs are missing: %s; `make deps` installs them", strings.Join(missing, ", "))
	}
	return nil
}

// setUp builds the binary, takes a copy of /etc, and runs the tests.
func setUp(run func() int) (int, error) {
	if err := check(); err != nil {
		return 1, err
	}
	if err := ownMounts(); err != nil {
		return 1, err
	}
	// What is open for us already, such as a lock of whoever runs us, is for no server:
	// those are left behind where a time limit ends this process.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 1, fmt.Errorf("close_range: %w", err)
	}
	dir, err := os.MkdirTemp("", "po-bin-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	Binary = filepath.Join(dir, "postoffice")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", Binary, "postoffice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build postoffice: %v\n%s", err, out)
	}
	for _, name := range []string{"sendmail", "mailq", "runq", "smtpd", "newaliases", "authexpire", "greylist", "dbm", "config"} {
		if err := os.Symlink(Binary, filepath.Join(dir, name)); err != nil {
			return 1, err
		}
	}
	if out, err := exec.Command("cp", "-a", "/etc", machineEtc()).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("copy /etc: %v\n%s", err, out)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(Applet("launcher"), self, 0o755); err != nil {
		return 1, err
	}
	return run(), nil
}

// Applet is the path of one of the binary's names.
func Applet(name string) string { return filepath.Join(filepath.Dir(Binary), name) }

// machineEtc is the copy of the machine's /etc.
func machineEtc() string { return filepath.Join(filepath.Dir(Binary), "etc") }
