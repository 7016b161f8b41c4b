package spool

import (
	"testing"

	"postoffice/internal/disk/crashfs"
)

// suite is what every mutant must fail.
func suite(t testing.TB) {
	for _, fs := range fileSystems {
		for _, s := range scenes {
			s.on(fs.set).EveryStep(t, s.scenario(), s.oracle(1))
			switch s.name {
			case "the next process":
				s.on(fs.set).EveryError(t, s.scenario(), s.oracle(0))
			case "corrupt":
				s.on(fs.set).EveryStepTwice(t, s.scenario(), resume, s.oracle(2), 500)
			}
		}
	}
	interleave(t, 200)
}

// TestMutants leaves out each sync, directory sync, exclusive create, lock and
// second look, one at a time.
func TestMutants(t *testing.T) {
	crashfs.Mutants(t, suite)
}
