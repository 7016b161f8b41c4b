package spool

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/spool/envelope"
)

// hooked is a disk on which a test does something at a certain call: what
// another process may do just then.
type hooked struct {
	disk.FS
	after func(op, name string) // a file was opened or created
	sync  func(name string) error
	write func() error // what an append says that wrote everything
}

type hookedDir struct {
	disk.Dir
	h *hooked
}

type hookedFile struct {
	disk.File
	h    *hooked
	name string
}

func (h *hooked) OpenDir(name string) (disk.Dir, error) {
	d, err := h.FS.OpenDir(name)
	return h.dir(d), err
}

func (h *hooked) dir(d disk.Dir) disk.Dir {
	if d == nil {
		return nil
	}
	return hookedDir{d, h}
}

func (h *hooked) file(op, name string, f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	if h.after != nil {
		h.after(op, name)
	}
	return hookedFile{f, h, name}, nil
}

func (d hookedDir) OpenDir(name string) (disk.Dir, error) {
	sub, err := d.Dir.OpenDir(name)
	return d.h.dir(sub), err
}

func (d hookedDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	f, err := d.Dir.Create(name, mode)
	return d.h.file("create", name, f, err)
}

func (d hookedDir) Open(name string, a disk.Access) (disk.File, error) {
	f, err := d.Dir.Open(name, a)
	return d.h.file("open", name, f, err)
}

func (d hookedDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(hookedDir).Dir, name)
}

func (f hookedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err == nil && f.h.write != nil {
		err = f.h.write()
	}
	return n, err
}

func (f hookedFile) Datasync() error {
	if f.h.sync != nil {
		if err := f.h.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.Datasync()
}

// races are tests in which another process acts between two calls of ours.
var races = []struct {
	name string
	test func(testing.TB)
}{
	{"held between open and lock", raceHeld},
	{"name reused between open and lock", raceReused},
	{"expanded between open and lock", raceExpanded},
	{"cleaned up between create and lock", raceCleaned},
	{"lock replaced between open and lock", raceLock},
	{"disk that writes no more", raceUnwritable},
	{"record fails", raceRecordFails},
}

// TestRaces: lock, then look again (A34); prove, then deliver (A38).
func TestRaces(t *testing.T) {
	for _, r := range races {
		t.Run(r.name, func(t *testing.T) { r.test(t) })
	}
}

// stage is a spool with one message, and a second process on a hooked disk.
func stage(t testing.TB, tok string) (q, other *Queue, h *hooked, id ID) {
	t.Helper()
	f := crashfs.New()
	f.SetClock(still)
	q, err := reopen(f, still)
	if err != nil {
		t.Fatal(err)
	}
	id, err = tryAccept(q, envelopeFor(1), letterOf(tok))
	if err != nil {
		t.Fatal(err)
	}
	h = &hooked{FS: f.Process()}
	if other, err = reopen(h, still); err != nil {
		t.Fatal(err)
	}
	return q, other, h, id
}

// once runs do after the first time that op is done on a file.
func (h *hooked) once(op string, do func()) {
	h.after = func(o, name string) {
		if o == op {
			h.after = nil
			do()
		}
	}
}

func raceHeld(t testing.TB) {
	q, other, h, id := stage(t, token("a", 1, 100, false))
	h.once("open", func() {
		m, err := q.Claim(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Hold(heldFor); err != nil {
			t.Fatal(err)
		}
	})
	if m, err := other.Claim(id); !errors.Is(err, ErrGone) {
		t.Errorf("claim of a message that is held meanwhile: %v, %v, want ErrGone", m, err)
	}
}

func raceReused(t testing.TB) {
	q, other, h, id := stage(t, token("a", 1, 100, false))
	second := token("b", 1, 100, false)
	h.once("open", func() {
		if err := deliverAll(q, func(string) {}); err != nil {
			t.Fatal(err)
		}
		q.ids.last = id.Time().UnixMicro() - 1
		if again, err := tryAccept(q, envelopeFor(1), letterOf(second)); err != nil || again != id {
			t.Fatalf("%v, %v, want %v", again, err, id)
		}
	})
	if m, err := other.Claim(id); err == nil {
		_ = m.Finish()
	}
	if got := readToken(t, q, Entry{id, Active}); got != second {
		t.Errorf("%q is left, want %q", got, second)
	}
}

func raceExpanded(t testing.TB) {
	q, other, h, id := stage(t, token("a", 1, 100, false))
	h.once("open", func() {
		m, err := q.Claim(id)
		if err == nil {
			err = m.Expand(key(0, 0), envelope.Expansion{Targets: []envelope.Target{{Path: path("x@example.net")}}})
		}
		if err == nil {
			err = m.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	m, err := other.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := pendingKeys(m); len(got) != 1 || got[0] != (key(1, 0)) {
		t.Errorf("pending %v, want 1.0", got)
	}
}

func raceCleaned(t testing.TB) {
	q, other, h, _ := stage(t, token("a", 1, 100, false))
	h.once("create", func() {
		q.now = twoDaysOn
		unlock, err := q.TryLock()
		if err == nil {
			err = q.Clean(context.Background())
			unlock()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if _, err := tryAccept(other, envelopeFor(1), letterOf(token("b", 1, 100, false))); err != nil {
		t.Errorf("refused: %v", err)
	}
}

func raceLock(t testing.TB) {
	q, other, h, _ := stage(t, token("a", 1, 100, false))
	h.once("open", func() {
		replaceLock(q)
		if _, err := q.TryLock(); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := other.TryLock(); !errors.Is(err, ErrLocked) {
		t.Errorf("TryLock of a file that lost its name: %v, want ErrLocked", err)
	}
}

// raceUnwritable: no delivery is tried where none could be recorded.
func raceUnwritable(t testing.TB) {
	q, other, h, id := stage(t, token("a", 1, 100, false))
	h.sync = func(string) error { return syscall.EIO }
	if err := deliverAll(other, func(line string) {
		if strings.HasPrefix(line, "took ") {
			t.Errorf("delivered although it can't be recorded: %s", line)
		}
	}); !errors.Is(err, ErrLater) || !errors.Is(err, syscall.EIO) {
		t.Errorf("delivery: %v, want ErrLater and EIO", err)
	}
	h.sync = nil
	if err := deliverAll(other, func(string) {}); err != nil {
		t.Error(err)
	}
	if _, err := q.Read(id); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want it delivered", err)
	}
}

// raceRecordFails: after a record that failed, the message is nobody's in this
// process, and mailq shows why.
func raceRecordFails(t testing.TB) {
	_, other, h, id := stage(t, token("a", 1, 100, false))
	syncs := 0
	h.sync = func(string) error {
		if syncs++; syncs == 2 { // the first proves
			return syscall.EIO
		}
		return nil
	}
	took := 0
	for range 3 {
		if err := deliverAll(other, func(line string) {
			if strings.HasPrefix(line, "took ") {
				took++
			}
		}); !errors.Is(err, ErrLater) {
			t.Errorf("delivery: %v, want ErrLater", err)
		}
	}
	if took != 1 {
		t.Errorf("%d deliveries, want 1", took)
	}
	if s, err := other.Read(id); err != nil || !strings.Contains(s.Reason, "input/output error") {
		t.Errorf("mailq sees %+v, %v", s, err)
	}
}
