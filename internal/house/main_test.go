package house

import (
	"fmt"
	"os"
	"testing"
)

// TestMain runs the tests at the top of the tree: every name in them is
// relative to it.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
