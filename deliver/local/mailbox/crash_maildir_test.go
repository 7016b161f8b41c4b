package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// The Maildir of these tests is root's ~/M/. Names have nothing that tells
// processes apart, so that they come twice.

var homeRoot = account.Account{Name: "root", Home: "/home"}

func newStorer(d disk.FS) *Mailboxes {
	m := New(Options{FS: d, Dir: "/mail", Mailbox: "~/M/", Accounts: account.Only(homeRoot), Hostname: "h"})
	m.self, m.alive = lockOwner{pid: 1}, dead
	m.random = func() uint64 { return 0 }
	m.now = func() time.Time { return time.Unix(1_000_000_000, 0) }
	return m
}

// oldMaildir makes the disk with a Maildir and a message, whose name a new one
// would get; noMaildir with a home
// directory only.
var (
	oldMaildir = crashfs.Run{Prepare: func(f *crashfs.FS) {
		for _, dir := range []string{"/home/M/tmp", "/home/M/new", "/home/M/cur"} {
			f.MkdirAll(dir, 0o700)
		}
		f.Plant(fmt.Sprintf("/home/M/new/1000000000.M000000P1Q4R0000000000000000.h,S=%d", len(letter(9))), 0o600, []byte(letter(9)))
	}}
	noMaildir = crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/home", 0o700) }}
)

func storings(d disk.FS, ack func(string)) error {
	m := newStorer(d)
	return errors.Join(
		batchOf(m, ack, 1, -9, 2, 3),
		batchOf(m, ack, 4),
		batchOf(newStorer(d), ack, 5),
	)
}

func storeAgain(d disk.FS, acked []string, ack func(string)) error {
	done := strings.Join(acked, " ") + " "
	var rest []int
	for i := 1; i <= 5; i++ {
		if !strings.Contains(done, fmt.Sprint(i)+" ") {
			rest = append(rest, i)
		}
	}
	m := newStorer(d)
	m.now = func() time.Time { return time.Unix(1_000_000_001, 0) } // names that three processes make alike are more than are tried
	return batchOf(m, ack, rest...)
}

// inNew counts the messages in new/, and complains of what is none.
func inNew(t testing.TB, d disk.FS) map[string]int {
	there := map[string]int{}
	dir, err := d.OpenDir("/home/M/new")
	if errors.Is(err, fs.ErrNotExist) {
		return there
	}
	if err != nil {
		t.Error(err)
		return there
	}
	defer dir.Close()
	for name, err := range dir.Names() {
		if err != nil {
			t.Error(err)
			break
		}
		b, err := d.(*crashfs.FS).ReadFile("/home/M/new/" + name)
		id := ""
		for i := range 10 {
			if string(b) == letter(i) {
				id = fmt.Sprint(i)
			}
		}
		if err != nil || id == "" || !strings.HasSuffix(name, fmt.Sprintf(",S=%d", len(b))) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		there[id]++
	}
	return there
}

// storedWhole checks new/ after the crash and when the rest was delivered again:
// each file is a whole message, those acknowledged before the crash are there
// once, the others at most as often as most says.
func storedWhole(oldOnes, most int) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		look := func(when string, acked []string, most int) {
			there := inNew(t, d)
			if there["9"] != oldOnes {
				t.Errorf("%s: the older message is there %d times", when, there["9"])
			}
			for _, id := range acked {
				if n := there[id]; n < 1 || n > most {
					t.Errorf("%s: message %s is there %d times:\n%s", when, id, n, d.(*crashfs.FS).Tree())
				}
			}
		}
		if most == 2 {
			look("after the crash", acked, 1)
		}
		if err := storeAgain(d, acked, func(string) {}); err != nil {
			t.Errorf("delivered again: %v", err)
		}
		if most == 2 {
			look("delivered again", acked, 1)
		}
		look("delivered again", []string{"1", "2", "3", "4", "5"}, most)
	}
}

func TestCrashMaildirAtEveryCallA47(t *testing.T) {
	t.Log(oldMaildir.EveryStep(t, storings, storedWhole(1, 2)))
	t.Log(noMaildir.EveryStep(t, storings, storedWhole(0, 2)))
}

func TestCrashMaildirInRecovery(t *testing.T) {
	one := oldMaildir
	one.Random = 4
	t.Log(one.EveryStepTwice(t, storings, storeAgain, storedWhole(1, 3), 2000))
}

func TestCrashErrorsMaildirA47(t *testing.T) {
	t.Log(oldMaildir.EveryError(t, storings, storedWhole(1, 2)))
	t.Log(noMaildir.EveryError(t, storings, storedWhole(0, 2)))
	t.Log(oldMaildir.EveryRoom(t, storings, storedWhole(1, 2)))
}

// TestInterleavedMaildirA47: two processes that make the same names.
func TestInterleavedMaildirA47(t *testing.T) { interleavedMaildir(t, 300) }

func interleavedMaildir(t testing.TB, schedules int) {
	setup := func(f *crashfs.FS) (actors []crashfs.Actor) {
		for _, letters := range [][]int{{1, -9, 2}, {4, -9, 3}} {
			p := f.Process()
			actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) { _ = batchOf(newStorer(p), ack, letters...) }})
		}
		return actors
	}
	t.Log(oldMaildir.Interleave(t, schedules, setup, func(t testing.TB, d disk.FS, acked []string) {
		there := inNew(t, d)
		for _, id := range append(acked, "9") {
			if there[id] != 1 {
				t.Errorf("message %s is there %d times:\n%s", id, there[id], d.(*crashfs.FS).Tree())
			}
		}
	}))
}

// maildirMutants: the suites notice each safeguard that is left out.
func maildirMutants(t *testing.T) {
	crashfs.Mutants(t, func(t testing.TB) {
		oldMaildir.EveryStep(t, storings, storedWhole(1, 2))
		noMaildir.EveryStep(t, storings, storedWhole(0, 2))
		interleavedMaildir(t, 200)
	})
}
