package signer

import (
	"fmt"
	"os"
	"testing"

	"postoffice/internal/testenv"
)

// TestMain runs the signer where this binary is started as one.
func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		if argv0 != Role {
			return nil
		}
		return func() int {
			if err := Run(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}))
}
