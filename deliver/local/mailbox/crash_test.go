package mailbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// The mailbox of these tests is root's in /mail, and old is what it may hold.
const old = "From old\n\nolder mail\n\n"

// letter is message number i as it stands in a mailbox. Those with an even
// number lack the empty line, so that the next one has to make it.
func letter(i int) string {
	end := []string{"end", "end\n\n"}[i%2]
	return fmt.Sprintf("From sender%d\n\n%s%s", i, strings.Repeat(fmt.Sprintf("line of %d\n", i), 3+20*(i%3)), end)
}

// newWriter is a process that writes to the mailbox, an hour after the crash.
func newWriter(d disk.FS, pid int, alive func(lockOwner) bool) *Mailboxes {
	m := New(Options{FS: d, Dir: "/mail", Accounts: account.Only(rootAccount)})
	m.self, m.alive = lockOwner{pid, "boot", "namespace", "1"}, alive
	m.now = func() time.Time { return time.Now().Add(time.Hour) }
	return m
}

var rootAccount = account.Account{Name: "root"}

func dead(lockOwner) bool { return false }

// batchOf writes the letters as one batch and acknowledges each that was
// delivered. A letter with a negative number breaks off in the middle.
func batchOf(m *Mailboxes, ack func(string), letters ...int) error {
	var jobs []*job
	for _, i := range letters {
		body := io.Reader(strings.NewReader(letter(max(i, -i))))
		if i < 0 {
			body = io.MultiReader(strings.NewReader(letter(-i)[:20]), iotest.ErrReader(errServerDied))
		}
		jobs = append(jobs, &job{d: local.Delivery{User: "root", Body: body}, result: make(chan local.Result, 1)})
	}
	for {
		a, at := rootsPlace(m)
		err := m.write(a, at, &waiting{jobs: slices.Clone(jobs)}, nil)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	var all error
	for k, j := range jobs {
		r := <-j.result
		if r.String() == "delivered" {
			ack(fmt.Sprint(letters[k]))
		} else if !errors.Is(r.Err, errServerDied) {
			all = errors.Join(all, r.Err)
		}
	}
	return all
}

var errServerDied = errors.New("server died")

// oldMail makes the disk with a mailbox; noMail without.
var (
	oldMail = crashfs.Run{Prepare: func(f *crashfs.FS) {
		f.MkdirAll("/mail", 0o755)
		f.Plant("/mail/root", 0o600, []byte(old))
	}}
	noMail = crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/mail", 0o775) }}
)

// batches are three deliveries by two processes: a batch with a message that
// breaks off, then two single messages, the second by another process.
func batches(d disk.FS, ack func(string)) error {
	m := newWriter(d, 1, dead)
	return errors.Join(
		batchOf(m, ack, 1, -9, 2, 3),
		batchOf(m, ack, 4),
		batchOf(newWriter(d, 2, dead), ack, 5),
	)
}

// again is what the queue does after a crash: what is not acknowledged is
// delivered once more.
func again(d disk.FS, acked []string, ack func(string)) error {
	done := strings.Join(acked, " ") + " "
	var rest []int
	for i := 1; i <= 5; i++ {
		if !strings.Contains(done, fmt.Sprint(i)+" ") {
			rest = append(rest, i)
		}
	}
	return batchOf(newWriter(d, 3, dead), ack, rest...)
}

// whole checks the mailbox after the crash and, when the rest was delivered
// again, after that: older mail untouched, every message whole behind an empty
// line, those acknowledged before the crash exactly once, the others at most
// twice.
func whole(before string) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		f := d.(*crashfs.FS)
		look := func(when string, acked []string, most int) {
			b, err := f.ReadFile("/mail/root")
			if err != nil && !(errors.Is(err, fs.ErrNotExist) && before == "" && len(acked) == 0) {
				t.Errorf("%s: %v", when, err)
				return
			}
			text := string(b)
			if !strings.HasPrefix(text, before) {
				t.Errorf("%s: older mail was damaged: %q", when, text)
			}
			for _, id := range acked {
				var i int
				fmt.Sscan(id, &i)
				if n := strings.Count("\n\n"+text, "\n\n"+letter(i)); n < 1 || n > most {
					t.Errorf("%s: message %s is there %d times: %q", when, id, n, text)
				}
			}
		}
		look("after the crash", acked, 1)
		if err := again(d, acked, func(string) {}); err != nil {
			t.Errorf("delivered again: %v", err)
		}
		look("delivered again", acked, 1)
		look("delivered again", []string{"1", "2", "3", "4", "5"}, 2)
		if names := f.Tree(); strings.Contains(names, ".lock") {
			t.Errorf("left behind:\n%s", names)
		}
	}
}

