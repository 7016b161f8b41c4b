package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

const letterForBob = "postoffice drop 1\nto <bob>\n\n" + dropBody

// reopenDrops opens a spool with a maildrop/.
func reopenDrops(t testing.TB, d disk.FS) *Queue {
	q, err := Open(Options{FS: d, Dir: "/q", Now: still, Maildrop: true})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// makeMaildrop makes the directories as a spool has them.
func makeMaildrop(f *crashfs.FS) {
	f.MkdirAll("/q", 0o711)
	f.MkdirAll("/q/maildrop", maildropMode)
}

// leftBy plants files of a user in maildrop/.
func leftBy(f *crashfs.FS, uid int, mode fs.FileMode, text string, names ...string) {
	f.SetIDs(uid, 0)
	for _, name := range names {
		f.Plant("/q/maildrop/"+name, mode, []byte(text))
	}
	f.SetIDs(0, 0)
}

// intoQueue takes a message as the server does.
func (q *Queue) intoQueue(d *Dropped) error {
	env := envelope(0)
	env.Client = fmt.Sprintf("uid %d", d.Owner)
	env.Recipients = d.Recipients
	in, err := q.Create(env)
	if err != nil {
		return err
	}
	if _, err := io.Copy(in, d.Body()); err != nil {
		return errors.Join(err, in.Abort())
	}
	return in.Commit()
}

func drops(f *crashfs.FS) []string {
	d, err := f.OpenDir("/q/maildrop")
	if err != nil {
		panic(err)
	}
	defer d.Close()
	var names []string
	for name := range d.Names() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestMaildropModes: maildrop/ and the way to it get their modes, also in a
// spool that was there before, and a spool without it keeps its own.
func TestMaildropModes(t *testing.T) {
	q, dir := tempQueue(t)
	mode := func(name string) os.FileMode {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		return info.Mode()
	}
	if got := mode("."); got != os.ModeDir|0o700 || q.maildrop != nil {
		t.Errorf("without a maildrop/ the spool has mode %v", got)
	}
	for _, spoilt := range []os.FileMode{0o700, 0o777} {
		open(t, Options{Dir: dir, Maildrop: true})
		if got, want := mode(MaildropDir), os.ModeDir|0o733|os.ModeSetgid|os.ModeSticky; got != want {
			t.Errorf("maildrop/ has mode %v, want %v", got, want)
		}
		if got := mode("."); got != os.ModeDir|0o711 {
			t.Errorf("the spool has mode %v, want 0711", got)
		}
		for _, name := range []string{"queue", "tmp", "hold", "corrupt"} {
			if got := mode(name); got != os.ModeDir|0o700 {
				t.Errorf("%s has mode %v", name, got)
			}
		}
		must(t, os.Chmod(filepath.Join(dir, MaildropDir), spoilt))
	}
	must(t, os.Chmod(filepath.Join(dir, MaildropDir), 0o755))
	open(t, Options{Dir: dir}) // what it isn't asked for, it leaves alone
	if got := mode(MaildropDir); got != os.ModeDir|0o755 {
		t.Errorf("mode %v was changed", got)
	}
}

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
	leftBy(f, alice, 0o640, letterForBob+strings.Repeat("x", maxDropEnvelope+2000), "BIG")
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
	q := open(t, Options{FS: f, Dir: "/q", Maildrop: true, Now: func() time.Time { return now() }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	var got []string
	take := func(d *Dropped) error {
		b, err := io.ReadAll(d.Body())
		got = append(got, fmt.Sprint(d.Owner, " ", d.Name, " ", d.Recipients[0].Path, " ", len(b), " ", d.ReversePath))
		return err
	}
	for range 2 {
		if _, err := q.PickUp(t.Context(), 1000, take); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	if want := []string{"1001 GOOD bob 21 <nil>", "1002 FORGED carol 11 alice@x"}; !slices.Equal(got, want) {
		t.Errorf("picked up %q, want %q", got, want)
	}
	if left, want := drops(f), []string{".WRITING", "CLOSED", "DIR", "FIFO", "HARD", "LINK"}; !slices.Equal(left, want) {
		t.Errorf("%q are left, want %q", left, want)
	}
	if n := entries(t, q); n[Corrupt] != 5 || n[Active] != 0 {
		t.Errorf("%d set aside, %d in the queue; want 5 and none", n[Corrupt], n[Active])
	}
	for _, name := range []string{"FORM", "EMPTY", "BIG", "ROOTS", "CLOSED", "LINK", "FIFO", "HARD", "ELSEWHERE", "DIR"} {
		if n := strings.Count(log.String(), "file=maildrop/"+name+" "); n != 1 {
			t.Errorf("%s stands %d times in the log, want once:\n%s", name, n, &log)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("disclosed:\n%s", &log)
	}
	now = twoDaysOn
	if _, err := q.PickUp(t.Context(), 1000, take); err != nil {
		t.Fatal(err)
	}
	if left, want := drops(f), []string{"CLOSED", "DIR", "HARD"}; !slices.Equal(left, want) {
		t.Errorf("after two days %q are left, want %q", left, want)
	}
}

// TestA69Growing: a file that is written to while it is read is set aside; one
// that somebody has locked is left alone.
func TestA69Growing(t *testing.T) {
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	leftBy(f, 1001, 0o640, letterForBob, "GROWS", "HELD")
	q := open(t, Options{FS: f, Dir: "/q", Maildrop: true, Now: still})
	dir, err := f.OpenDir("/q/maildrop")
	must(t, err)
	held, err := dir.Open("HELD", disk.ReadWrite)
	must(t, err)
	if ok, err := held.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	_, err = q.PickUp(t.Context(), 0, func(d *Dropped) error {
		w, err := dir.Open(d.Name, disk.ReadWrite)
		must(t, err)
		_, err = w.Write([]byte("more\n"))
		must(t, err)
		return q.intoQueue(d)
	})
	must(t, err)
	if n := entries(t, q); n[Active] != 0 || n[Corrupt] != 1 {
		t.Errorf("%d in the queue, %d set aside; want none and one", n[Active], n[Corrupt])
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
	q := open(t, Options{FS: f, Dir: "/q", Maildrop: true, Now: still})
	var order []int
	rounds := 0
	for more := true; more; rounds++ {
		var err error
		more, err = q.PickUp(t.Context(), 0, func(d *Dropped) error { order = append(order, d.Owner); return nil })
		must(t, err)
	}
	if len(order) != flood+1 || !slices.Contains(order[:2], 1002) || rounds != 4 {
		t.Errorf("%d picked up in %d rounds, the other user's as number %d", len(order), rounds, slices.Index(order, 1002)+1)
	}

	leftBy(f, 1001, 0o640, letterForBob, "A1", "A2", "A3", "A4", "A5")
	leftBy(f, 1002, 0o640, letterForBob, "Z")
	tries := map[int]int{}
	more, err := q.PickUp(t.Context(), 0, func(d *Dropped) error {
		tries[d.Owner]++
		if d.Owner == 1001 {
			return ErrFull
		}
		return nil
	})
	if more || err != nil || tries[1001] != maxTrouble || tries[1002] != 1 {
		t.Errorf("with no room for one: %v, %v, tried %v", more, err, tries)
	}
}

// picking is a server that picks one message up.
func picking(d disk.FS, ack func(string)) error {
	q, err := Open(Options{FS: d, Dir: "/q", Now: still, Maildrop: true})
	if err != nil {
		return err
	}
	defer q.Close()
	took := false
	_, err = q.PickUp(context.Background(), 0, func(d *Dropped) error {
		err := q.intoQueue(d)
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
	q := reopenDrops(t, d)
	defer q.Close()
	if _, err := q.PickUp(context.Background(), 0, q.intoQueue); err != nil {
		t.Fatal(err)
	}
	for name := range q.maildrop.Names() {
		t.Errorf("%s is not picked up", name)
	}
	n := 0
	for e, err := range q.Entries() {
		if err != nil || e.Place != Active {
			t.Errorf("%+v, %v", e, err)
			continue
		}
		m, err := q.Claim(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, m); got != dropBody || m.Envelope().Client != "uid 1001" {
			t.Errorf("%q from %s, want %q", got, m.Envelope().Client, dropBody)
		}
		m.Close()
		n++
	}
	if n < 1 || n > 2 || n > 1 && len(acked) > 0 {
		t.Errorf("%d copies, %d acknowledged", n, len(acked))
	}
}

// TestCrashPickUp cuts the power, kills, and lets calls fail, at every call of
// a pick-up: never lost, at most twice.
func TestCrashPickUp(t *testing.T) {
	for _, fs := range fileSystems {
		t.Run(fs.name, func(t *testing.T) {
			run := crashfs.Run{Prepare: func(f *crashfs.FS) {
				fs.set(f)
				f.MkdirAll("/q/maildrop", 0o700) // as an Open that died leaves it
				leftBy(f, 1001, 0o640, letterForBob, "ONE")
			}}
			run.EveryStep(t, picking, checkPicked)
			run.EveryError(t, picking, checkPicked)
			run.EveryRoom(t, picking, checkPicked)
		})
	}
}
