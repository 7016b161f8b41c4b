package spool

import (
	"testing"

	"postoffice/internal/disk/crashfs"
)

// suite is what every mutant must fail, the quick things first.
func suite(t testing.TB) {
	for _, r := range races {
		r.test(t)
	}
	for _, fs := range fileSystems {
		for _, s := range scenes {
			r := s.on(fs.set)
			if s.before == nil {
				r.Random = 8
			}
			r.EveryStep(t, s.scenario(), s.oracle(1))
			if s.again {
				r.EveryError(t, s.scenario(), s.oracle(0))
			}
		}
	}
	interleave(t, 100)
}

// TestCrashMutants leaves out each sync, directory sync, exclusive create, lock and
// second look, one at a time.
func TestCrashMutants(t *testing.T) {
	crashfs.Mutants(t, suite,
		crashfs.Allowed{Kind: crashfs.Look, Where: "spool/append.go", Reason: "a wrong end is noticed when the block is read back"},
		crashfs.Allowed{Kind: crashfs.Exclusive, Where: "spool/ballast.go", Reason: "any ballast will do"},
		crashfs.Allowed{Kind: crashfs.Sync, Where: "spool/ballast.go", Reason: "what a crash cut of it is made anew"},
		crashfs.Allowed{Kind: crashfs.DirSync, Where: "spool/ballast.go", Reason: "the sync is to free its room"},
		crashfs.Allowed{Kind: crashfs.Look, Where: "spool/clean.go", Reason: "asks whether it is the lock, whose name never leads elsewhere"},
		crashfs.Allowed{Kind: crashfs.Look, Where: "spool/incoming.go", Reason: "asks whether a rename that failed was done"},
		crashfs.Allowed{Kind: crashfs.DirSync, Where: "spool/incoming.go", Reason: "without renameat2 the directory is synced once more, by syncer.sync"},
		crashfs.Allowed{Kind: crashfs.DirSync, Where: "spool/lock.go", Reason: "without renameat2 the directory is synced once more, by open"},
		crashfs.Allowed{Kind: crashfs.Look, Where: "spool/move.go", Reason: "compares two names, after no lock"},
	)
}
