//go:build linux

package privsep

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/applets/privsep/creds"
	"postoffice/internal/testenv"
)

// TestSwitchThatKeepsCapabilities: a master whose threads would keep root's
// capabilities as a user doesn't start, and says what they have.
func TestSwitchThatKeepsCapabilities(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	r := newRunner(h, nil)
	creds.OnThread(func() bool { // execve(2) keeps it
		testenv.Must(t, unix.Prctl(unix.PR_SET_SECUREBITS, secbitNoSetuidFixup, 0, 0, 0))
		testenv.Must(t, r.cmd.Start())
		return false
	})
	r.cleanUp(t)
	awaitEnd(t, r.cmd.Process.Pid)
	r.cmd.Wait()
	const want = "switch to a user: a thread while it acts as a user keeps the capabilities 0x"
	if got := h.log.String(); r.cmd.ProcessState.ExitCode() != 78 || !strings.Contains(got, want) {
		t.Errorf("exit code %d, said %q, want 78 and %q", r.cmd.ProcessState.ExitCode(), got, want)
	}
}

// secbitNoSetuidFixup is SECBIT_NO_SETUID_FIXUP of securebits.h.
const secbitNoSetuidFixup = 1 << 2
