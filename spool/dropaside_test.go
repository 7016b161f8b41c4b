package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// TestMaildropAside: what a user leaves that is no message fills corrupt/ to a
// limit of his own, then stays; others are served, and it is said once.
func TestMaildropAside(t *testing.T) {
	const alice, bob = 1001, 1002
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	log := &bytes.Buffer{}
	q, err := Open(Options{FS: f, Dir: "/q", Now: still, Maildrop: true, Log: slog.New(slog.NewTextHandler(log, nil))})
	must(t, err)
	defer q.Close()
	for i := range maxAside + 5 {
		leftBy(f, alice, 0o640, "rubbish", fmt.Sprintf("a%03d", i))
	}
	leftBy(f, bob, 0o640, letterForBob, "b")
	leftBy(f, bob, 0o640, "rubbish", "c")
	for range 10 {
		_, err := q.PickUp(t.Context(), 0, q.intoQueue)
		must(t, err)
	}
	left := drops(f)
	if len(left) != 5 || slices.ContainsFunc(left, func(name string) bool { return name[0] != 'a' }) {
		t.Errorf("left in maildrop/: %q, want five of alice's", left)
	}
	aside := 0
	for e, err := range q.Entries() {
		must(t, err)
		if e.Place == Corrupt {
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
	q, _ := tempQueue(t)
	if err := q.roomAside(disk.Info{Size: maxAsideOctets}); err != nil {
		t.Error(err)
	}
	if err := q.roomAside(disk.Info{Size: maxAsideOctets + 1}); err == nil {
		t.Error("there is room for more than the limit")
	}
}

// TestWaiting counts what lies in maildrop/, and nothing where there is none.
func TestWaiting(t *testing.T) {
	f := crashfs.New()
	f.SetClock(still)
	f.MkdirAll("/q", 0o711)
	q := reopenDrops(t, f)
	defer q.Close()
	leftBy(f, 1002, 0o640, letterForBob, "b")
	leftBy(f, 1001, 0o600, "12345", "a1", "a2", ".unfinished")
	f.MkdirAll("/q/maildrop/directory", 0o755)
	got, err := q.Waiting()
	want := []Waiting{{1001, 2, 10, still()}, {1002, 1, int64(len(letterForBob)), still()}}
	if err != nil || !slices.EqualFunc(got, want, func(a, b Waiting) bool {
		return a.Owner == b.Owner && a.Files == b.Files && a.Octets == b.Octets && a.Oldest.Equal(b.Oldest)
	}) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	none, _ := tempQueue(t)
	if got, err := none.Waiting(); err != nil || got != nil {
		t.Errorf("without maildrop/: %v, %v", got, err)
	}
}

// TestDiscard removes what is in corrupt/, and nothing else.
func TestDiscard(t *testing.T) {
	q, _ := tempQueue(t)
	good := accept(t, q, envelope(1), "x\n")
	bad := accept(t, q, envelope(1), "x\n")
	must(t, q.dirs[Active].Rename(string(bad), q.dirs[Corrupt], string(bad)))
	must(t, q.Discard(bad))
	for _, id := range []ID{bad, good, "../queue/" + good, "", "lock"} {
		if err := q.Discard(id); !errors.Is(err, ErrGone) {
			t.Errorf("%q: %v, want ErrGone", id, err)
		}
	}
	claim(t, q, good)
}