// TestCrashAtEveryCall: power cuts and kills between any two calls.
func TestCrashAtEveryCall(t *testing.T) {
	t.Log(oldMail.EveryStep(t, batches, whole(old)))
	t.Log(noMail.EveryStep(t, batches, whole("")))
}

func TestCrashInRecovery(t *testing.T) {
	one := oldMail
	one.Random = 4
	t.Log(one.EveryStepTwice(t, batches, again, wholeTwice(old), 2000))
}

// wholeTwice allows the second copy that the second crash may have left.
func wholeTwice(before string) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		if err := again(d, acked, func(string) {}); err != nil {
			t.Errorf("delivered again: %v", err)
		}
		b, err := d.(*crashfs.FS).ReadFile("/mail/root")
		if err != nil || !strings.HasPrefix(string(b), before) {
			t.Errorf("older mail was damaged: %q, %v", b, err)
		}
		for i := 1; i <= 5; i++ {
			if n := strings.Count("\n\n"+string(b), "\n\n"+letter(i)); n < 1 || n > 3 {
				t.Errorf("message %d is there %d times: %q", i, n, b)
			}
		}
	}
}

// TestCrashErrorsA45: every errno at every call, and disks with little
// room.
func TestCrashErrorsA45(t *testing.T) {
	t.Log(oldMail.EveryError(t, batches, whole(old)))
	t.Log(noMail.EveryError(t, batches, whole("")))
	t.Log(oldMail.EveryRoom(t, batches, whole(old)))
}

// TestInterleavedA46: several programs at one mailbox in many orders.
func TestInterleavedA46(t *testing.T) {
	interleaved(t, 500)
}

func interleaved(t testing.TB, schedules int) {
	for _, tt := range []struct {
		name  string
		disk  crashfs.Run
		old   string
		setup func(f *crashfs.FS) []crashfs.Actor
	}{
		{"two of ours", oldMail, old, writers(false)},
		{"two of ours without dot locks", oldMail, old, writers(true)},
		{"two of ours make the mailbox", noMail, "", writers(true)},
		{"a reader that replaces the mailbox", oldMail, old, withReader("root")},
		{"a reader that puts the mailbox aside", oldMail, old, withReader("root.old")},
		{"a program that knows dot locks alone", oldMail, old, withDotLocker},
		{"another program makes the mailbox", noMail, "", withMaker},
	} {
		t.Log(tt.name, tt.disk.Interleave(t, schedules, tt.setup, wholeApart(tt.old)))
	}
}

// writers are two processes that deliver; without dot locks the record lock
// alone keeps them apart.
func writers(noDotLocks bool) func(f *crashfs.FS) []crashfs.Actor {
	return func(f *crashfs.FS) []crashfs.Actor {
		one, two := f.Process(), f.Process()
		others := map[int]*crashfs.FS{1: one, 2: two}
		return []crashfs.Actor{writer(others, 1, noDotLocks, 1, -9, 2), writer(others, 2, noDotLocks, 4, -9, 3)}
	}
}

func writer(processes map[int]*crashfs.FS, pid int, noDotLocks bool, letters ...int) crashfs.Actor {
	p := processes[pid]
	return crashfs.Actor{FS: p, Do: func(ack func(string)) {
		var d disk.FS = p
		if noDotLocks {
			d = noDots{p}
		}
		_ = batchOf(newWriter(d, pid, func(h lockOwner) bool { return processes[h.pid].Alive() }), ack, letters...)
	}}
}

// withReader has besides a program that rewrites the mailbox under its record
// lock; the file that was there is replaced or gets the name aside.
func withReader(aside string) func(f *crashfs.FS) []crashfs.Actor {
	return func(f *crashfs.FS) []crashfs.Actor {
		p := f.Process()
		return append(writers(true)(f), crashfs.Actor{FS: p, Do: func(func(string)) { _ = rewrite(p, aside) }})
	}
}

