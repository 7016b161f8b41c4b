package crashfs_test

import (
	"strings"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// TestEveryStep: the power cuts of the model lose what is known to be lost on
// real disks, and nothing of what is done right.
func TestEveryStep(t *testing.T) {
	for _, tt := range []struct {
		name    string
		steps   steps
		journal bool
		lost    string // in the failure; "" for none
	}{
		{"all steps", steps{tmp: true, sync: true, dirSync: true}, false, ""},
		{"all steps on a journal", steps{tmp: true, sync: true, dirSync: true}, true, ""},
		{"write, rename, no sync", steps{tmp: true}, false, "want"},
		{"write, rename, no sync, on a journal", steps{tmp: true}, true, "want"},
		{"file synced, directory not", steps{tmp: true, sync: true}, false, "was acknowledged"},
		{"directory synced, file not", steps{tmp: true, dirSync: true}, false, "want"},
		{"no temporary name", steps{sync: true, dirSync: true}, false, "want"},
		{"no temporary name, no directory sync, on a journal", steps{sync: true}, true, "want"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := queue
			o.Prepare = func(f *crashfs.FS) { queue.Prepare(f); f.SetJournal(tt.journal) }
			found, said := finds(t, func(t testing.TB) { o.EveryStep(t, program(3, tt.steps), whole) })
			if found != (tt.lost != "") || !strings.Contains(said, tt.lost) {
				t.Errorf("failed: %v, want %q\n%s", found, tt.lost, said)
			}
		})
	}
}

// TestJournal: a file's sync makes its name durable on a journal, and in the
// strict mode does not.
func TestJournal(t *testing.T) {
	for _, journal := range []bool{true, false} {
		o := queue
		o.Prepare = func(f *crashfs.FS) { queue.Prepare(f); f.SetJournal(journal) }
		found, said := finds(t, func(t testing.TB) {
			o.EveryStep(t, program(1, steps{sync: true}), func(t testing.TB, d disk.FS, acked []string) {
				if len(acked) > 0 {
					whole(t, d, acked)
				}
			})
		})
		if found == journal {
			t.Errorf("journal %v: found %v\n%s", journal, found, said)
		}
	}
}

func TestEveryError(t *testing.T) {
	queue.EveryError(t, program(3, steps{tmp: true, sync: true, dirSync: true}), whole)
	queue.EveryRoom(t, program(3, steps{tmp: true, sync: true, dirSync: true}), whole)
}

func TestMutants(t *testing.T) {
	crashfs.Mutants(t, func(t testing.TB) {
		queue.EveryStep(t, program(2, steps{tmp: true, sync: true, dirSync: true}), whole)
	}, crashfs.Allowed{Kind: crashfs.Exclusive, Where: "programs_test.go", Reason: "here no name comes twice"})
}
