package maildrop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/spool"
)

// TestA69PickUp: who owns a file is its sender, and what is no message is left,
// or set aside, and read by nobody.
func TestA69PickUp(t *testing.T) {
	const alice, bob = 1001, 1002
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	f.MkdirAll("/etc", 0o755)
	f.Plant("/etc/shadow", 0o640, []byte("root:secret\n"))

	leftBy(f, alice, 0o640, letterForBob, "GOOD")
	leftBy(f, bob, 0o640, "postoffice drop 1\nfrom <alice@x>\nto <carol>\n\nI am alice\n", "FORGED")
	leftBy(f, alice, 0o640, "root:secret\n", "FORM")
	leftBy(f, alice, 0o640, "", "EMPTY")
	leftBy(f, alice, 0o640, letterForBob+strings.Repeat("x", 2000), "BIG")
	leftBy(f, 0, 0o640, letterForBob, "ROOTS")
	leftBy(f, alice, 0o600, letterForBob, "CLOSED")
	leftBy(f, alice, 0o640, letterForBob[:20], ".WRITING")
	leftBy(f, alice, fs.ModeSymlink|0o777, "/etc/shadow", "LINK")
	leftBy(f, alice, fs.ModeNamedPipe|0o644, "", "FIFO")
	f.SetIDs(alice, 50)
	f.Plant("/q/maildrop/ELSEWHERE", 0o640, []byte(letterForBob))
	f.SetIDs(0, 0)
	f.MkdirAll("/q/maildrop/DIR", 0o755)
	etc, err := f.OpenDir("/etc")
	must(t, err)
	drop, err := f.OpenDir("/q/maildrop")
	must(t, err)
	must(t, etc.Link("shadow", drop, "HARD"))

	var log bytes.Buffer
	now := still
	q, m := open(t, f, func() time.Time { return now() }, &log)
	var got []string
	take := func(d *Dropped) error {
		b, err := io.ReadAll(d.Body())
		got = append(got, fmt.Sprint(d.Owner, " ", d.Name, " ", d.Recipients[0].Path, " ", len(b), " ", d.ReversePath, " ", d.Disowned))
		return err
	}
	for range 2 {
		if _, err := m.PickUp(t.Context(), 1000, take); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	if want := []string{"0 ROOTS bob 21 <nil> true", "1001 GOOD bob 21 <nil> false", "1002 FORGED carol 11 alice@x false"}; !slices.Equal(got, want) {
		t.Errorf("picked up %q, want %q", got, want)
	}
	if left, want := drops(f), []string{".WRITING", "CLOSED", "DIR", "FIFO", "HARD", "LINK"}; !slices.Equal(left, want) {
		t.Errorf("%q are left, want %q", left, want)
	}
	if n := entries(t, q); n[spool.Corrupt] != 4 || n[spool.Active] != 0 {
		t.Errorf("%d set aside, %d in the queue; want 4 and none", n[spool.Corrupt], n[spool.Active])
	}
	for _, name := range []string{"FORM", "EMPTY", "BIG", "CLOSED", "LINK", "FIFO", "HARD", "ELSEWHERE", "DIR"} {
		if n := strings.Count(log.String(), "file=maildrop/"+name+" "); n != 1 {
			t.Errorf("%s stands %d times in the log, want once:\n%s", name, n, &log)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("disclosed:\n%s", &log)
	}
	now = func() time.Time { return still().Add(48 * time.Hour) }
	if _, err := m.PickUp(t.Context(), 1000, take); err != nil {
		t.Fatal(err)
	}
	if left, want := drops(f), []string{"CLOSED", "DIR", "HARD"}; !slices.Equal(left, want) {
		t.Errorf("after two days %q are left, want %q", left, want)
	}
}

// TestA69Growing: a file that is written to while it is read is set aside; one
// that somebody has locked is left alone.
func TestA69Growing(t *testing.T) { growing(t) }

func growing(t testing.TB) {
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	leftBy(f, 1001, 0o640, letterForBob, "GROWS", "HELD")
	q, m := open(t, f, still, nil)
	dir, err := f.Process().OpenDir("/q/maildrop")
	must(t, err)
	held, err := dir.Open("HELD", disk.ReadWrite)
	must(t, err)
	if ok, err := held.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	_, err = m.PickUp(t.Context(), 0, func(d *Dropped) error {
		w, err := dir.Open(d.Name, disk.ReadWrite)
		must(t, err)
		_, err = w.Write([]byte("more\n"))
		must(t, err)
		return into(q)(d)
	})
	must(t, err)
	if n := entries(t, q); n[spool.Active] != 0 || n[spool.Corrupt] != 1 {
		t.Errorf("%d in the queue, %d set aside; want none and one", n[spool.Active], n[spool.Corrupt])
	}
	if left := drops(f); !slices.Equal(left, []string{"HELD"}) {
		t.Errorf("%q are left", left)
	}
}

// TestMaildropFlood: one user's thousand files keep nobody else's waiting.
func TestMaildropFlood(t *testing.T) {
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	const flood = 3*dropsPerOwner + 1
	for i := range flood {
		leftBy(f, 1001, 0o640, letterForBob, fmt.Sprintf("A%04d", i))
	}
	leftBy(f, 1002, 0o640, letterForBob, "ZLAST")
	_, m := open(t, f, still, nil)
	var order []int
	rounds := 0
	for more := true; more; rounds++ {
		var err error
		more, err = m.PickUp(t.Context(), 0, func(d *Dropped) error { order = append(order, d.Owner); return nil })
		must(t, err)
	}
	if len(order) != flood+1 || !slices.Contains(order[:2], 1002) || rounds != 4 {
		t.Errorf("%d picked up in %d rounds, the other user's as number %d", len(order), rounds, slices.Index(order, 1002)+1)
	}

	leftBy(f, 1001, 0o640, letterForBob, "A1", "A2", "A3", "A4", "A5")
	leftBy(f, 1002, 0o640, letterForBob, "Z")
	tries := map[int]int{}
	more, err := m.PickUp(t.Context(), 0, func(d *Dropped) error {
		tries[d.Owner]++
		if d.Owner == 1001 {
			return spool.ErrFull
		}
		return nil
	})
	if more || err != nil || tries[1001] != maxTrouble || tries[1002] != 1 {
		t.Errorf("with no room for one: %v, %v, tried %v", more, err, tries)
	}
}

// TestMaildropManyOwners: as many owners as a user has in /etc/subuid, whose files
// can't be picked up, keep nobody's waiting, and are told of once.
func TestMaildropManyOwners(t *testing.T) {
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	const others = 2*maxOwners + 1
	for i := range others {
		leftBy(f, 100000+i, 0o640, letterForBob, fmt.Sprintf("A%d", i))
	}
	leftBy(f, 1001, 0o640, letterForBob, "LOW")
	leftBy(f, 999999, 0o640, letterForBob, "HIGH")
	var log bytes.Buffer
	_, m := open(t, f, still, &log)
	tries := map[int]int{}
	for range 2 {
		looks := 0
		for more := true; more; looks++ {
			var err error
			more, err = m.PickUp(t.Context(), 0, func(d *Dropped) error {
				if tries[d.Owner]++; d.Owner < 100000 || d.Owner == 999999 {
					return nil
				}
				return spool.ErrFull
			})
			must(t, err)
		}
		if looks != 3 {
			t.Errorf("%d looks, want 3", looks)
		}
	}
	if tries[1001] != 1 || tries[999999] != 1 || tries[100000] != 2 || tries[100000+others-1] != 2 || len(tries) != others+2 {
		t.Errorf("%d owners: %d and %d tries for the others'", len(tries), tries[1001], tries[999999])
	}
	if n := strings.Count(log.String(), "drop not picked up"); n != others {
		t.Errorf("%d lines of log, want %d", n, others)
	}
}

// picking is a server that picks one message up.
func picking(d disk.FS, ack func(string)) error {
	q, m, err := start(d, still, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	defer m.Close()
	took := false
	_, err = m.PickUp(context.Background(), 0, func(d *Dropped) error {
		err := into(q)(d)
		took = err == nil
		return err
	})
	if err != nil || !took {
		return err
	}
	ack("picked up")
	return nil
}

// checkPicked: nothing is lost, and once the pick-up has returned nothing is
// picked up again.
func checkPicked(t testing.TB, d disk.FS, acked []string) {
	q, m := reopen(t, d)
	if _, err := m.PickUp(context.Background(), 0, into(q)); err != nil {
		t.Fatal(err)
	}
	for name := range m.dir.Names() {
		t.Errorf("%s is not picked up", name)
	}
	n := 0
	for e, err := range q.Entries() {
		if err != nil || e.Location != spool.Active {
			t.Errorf("%+v, %v", e, err)
			continue
		}
		c, err := q.Claim(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c.Data()); err != nil || string(got) != dropBody || c.Envelope().Client != "uid 1001" {
			t.Errorf("%q from %s, %v, want %q", got, c.Envelope().Client, err, dropBody)
		}
		c.Close()
		n++
	}
	if n < 1 || n > 2 || n > 1 && len(acked) > 0 {
		t.Errorf("%d copies, %d acknowledged", n, len(acked))
	}
}

// oneLeft has one message in maildrop/.
func oneLeft(set func(*crashfs.FS)) crashfs.Run {
	return crashfs.Run{Prepare: func(f *crashfs.FS) {
		set(f)
		f.MkdirAll("/q/maildrop", 0o700) // as an Open that died leaves it
		leftBy(f, 1001, 0o640, letterForBob, "ONE")
	}}
}

// TestCrashPickUp cuts the power, kills, and lets calls fail, at every call of
// a pick-up: never lost, at most twice.
func TestCrashPickUp(t *testing.T) {
	for _, fs := range fileSystems {
		t.Run(fs.name, func(t *testing.T) {
			run := oneLeft(fs.set)
			run.EveryStep(t, picking, checkPicked)
			run.EveryError(t, picking, checkPicked)
			run.EveryRoom(t, picking, checkPicked)
		})
	}
}
