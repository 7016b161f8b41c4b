//go:build e2e

package applets

import (
	"os"
	"testing"
)

// TestRootSignals is TestSignals for the master, which tells its server.
func TestRootSignals(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test starts a master: run it as root")
	}
	testSignals(t, true)
}
