package testenv

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Main returns the exit code of the TestMain of every package whose code starts
// /proc/self/exe with a role in argv[0], such as "postoffice: server": in a test
// that is the test binary, which would run the tests again, and those would start
// it again, without end. It runs what role returns for argv[0]; an argv[0] that is a
// role, with ": " in it, and for which that is nil, ends at once with exit code 70.
// Under any other name it runs the tests. TestRoles of internal/house holds the
// packages to it.
func Main(tests func() int, role func(argv0 string) func() int) int {
	argv0 := os.Args[0]
	if !strings.Contains(argv0, ": ") {
		return tests()
	}
	if role != nil {
		if run := role(argv0); run != nil {
			return run()
		}
	}
	fmt.Fprintf(os.Stderr, "this is a test binary, which can't be %q: give that role a line in the package's TestMain\n", argv0)
	return 70 // EX_SOFTWARE of sysexits(3)
}

// Eventually waits until ok says so. On a busy machine everything takes long: after
// a minute without it is false.
func Eventually(ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// OwnAddress is an address of this machine that no other process uses: a port of
// it that was free, or is given up for a moment, is nobody else's meanwhile. A port of
// 127.0.0.1 may become that of any program's connection.
func OwnAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&63, pid>>8&255, pid&255)
}