func rewrite(p *crashfs.FS, aside string) error {
	dir, err := p.OpenDir("/mail")
	if err != nil {
		return err
	}
	defer dir.Close()
	box, err := dir.Open("root", disk.ReadWrite)
	if err != nil {
		return err
	}
	defer box.Close()
	for locked := false; !locked; {
		if locked, err = box.TryLockRecord(); err != nil {
			return err
		}
	}
	info, err := box.Stat()
	if err != nil {
		return err
	}
	text := make([]byte, info.Size)
	if _, err := box.ReadAt(text, 0); err != nil {
		return err
	}
	fresh, err := dir.Create("root.new", 0o600)
	if err != nil {
		return err
	}
	defer fresh.Close()
	if _, err := fresh.Write(text); err != nil {
		return err
	}
	if err := fresh.Sync(); err != nil {
		return err
	}
	if aside != "root" { // a second name for the old file, so that it keeps one
		if err := dir.Link("root", dir, aside); err != nil {
			return err
		}
	}
	if err := dir.Rename("root.new", dir, "root"); err != nil {
		return err
	}
	return dir.Sync()
}

// withDotLocker has besides a program that appends message 5 in two pieces
// under a dot lock and no other.
func withDotLocker(f *crashfs.FS) []crashfs.Actor {
	one, other := f.Process(), f.Process()
	processes := map[int]*crashfs.FS{1: one, 2: other}
	return []crashfs.Actor{writer(processes, 1, false, 1, -9, 2), {FS: other, Do: func(ack func(string)) {
		if appendUnderDotLock(other) == nil {
			ack("5")
		}
	}}}
}

func appendUnderDotLock(p *crashfs.FS) error {
	dir, err := p.OpenDir("/mail")
	if err != nil {
		return err
	}
	defer dir.Close()
	lock, err := dir.Create("root.lock", 0o600)
	if err != nil {
		return err
	}
	if _, err := lock.Write([]byte("2")); err != nil {
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	box, err := dir.Open("root", disk.ReadWrite)
	if err != nil {
		return err
	}
	defer box.Close()
	text := letter(5)
	for _, part := range []string{"\n\n" + text[:20], text[20:]} {
		if _, err := box.Write([]byte(part)); err != nil {
			return err
		}
	}
	return errors.Join(box.Sync(), dir.Unlink("root.lock"))
}

// withMaker has besides a program that makes the mailbox with message 5 in it.
func withMaker(f *crashfs.FS) []crashfs.Actor {
	one, other := f.Process(), f.Process()
	return []crashfs.Actor{writer(map[int]*crashfs.FS{1: one}, 1, true, 1), {FS: other, Do: func(ack func(string)) {
		if makeMailbox(other) == nil {
			ack("5")
		}
	}}}
}

func makeMailbox(p *crashfs.FS) error {
	dir, err := p.OpenDir("/mail")
	if err != nil {
		return err
	}
	box, err := dir.Create("root", 0o600)
	if err != nil {
		return err
	}
	if _, err := box.Write([]byte("\n\n" + letter(5))); err != nil {
		return err
	}
	return errors.Join(box.Sync(), dir.Sync())
}

// wholeApart: what was acknowledged is there once, whole, behind an empty
// line, and older mail is untouched.
func wholeApart(before string) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		b, err := d.(*crashfs.FS).ReadFile("/mail/root")
		if err != nil && len(acked) == 0 && before == "" {
			return
		}
		if err != nil || !strings.HasPrefix(string(b), before) {
			t.Errorf("older mail was damaged: %q, %v", b, err)
		}
		for _, id := range acked {
			var i int
			fmt.Sscan(id, &i)
			if n := strings.Count("\n\n"+string(b), "\n\n"+letter(i)); n != 1 {
				t.Errorf("message %s is there %d times: %q", id, n, b)
			}
		}
	}
}

// noDots is a mail directory in which the account may make no files.
type noDots struct{ disk.FS }

func (n noDots) OpenDir(path string) (disk.Dir, error) {
	d, err := n.FS.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return noDotsDir{d}, nil
}

type noDotsDir struct{ disk.Dir }

func (d noDotsDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	if strings.HasSuffix(name, account.LockSuffix) {
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.EACCES}
	}
	return d.Dir.Create(name, mode)
}

// TestCrashMutants: the suites notice each safeguard that is left out.
func TestCrashMutants(t *testing.T) {
	t.Run("Maildir", maildirMutants)
	crashfs.Mutants(t, func(t testing.TB) {
		oldMail.EveryStep(t, batches, whole(old))
		noMail.EveryStep(t, batches, whole(""))
		interleaved(t, 200)
	}, crashfs.Allowed{Kind: crashfs.Exclusive, Where: "deliver/local/mailbox/draft.go", Reason: "the draft is no lock: it becomes one by a rename that does not replace"})
}
