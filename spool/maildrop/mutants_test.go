package maildrop

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/spool"
)

// suite is what every mutant must fail.
func suite(t testing.TB) {
	growing(t)
	slowWriter(t)
	lateLock(t)
	for _, fs := range fileSystems {
		crashfs.Run{Prepare: func(f *crashfs.FS) { fs.set(f); makeMaildrop(f) }}.EveryStep(t, leaving, checkLeft)
		crashfs.Run{Prepare: func(f *crashfs.FS) { fs.set(f); f.MkdirAll("/q", 0o711) }}.EveryStep(t, firstLeaving, checkLeft)
		oneLeft(fs.set).EveryStep(t, picking, checkPicked)
	}
	interleave(t, 200)
}

// interleave runs schedules of two servers that pick up one message.
func interleave(t testing.TB, schedules int) {
	for _, fs := range fileSystems {
		run := oneLeft(fs.set)
		run.KeepAlive = true
		run.Interleave(t, schedules, twoServers, checkPicked)
	}
}

// TestInterleavedPickUp: two servers take one message once.
func TestInterleavedPickUp(t *testing.T) { interleave(t, 500) }

// firstLeaving is a server's first start, and a message that is left behind it.
func firstLeaving(d disk.FS, ack func(string)) error {
	q, m, err := start(d, still, nil)
	if err != nil {
		return err
	}
	m.Close()
	q.Close()
	return leaving(d, ack)
}

func twoServers(f *crashfs.FS) []crashfs.Actor {
	var both []crashfs.Actor
	for range 2 {
		p := f.Process()
		both = append(both, crashfs.Actor{FS: p, Do: func(ack func(string)) { _ = picking(p, ack) }})
	}
	return both
}

// TestSlowWriter: who takes longer to write a message than an interrupted writer's
// file is kept has it under a lock, and is let write.
func TestSlowWriter(t *testing.T) { slowWriter(t) }

func slowWriter(t testing.TB) {
	f := prepared()
	_, m := open(t, f.Process(), func() time.Time { return still().Add(48 * time.Hour) }, nil)
	dir, err := f.OpenDir("/q/maildrop")
	must(t, err)
	body := io.MultiReader(strings.NewReader("Subject: left\n"), cleanUp{m}, strings.NewReader("\nhello\n"))
	if err := dropTo("bob").Leave(dir, body, 0); err != nil {
		t.Errorf("the file was taken from under its writer: %v", err)
	}
	checkLeft(t, f, []string{"left"})
}

// cleanUp is an empty part of a message that takes two days.
type cleanUp struct{ m *Maildrop }

func (c cleanUp) Read([]byte) (int, error) {
	if _, err := c.m.PickUp(context.Background(), 0, func(*Dropped) error { return spool.ErrFull }); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// TestLateLock: a server that opened a file, and locks it when another has taken
// it and removed its name, doesn't take it again.
func TestLateLock(t *testing.T) { lateLock(t) }

func lateLock(t testing.TB) {
	f := prepared()
	leftBy(f, 1001, 0o640, letterForBob, "ONE")
	q1, first := open(t, f.Process(), still, nil)
	q2, second := open(t, f.Process(), still, nil)
	second.dir = slowDir{second.dir, func() {
		_, err := first.PickUp(context.Background(), 0, into(q1))
		must(t, err)
	}}
	_, err := second.PickUp(context.Background(), 0, into(q2))
	must(t, err)
	checkPicked(t, f, []string{"picked up"})
}

// slowDir has something happen behind each opening of a file.
type slowDir struct {
	disk.Dir
	behind func()
}

func (d slowDir) Open(name string, access disk.Access) (disk.File, error) {
	f, err := d.Dir.Open(name, access)
	d.behind()
	return f, err
}

// TestCrashMutants leaves out each sync, directory sync, exclusive create, lock and
// second look, one at a time.
func TestCrashMutants(t *testing.T) {
	const core = "the spool's own suite leaves it out"
	crashfs.Mutants(t, suite,
		crashfs.Allowed{Kind: crashfs.Exclusive, Where: "spool/maildrop/drop.go", Reason: "no two names of 128 random bits are the same"},
		crashfs.Allowed{Kind: crashfs.Lock, Where: "spool/maildrop/drop.go", Reason: "nobody else can have locked a file that was just made"},
		crashfs.Allowed{Kind: crashfs.DirSync, Where: "spool/maildrop/maildrop.go", Reason: "each start gives the directory its mode again; syncing what is above it is found"},
		crashfs.Allowed{Kind: crashfs.Look, Where: "spool/maildrop/pickup.go", Reason: "a file whose name is gone has no other: its link count says so, too"},
		crashfs.Allowed{Where: "spool/admin.go", Reason: core},
		crashfs.Allowed{Where: "spool/incoming.go", Reason: core},
		crashfs.Allowed{Where: "spool/lock.go", Reason: core},
		crashfs.Allowed{Where: "spool/queue.go", Reason: core},
		crashfs.Allowed{Where: "spool/record.go", Reason: core},
	)
}
