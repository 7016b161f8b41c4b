//go:build linux

package service

import (
	"os"
	"testing"

	"postoffice/internal/testenv"
)

// TestMain is also every process that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == firstRole { // unshare(1) gives it its argv[0]
		os.Exit(fakeFirst())
	}
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		return map[string]func() int{MasterRole: func() int { return fakeMaster(os.Args[1:]) }, workerRole: fakeWorker}[argv0]
	}))
}
