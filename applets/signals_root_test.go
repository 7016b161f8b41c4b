//go:build e2e

package applets

import (
	"testing"

	"postoffice/internal/testenv"
)

// TestRootSignals is TestSignals for the master, which tells its server.
func TestRootSignals(t *testing.T) {
	testenv.NeedsRoot(t, "starts a master")
	testSignals(t, true)
}
