package maildrop

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/spool"
)

// TestMaildropAside: what a user leaves that is no message fills corrupt/ to a
// limit of their own, then stays; others are served, and it is said once.
func TestMaildropAside(t *testing.T) {
	const alice, bob = 1001, 1002
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	log := &bytes.Buffer{}
	q, m := open(t, f, still, log)
	for i := range maxAside + 5 {
		leftBy(f, alice, 0o640, "rubbish", fmt.Sprintf("a%03d", i))
	}
	leftBy(f, bob, 0o640, letterForBob, "b")
	leftBy(f, bob, 0o640, "rubbish", "c")
	for range 10 {
		_, err := m.PickUp(t.Context(), 0, into(q))
		must(t, err)
	}
	left := drops(f)
	if len(left) != 5 || slices.ContainsFunc(left, func(name string) bool { return name[0] != 'a' }) {
		t.Errorf("left in maildrop/: %q, want five of alice's", left)
	}
	aside := 0
	for e, err := range q.Entries() {
		must(t, err)
		if e.Location == spool.Corrupt {
			aside++
		}
	}
	if aside != maxAside+1 {
		t.Errorf("%d in corrupt/, want %d of alice's and one of bob's", aside, maxAside)
	}
	if n := strings.Count(log.String(), "corrupt/ has 100 files of uid 1001 already"); n != maxTrouble {
		t.Errorf("told %d times, want once for each of %d files\n%s", n, maxTrouble, log)
	}
}

// TestMaildropAsideSize: a big file finds no room beside others.
func TestMaildropAsideSize(t *testing.T) {
	_, m := open(t, prepared(), still, nil)
	if err := m.roomAside(disk.Info{Size: maxAsideOctets}); err != nil {
		t.Error(err)
	}
	if err := m.roomAside(disk.Info{Size: maxAsideOctets + 1}); err == nil {
		t.Error("there is room for more than the limit")
	}
}

// TestWaiting counts what lies in maildrop/, and nothing where there is none.
func TestWaiting(t *testing.T) {
	f := crashfs.New()
	f.SetClock(still)
	f.MkdirAll("/q", 0o711)
	open(t, f, still, nil)
	leftBy(f, 1002, 0o640, letterForBob, "b")
	leftBy(f, 1001, 0o600, "12345", "a1", "a2", ".unfinished")
	f.MkdirAll("/q/maildrop/directory", 0o755)
	got, err := Waiting(f, "/q")
	want := []Left{{1001, 2, 10, still()}, {1002, 1, int64(len(letterForBob)), still()}}
	if err != nil || !slices.EqualFunc(got, want, func(a, b Left) bool {
		return a.Owner == b.Owner && a.Files == b.Files && a.Octets == b.Octets && a.Oldest.Equal(b.Oldest)
	}) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	none := crashfs.New()
	none.MkdirAll("/q", 0o700)
	if got, err := Waiting(none, "/q"); err != nil || got != nil {
		t.Errorf("without maildrop/: %v, %v", got, err)
	}
}
