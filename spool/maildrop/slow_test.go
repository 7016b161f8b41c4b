package maildrop

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/disk"
)

// busy is a maildrop/ in which somebody has mounted something on a file of theirs.
type busy struct {
	disk.Dir
	name string
}

func (b *busy) Unlink(name string) error {
	if name == b.name {
		return syscall.EBUSY
	}
	return b.Dir.Unlink(name)
}

// A81: who mounts something on a file while it is picked up, as fusermount3 does for
// anybody, stops none but their own, and the file is not picked up a second time.
func TestMaildropMounted(t *testing.T) {
	f := prepared()
	leftBy(f, 1001, 0o640, letterForBob, "MOUNTED", "OWN")
	leftBy(f, 1002, 0o640, letterForBob, "OTHER")
	_, m := reopen(t, f)
	dir := &busy{m.dir, "MOUNTED"}
	m.dir = dir
	var taken []string
	look := func(stuck bool, want ...string) {
		t.Helper()
		taken = nil
		_, err := m.PickUp(t.Context(), 0, func(d *Dropped) error { taken = append(taken, d.Name); return nil })
		if !slices.Equal(taken, want) || stuck != (err != nil && strings.Contains(err.Error(), "not removed")) {
			t.Errorf("%q, %v; want %q, something not removed: %v", taken, err, want, stuck)
		}
	}
	look(true, "MOUNTED", "OTHER")
	leftBy(f, 1002, 0o640, letterForBob, "LATER")
	look(true, "LATER")
	dir.name = ""
	look(false, "OWN")
	if left := drops(f); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

// A81: drops that take long to submit, as those with 150,000 recipients in a MiB, keep
// another's waiting for one look of ten seconds, however many one owner has; where there are
// many owners each has a turn in a round, and large ones have theirs.
func TestMaildropSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := prepared()
		for i := range dropsPerOwner {
			leftBy(f, 1001, 0o640, letterForBob, fmt.Sprintf("A%02d", i))
		}
		_, m := open(t, f, time.Now, nil)
		const slow = 3 * time.Second
		taken := map[string]time.Duration{}
		began := time.Now()
		look := func() bool {
			t.Helper()
			at := time.Now()
			more, err := m.PickUp(t.Context(), 0, func(d *Dropped) error {
				time.Sleep(slow)
				taken[d.Name] = time.Since(began)
				return nil
			})
			must(t, err)
			if took := time.Since(at); took > maxLook+2*slow {
				t.Errorf("a look took %v", took)
			}
			return more
		}
		look()
		leftBy(f, 1002, 0o640, letterForBob, "NEXT")
		look()
		if taken["NEXT"] == 0 {
			t.Error("another's drop waits for all of one owner's")
		}
		const owners = maxOwners + 50
		for i := range owners {
			leftBy(f, 100_000+i, 0o640, letterForBob, fmt.Sprintf("B%d", i))
		}
		leftBy(f, 100_000, 0o640, letterForBob+strings.Repeat("x", maxSmall), "LARGE", "LARGER")
		began = time.Now()
		look()
		leftBy(f, 100_500, 0o640, letterForBob, "MIDDLE")
		for look() {
		}
		if n := len(taken); n != dropsPerOwner+owners+4 || len(drops(f)) != 0 {
			t.Errorf("%d taken, %d left", n, len(drops(f)))
		}
		round := (owners + 5) * slow
		if taken["MIDDLE"] > round+maxLook || taken["B249"] > round || taken["A49"] < taken["B249"] {
			t.Errorf("MIDDLE after %v, the last owner after %v, the first one's last after %v; a round is %v", taken["MIDDLE"], taken["B249"], taken["A49"], round)
		}
		if taken["LARGE"] > 2*round {
			t.Errorf("a large one after %v", taken["LARGE"])
		}
	})
}
