package crashfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

func TestCrashMutants(t *testing.T) {
	crashfs.Mutants(t, func(t testing.TB) {
		queue.EveryStep(t, program(2, steps{tmp: true, sync: true, dirSync: true}), whole)
	}, crashfs.Allowed{Kind: crashfs.Exclusive, Where: "programs_test.go", Reason: "here no name comes twice"})
}

// promise acknowledges what it finds in the queue, as a runner does that takes
// over from a killed one; careful makes it durable first.
func promise(careful bool) crashfs.Recover {
	return func(d disk.FS, _ []string, ack func(string)) (err error) {
		q, err := d.OpenDir("/q")
		if err != nil {
			return err
		}
		defer closing(&err, q)
		f, err := q.Open("m-0", disk.ReadWrite)
		if notExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer closing(&err, f)
		if data, err := io.ReadAll(io.NewSectionReader(f, 0, 1000)); err != nil || string(data) != body {
			return err // a length alone proves nothing
		}
		if careful {
			if err := errors.Join(f.Sync(), q.Sync()); err != nil {
				return err
			}
		}
		ack("m-0")
		return nil
	}
}

// TestEveryStepTwice: what a killed process leaves is visible and still not
// durable; only the second crash shows who relied on it.
func TestEveryStepTwice(t *testing.T) {
	unsynced := func(d disk.FS, _ func(string)) error { return store(d, "m-0", steps{}) }
	acked := func(t testing.TB, d disk.FS, acked []string) {
		if got, err := d.(*crashfs.FS).ReadFile("/q/m-0"); len(acked) > 0 && string(got) != body {
			t.Errorf("promised, and lost: %q, %v", got, err)
		}
	}
	for _, careful := range []bool{true, false} {
		found, said := finds(t, func(t testing.TB) { queue.EveryStepTwice(t, unsynced, promise(careful), acked, 0) })
		if found == careful {
			t.Errorf("careful %v: found %v\n%s", careful, found, said)
		}
	}
	if found, said := finds(t, func(t testing.TB) {
		queue.EveryStepTwice(t, unsynced, func(disk.FS, []string, func(string)) error { return errors.New("no") }, acked, 0)
	}); !found || !strings.Contains(said, "the recovery failed: no") {
		t.Errorf("a recovery that fails: %v\n%s", found, said)
	}
}

// TestExclusive: without O_EXCL a second message of the same name replaces
// the first, also where names are given by link or rename (A30).
func TestExclusive(t *testing.T) {
	for _, s := range []steps{{sync: true, dirSync: true}, {tmp: true, sync: true, dirSync: true}} {
		sites := crashfs.Sites(t, func(t testing.TB) { queue.EveryStep(t, program(1, s), func(testing.TB, disk.FS, []string) {}) })
		found := 0
		for _, site := range sites {
			if site.Kind != crashfs.Exclusive {
				continue
			}
			f := crashfs.New()
			queue.Prepare(f)
			if err := errors.Join(store(f, "same", s)); err != nil {
				t.Fatal(err)
			}
			restore := crashfs.Mutate(site)
			g := crashfs.New()
			restore()
			queue.Prepare(g)
			if err := store(g, "same", s); err != nil {
				t.Fatal(err)
			}
			if err := store(f, "same", s); !errors.Is(err, fs.ErrExist) {
				t.Errorf("%v: the program itself: %v", site, err)
			}
			if err := store(g, "same", s); err == nil {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%+v: %d of the mutants replace a file, want 1", s, found)
		}
	}
}

// TestPanic: a check that panics fails with the image it panicked on.
func TestPanic(t *testing.T) {
	found, said := finds(t, func(t testing.TB) {
		queue.EveryStep(t, program(1, steps{}), func(t testing.TB, _ disk.FS, _ []string) { panic("boom") })
	})
	if !found || !strings.Contains(said, "panic: boom") || !strings.Contains(said, "the process was killed") {
		t.Errorf("%v\n%s", found, said)
	}
}

// TestInterleaveTime: in a bubble, programs may wait for a time.
func TestInterleaveTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue.Interleave(t, 20, func(f *crashfs.FS) (actors []crashfs.Actor) {
			for i := range 2 {
				actors = append(actors, crashfs.Actor{FS: f, Do: func(ack func(string)) {
					for n := range 3 {
						name := fmt.Sprintf("m-%d-%d", i, n)
						if store(f, name, steps{tmp: true, sync: true, dirSync: true}) == nil {
							ack(name)
						}
						time.Sleep(time.Hour)
					}
				}})
			}
			return actors
		}, whole)
	})
}

// BenchmarkRecovery is what one recovery costs apart from the recovery: a
// check that lists a queue of 20 files, on images of 100 octets to 4 KiB.
func BenchmarkRecovery(b *testing.B) {
	o := queue
	o.Random, o.Repeat = max(20, b.N/200), true
	s := o.EveryStep(b, program(20, steps{tmp: true, sync: true, dirSync: true}), whole)
	b.ReportMetric(float64(s.Recoveries)/s.Elapsed.Seconds(), "recoveries/s")
}
