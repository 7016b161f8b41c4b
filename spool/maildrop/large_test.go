package maildrop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/disk"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A81: 2,000 owners with a locked drop each keep nobody's waiting for longer than one
// round.
func TestMaildropLockedOwners(t *testing.T) {
	f := prepared()
	const many = 2000
	d, err := f.OpenDir("/q/maildrop")
	must(t, err)
	defer d.Close()
	for i := range many {
		name := fmt.Sprintf("L%d", i)
		leftBy(f, 100_000+i, 0o640, letterForBob, name)
		file, err := d.Open(name, disk.ReadOnly)
		must(t, err)
		defer file.Close()
		free, err := file.TryLock()
		must(t, err)
		if !free {
			t.Fatalf("%s is locked already", name)
		}
	}
	leftBy(f, 99_999, 0o640, letterForBob, "LOW")
	leftBy(f, 101_500, 0o640, letterForBob, "AMONG")
	leftBy(f, 999_999, 0o640, letterForBob, "HIGH")
	_, m := reopen(t, f)
	var taken []string
	looks := 0
	for more := true; more; looks++ {
		more, err = m.PickUp(t.Context(), 0, func(d *Dropped) error { taken = append(taken, d.Name); return nil })
		must(t, err)
	}
	if want := []string{"LOW", "AMONG", "HIGH"}; !slices.Equal(taken, want) || looks > many/maxOwners+1 {
		t.Errorf("%v in %d looks, want %v in one round of %d", taken, looks, want, many/maxOwners+1)
	}
}

// A81: a drop of 1 TB that is nothing but a hole is never read, also where the server
// takes messages of any size; it stays its owner's, and others' are taken.
func TestMaildropSparse(t *testing.T) {
	dir := t.TempDir()
	q, err := spool.Open(spool.Options{Dir: dir})
	must(t, err)
	defer q.Close()
	var log bytes.Buffer
	m, err := Open(Options{Spool: dir, Corrupt: q, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	defer m.Close()
	for _, name := range []string{"SPARSE", "SMALL"} {
		file := filepath.Join(dir, Dir, name)
		must(t, os.WriteFile(file, []byte(letterForBob), 0o640))
		must(t, os.Chmod(file, 0o640))
	}
	must(t, os.Truncate(filepath.Join(dir, Dir, "SPARSE"), 1<<40))
	for range 2 {
		_, err = m.PickUp(t.Context(), 0, func(d *Dropped) error {
			if d.Name != "SMALL" {
				t.Errorf("%s of %d octets is to be copied", d.Name, d.Size())
			}
			return nil
		})
		must(t, err)
	}
	if n := strings.Count(log.String(), "drop not picked up"); n != 1 || !strings.Contains(log.String(), "more than a message may have") {
		t.Errorf("%d lines about it:\n%s", n, &log)
	}
}

// A81: large drops are taken when no small one waits, one of each owner in turn, and
// after 64 MiB of them the small ones that came meanwhile.
func TestMaildropLarge(t *testing.T) {
	f := prepared()
	large := letterForBob + strings.Repeat("x", 2*maxSmall)
	const owners = 40
	for i := range owners {
		leftBy(f, 1000+i, 0o640, large, fmt.Sprintf("A%d", i))
	}
	leftBy(f, 1000, 0o640, large, "SECOND", "THIRD")
	leftBy(f, 5000, 0o640, letterForBob, "SMALL")
	_, m := reopen(t, f)
	var of []int
	look := func(want bool) {
		t.Helper()
		more, err := m.PickUp(t.Context(), 0, func(d *Dropped) error {
			of = append(of, d.Owner)
			_, err := io.Copy(io.Discard, d.Body())
			return err
		})
		must(t, err)
		if more != want {
			t.Errorf("after %d drops there is more: %v", len(of), more)
		}
	}
	const first = maxLarge / (2 * maxSmall)
	look(true)
	if len(of) != 1+first || of[0] != 5000 || of[1] != 1000 || of[first] != 1000+first-1 {
		t.Errorf("%d drops, of %v, want one of 5000 and then %d others'", len(of), of, first)
	}
	leftBy(f, 6000, 0o640, letterForBob, "LATER")
	look(true)
	if rest := of[1+first:]; len(rest) != 1+owners-first+1 || rest[0] != 6000 || rest[1] != 1000+first || rest[len(rest)-1] != 1000 {
		t.Errorf("then those of %v, want 6000's, those of the others and the second of 1000's", rest)
	}
	look(false)
	if of[len(of)-1] != 1000 || len(of) != owners+4 {
		t.Errorf("%d drops, want 1000's third one at the end of %d", len(of), owners+4)
	}
	if n := len(drops(f)); n != 0 {
		t.Errorf("%d drops are left", n)
	}
}

// A81: drops that are refused for their owner's share of the queue, before they are read,
// keep nobody's waiting, however many there are and however large.
func TestMaildropShares(t *testing.T) {
	f := prepared()
	large := letterForBob + strings.Repeat("x", 2*maxSmall)
	for i := range maxLarge / (2 * maxSmall) {
		leftBy(f, 1000+i, 0o640, large, fmt.Sprintf("A%d", i), fmt.Sprintf("B%d", i))
		leftBy(f, 1000+i, 0o640, letterForBob, fmt.Sprintf("C%d", i), fmt.Sprintf("D%d", i))
	}
	leftBy(f, 2000, 0o640, large, "LARGE", "SECOND")
	leftBy(f, 2000, 0o640, letterForBob, "SMALL")
	_, m := reopen(t, f)
	var taken []string
	for looks := 1; len(taken) < 3; looks++ {
		if looks > 2 {
			t.Fatalf("%v in two looks, want SMALL, LARGE and SECOND", taken)
		}
		_, err := m.PickUp(t.Context(), 0, func(d *Dropped) error {
			if d.Owner != 2000 {
				return errors.New("452 4.3.1 your share")
			}
			taken = append(taken, d.Name)
			_, err := io.Copy(io.Discard, d.Body())
			return err
		})
		must(t, err)
	}
	if n := len(drops(f)); n != 4*maxLarge/(2*maxSmall) {
		t.Errorf("%d drops are left, want all that were refused", n)
	}
}

// Of a message that is too large to be left nothing stays, and it is said which limit
// that is.
func TestLeaveTooLarge(t *testing.T) {
	f := prepared()
	d, err := f.OpenDir("/q/maildrop")
	must(t, err)
	defer d.Close()
	drop := dropTo("bob")
	err = drop.Leave(d, strings.NewReader("12345"), 4)
	if !errors.Is(err, ErrTooLarge) || errors.Is(err, envelope.ErrInvalid) || len(drops(f)) != 0 {
		t.Errorf("%v, and %v is left", err, drops(f))
	}
	for size, want := range map[int64]int64{0: maxDrop, 1000: 1000, maxDrop + 1: maxDrop} {
		if got := Limit(size); got != want {
			t.Errorf("size=%d: a drop may have %d octets, want %d", size, got, want)
		}
	}
}
