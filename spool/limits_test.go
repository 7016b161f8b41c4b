package spool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// TestA35Room: blocks, inodes, and no answer are told apart, and only room is
// room.
func TestA35Room(t *testing.T) {
	for _, tt := range []struct {
		name  string
		space disk.Space
		free  int64
		full  bool
	}{
		{"plenty", disk.Space{Octets: 1 << 30, Inodes: 1000}, 1 << 20, false},
		{"just enough", disk.Space{Octets: 1 << 20, Inodes: 1}, 1 << 20, false},
		{"below minfree", disk.Space{Octets: 1<<20 - 1, Inodes: 1000}, 1 << 20, true},
		{"no inodes", disk.Space{Octets: 1 << 30}, 1 << 20, true},
		{"nothing, no minimum", disk.Space{Inodes: 1000}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := crashfs.New()
			q := open(t, Options{FS: f, Dir: "/q", MinFree: tt.free})
			f.SetSpace(tt.space)
			if err := q.Room(); errors.Is(err, ErrFull) != tt.full || !tt.full && err != nil {
				t.Errorf("Room: %v, full: %v", err, tt.full)
			}
		})
	}
}

// TestTogether: of messages that are committed together all or none are there.
func TestTogether(t *testing.T) {
	q, _ := tempQueue(t)
	begin := func() *Incoming {
		in, err := q.Create(envelopeFor(1))
		must(t, err)
		_, err = in.Write([]byte(text))
		must(t, err)
		return in
	}
	a, b, c := begin(), begin(), begin()
	if _, err := c.Write([]byte("\r")); err == nil {
		t.Fatal("CR was taken")
	}
	if err := a.CommitWith(b, c); !errors.Is(err, envelope.ErrInvalid) {
		t.Errorf("with one that can't be written: %v", err)
	}
	if n := entries(t, q); n != [numLocations]int{} {
		t.Errorf("left over: %v", n)
	}
	a, b = begin(), begin()
	must(t, a.CommitWith(b))
	for _, in := range []*Incoming{a, b} {
		if got := body(t, claim(t, q, in.ID())); got != text {
			t.Errorf("%s is %q", in.ID(), got)
		}
	}
	if err := begin().CommitWith(b); !errors.Is(err, ErrClosed) {
		t.Errorf("with one that is committed: %v", err)
	}
}

// TestMinFreeFits: a minimum that a small file system can never have is reduced,
// so that it takes mail while there is room.
func TestMinFreeFits(t *testing.T) {
	for _, tt := range []struct {
		total, set, want int64
	}{
		{5 << 20, 10 << 20, 512 << 10},
		{19 << 20, 10 << 20, 19 << 20 / 10},
		{20 << 20, 10 << 20, 10 << 20},
		{1 << 40, 10 << 20, 10 << 20},
		{0, 10 << 20, 10 << 20},
		{5 << 20, 0, 0},
	} {
		f := crashfs.New()
		f.SetSpace(disk.Space{Octets: 1 << 40, Inodes: 1000, Total: tt.total})
		q := open(t, Options{FS: f, Dir: "/q", MinFree: tt.set})
		if got := q.MinFree(); got != tt.want {
			t.Errorf("minimum %d in a file system of %d: %d, want %d", tt.set, tt.total, got, tt.want)
		}
	}
}

// TestRoomUnknown: a statfs error is no yes (A35).
func TestRoomUnknown(t *testing.T) {
	q, _ := tempQueue(t)
	q.tmp = noSpace{q.tmp}
	if err := q.Room(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Room: %v, want EIO", err)
	}
}

type noSpace struct{ disk.Dir }

func (noSpace) Space() (disk.Space, error) { return disk.Space{}, syscall.EIO }

// TestA31FullDisk: a record needs no room; a note that finds none is lost and
// nothing else is.
func TestA31FullDisk(t *testing.T) {
	f := crashfs.New()
	q := open(t, Options{FS: f, Dir: "/q"})
	id := accept(t, q, envelopeFor(2), text)
	f.SetSpace(disk.Space{Octets: 10})
	if _, err := tryAccept(q, envelopeFor(1), text); !errors.Is(err, ErrFull) {
		t.Errorf("accept on a full disk: %v, want ErrFull", err)
	}
	m := claim(t, q, id)
	if err := m.Note(envelope.Note{Time: arrived, Err: strings.Repeat("x", 100)}); !errors.Is(err, ErrFull) {
		t.Errorf("note on a full disk: %v, want ErrFull", err)
	}
	if err := m.Expand(key(0, 1), envelope.Expansion{Targets: []envelope.Target{{Path: path("a@b")}}}); !errors.Is(err, ErrFull) {
		t.Errorf("expansion on a full disk: %v, want ErrFull", err)
	}
	must(t, m.Record([]envelope.Key{key(0, 0)}, envelope.Delivered))
	must(t, m.Record([]envelope.Key{key(0, 1)}, envelope.Bounced))
	must(t, m.Finish())
}

// TestInvalid: what can't be written is refused before anything is on the disk.
func TestInvalid(t *testing.T) {
	q, dir := tempQueue(t)
	for _, tt := range []struct {
		name   string
		change func(*envelope.Envelope)
	}{
		{"no recipient", func(e *envelope.Envelope) { e.Recipients = nil }},
		{"null recipient", func(e *envelope.Envelope) { e.Recipients[0].Path = smtp.Path{} }},
		{"program (A18)", func(e *envelope.Envelope) { e.Recipients[0].Path = path("|/bin/sh@us") }},
		{"file (A18)", func(e *envelope.Envelope) { e.Recipients[0].Path = path("/etc/passwd") }},
		{"list (A18)", func(e *envelope.Envelope) { e.Recipients[0].Path = path(":Include:/etc/passwd@us") }},
		{"parameter", func(e *envelope.Envelope) { e.Params = []smtp.Param{{Name: "A B"}} }},
		{"recipient's parameter", func(e *envelope.Envelope) { e.Recipients[0].Params = []smtp.Param{{Name: ""}} }},
		{"year", func(e *envelope.Envelope) { e.Arrived = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"long client", func(e *envelope.Envelope) { e.Client = strings.Repeat("x", 64<<10) }},
		{"too many recipients", func(e *envelope.Envelope) { *e = envelopeFor(envelope.MaxRecipients + 1) }},
	} {
		env := envelopeFor(1)
		tt.change(&env)
		if in, err := q.Create(env); !errors.Is(err, envelope.ErrInvalid) {
			t.Errorf("%s: %v, %v, want ErrInvalid", tt.name, in, err)
		}
	}
	in, err := q.Create(envelopeFor(1))
	must(t, err)
	if _, err := in.Write([]byte("a\r\n")); !errors.Is(err, envelope.ErrInvalid) {
		t.Errorf("CR (A2): %v, want ErrInvalid", err)
	}
	if err := in.Commit(); !errors.Is(err, envelope.ErrInvalid) {
		t.Errorf("commit after it: %v, want ErrInvalid", err)
	}
	if err := in.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("commit twice: %v, want ErrClosed", err)
	}
	for _, d := range []string{"tmp", "queue"} {
		if names, err := os.ReadDir(dir + "/" + d); err != nil || len(names) > 0 {
			t.Errorf("%s holds %v, %v", d, names, err)
		}
	}
}

// TestRefusedCalls: a message in the wrong state says so and stays as it is.
func TestRefusedCalls(t *testing.T) {
	q, _ := tempQueue(t)
	id := accept(t, q, envelopeFor(2), text)
	m := claim(t, q, id)
	must(t, m.Record([]envelope.Key{key(0, 0)}, envelope.Delivered))
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"recorded twice", m.Record([]envelope.Key{key(0, 0)}, envelope.Bounced)},
		{"nobody", m.Record([]envelope.Key{key(0, 2)}, envelope.Delivered)},
		{"no block", m.Record([]envelope.Key{key(1, 0)}, envelope.Delivered)},
		{"as pending", m.Record([]envelope.Key{key(0, 1)}, envelope.Pending)},
		{"as expanded", m.Record([]envelope.Key{key(0, 1)}, envelope.Expanded)},
		{"expansion to nobody", m.Expand(key(0, 1), envelope.Expansion{})},
		{"expansion of one who is done", m.Expand(key(0, 0), envelope.Expansion{Targets: []envelope.Target{{Path: path("a@b")}}})},
		{"expansion to a command", m.Expand(key(0, 1), envelope.Expansion{Targets: []envelope.Target{{Path: path("|x")}}})},
		{"program without a name", m.Expand(key(0, 1), envelope.Expansion{Targets: []envelope.Target{{Kind: envelope.Program, Agent: &envelope.Agent{Source: envelope.FromAlias}}}})},
		{"program of a list", m.Expand(key(0, 1), envelope.Expansion{Targets: []envelope.Target{{Kind: envelope.Program, Agent: &envelope.Agent{Source: envelope.FromList, Name: "x"}}}})},
		{"expanded by nothing known", m.Expand(key(0, 1), envelope.Expansion{Via: envelope.Via{Source: "x", Name: "y"}, Targets: []envelope.Target{{Path: path("a@b")}}})},
		{"of a user whose name is said already", m.Expand(key(0, 1), envelope.Expansion{Via: envelope.Via{Source: envelope.FromForward, Name: "u"}, Owner: "u", Targets: []envelope.Target{{Path: path("a@b")}}})},
		{"expanded by nobody's", m.Expand(key(0, 1), envelope.Expansion{Via: envelope.Via{Source: envelope.FromAlias}, Targets: []envelope.Target{{Path: path("a@b")}}})},
		{"note of a bad year", m.Note(envelope.Note{Time: time.Unix(1e15, 0)})},
	} {
		if !errors.Is(tt.err, envelope.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", tt.name, tt.err)
		}
	}
	if got := pendingKeys(m); !slices.Equal(got, []envelope.Key{key(0, 1)}) {
		t.Errorf("pending %v", got)
	}
	must(t, m.Close())
	if err := m.Record([]envelope.Key{key(0, 1)}, envelope.Delivered); !errors.Is(err, ErrClosed) {
		t.Errorf("record after Close: %v", err)
	}
	if err := q.Release(id); !errors.Is(err, ErrGone) {
		t.Errorf("release of what is not held: %v", err)
	}
}

// TestExpandAgain: the last expansion counts, and what is recorded of those
// before it doesn't.
func TestExpandAgain(t *testing.T) {
	q, _ := tempQueue(t)
	m := claim(t, q, accept(t, q, envelopeFor(1), text))
	must(t, m.Expand(key(0, 0), envelope.Expansion{Targets: []envelope.Target{{Path: path("a@x")}, {Path: path("list@x")}}}))
	must(t, m.Expand(key(1, 1), envelope.Expansion{Targets: []envelope.Target{{Path: path("deep@x")}}}))
	must(t, m.Record([]envelope.Key{key(1, 0)}, envelope.Delivered))
	must(t, m.Expand(key(0, 0), envelope.Expansion{Targets: []envelope.Target{{Path: path("a@x")}, {Path: path("c@x")}}}))
	must(t, m.Record([]envelope.Key{key(3, 0)}, envelope.Delivered))
	want := []envelope.Key{key(3, 1)}
	if got := pendingKeys(m); !slices.Equal(got, want) {
		t.Errorf("pending %v, want %v", got, want)
	}
	id := m.ID()
	must(t, m.Close())
	m = claim(t, q, id)
	if got := pendingKeys(m); !slices.Equal(got, want) {
		t.Errorf("pending when read again %v, want %v", got, want)
	}
	if err := m.Record([]envelope.Key{key(2, 0)}, envelope.Delivered); !errors.Is(err, envelope.ErrInvalid) {
		t.Errorf("record of a superseded recipient: %v", err)
	}
}

// TestBigExpansion: 50,000 targets are written, read back and worked off.
// TestWholeAfterError: a block that could not be written, as far as the writer
// was told, and is whole all the same, does no harm to those behind it.
func TestWholeAfterError(t *testing.T) {
	h := &hooked{FS: disk.OS()}
	q := open(t, Options{Dir: t.TempDir() + "/q", FS: h})
	id := accept(t, q, envelopeFor(3), text)
	m := claim(t, q, id)
	to := func(s string) envelope.Expansion {
		return envelope.Expansion{Targets: []envelope.Target{{Path: path(s)}}}
	}
	h.write = func() error { return syscall.EIO }
	if err := m.Expand(key(0, 0), to("lost@a.example")); err == nil {
		t.Fatal("expanded in spite of EIO")
	}
	h.write = nil
	must(t, m.Expand(key(0, 1), to("a@a.example")))
	must(t, m.Expand(key(0, 0), to("b@a.example")))
	must(t, m.Close())
	m = claim(t, q, id)
	var got []string
	for r := range m.Pending() {
		got = append(got, r.Path.String())
	}
	if want := []string{"r2@example.org", "a@a.example", "b@a.example"}; !slices.Equal(got, want) {
		t.Errorf("pending %q, want %q", got, want)
	}
}

func TestBigExpansion(t *testing.T) {
	q, _ := tempQueue(t)
	m := claim(t, q, accept(t, q, envelopeFor(1), text))
	var x envelope.Expansion
	for i := range 50_000 {
		x.Targets = append(x.Targets, envelope.Target{Path: path(fmt.Sprintf("subscriber%d@lists.example.org", i))})
	}
	must(t, m.Expand(key(0, 0), x))
	id := m.ID()
	must(t, m.Close())
	m = claim(t, q, id)
	keys := pendingKeys(m)
	if len(keys) != 50_000 {
		t.Fatalf("%d pending", len(keys))
	}
	must(t, m.Record(keys, envelope.Delivered))
	if err := m.Expand(key(1, 0), x); !errors.Is(err, envelope.ErrInvalid) {
		t.Errorf("expansion of a done recipient: %v", err)
	}
	must(t, m.Finish())
}

// TestNotes come back in order, what was torn is passed over, and mailq gets
// the latest when there are many.
func TestNotes(t *testing.T) {
	q, dir := tempQueue(t)
	env := envelopeFor(3)
	id := accept(t, q, env, "no line end") // the notes begin a line all the same
	m := claim(t, q, id)
	note := func(i int) envelope.Note {
		return envelope.Note{Time: arrived, Attempt: i, Keys: []envelope.Key{key(0, i%3)}}
	}
	must(t, m.Note(note(1)))
	must(t, m.Note(note(2)))
	must(t, m.Close())
	f, err := os.OpenFile(dir+"/queue/"+string(id), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("note 12345678 2026-03-04T05:06")
	must(t, errors.Join(err, f.Close()))
	m = claim(t, q, id)
	for i := range 2 * maxSnapshotNotes {
		must(t, m.Note(note(i+3)))
	}
	i := 0
	for n, err := range m.Notes() {
		must(t, err)
		if i++; n.Attempt != i {
			t.Fatalf("note %d is of attempt %d", i, n.Attempt)
		}
	}
	s, err := q.Read(id)
	must(t, err)
	if n := len(s.Notes); n != maxSnapshotNotes || s.Notes[n-1].Attempt != i {
		t.Errorf("%d notes to show, the last of attempt %d, want %d", n, s.Notes[n-1].Attempt, i)
	}
	if i != 2*maxSnapshotNotes+2 {
		t.Errorf("%d notes", i)
	}
}

// TestForeignSpool: a directory that is not fit says what is wrong with it.
func TestForeignSpool(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		spoil      func(dir string) error
	}{
		{"another lock", "locked by", func(dir string) error { return os.WriteFile(dir+"/lock", []byte("lockf\n"), 0o600) }},
		{"open to others", "0777", func(dir string) error { return os.Chmod(dir+"/queue", 0o777) }},
		{"root open to others", "others may write", func(dir string) error { return os.Chmod(dir, 0o770) }},
	} {
		q, dir := tempQueue(t)
		must(t, q.root.Sync())
		must(t, tt.spoil(dir))
		if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrForeign with %q", tt.name, err, tt.want)
		}
	}
}

// TestA33Ages: interrupted arrivals go after 36 hours, or 10 minutes while room
// is short.
func TestA33Ages(t *testing.T) {
	for _, tt := range []struct {
		age   time.Duration
		short bool
		gone  bool
	}{
		{35 * time.Hour, false, false},
		{37 * time.Hour, false, true},
		{9 * time.Minute, true, false},
		{11 * time.Minute, true, true},
		{-time.Hour, true, false}, // the clock went back
	} {
		f := crashfs.New()
		f.SetClock(still)
		plantOrphan(f)
		q := open(t, Options{FS: f, Dir: "/q", Now: func() time.Time { return arrived.Add(tt.age) }})
		if tt.short {
			f.SetSpace(disk.Space{})
		}
		unlock, err := q.TryLock()
		must(t, err)
		must(t, q.Clean(t.Context()))
		unlock()
		if _, err := f.ReadFile("/q/tmp/0000000000AAAA"); (err != nil) != tt.gone {
			t.Errorf("%v old, room short: %v: %v, want it gone: %v", tt.age, tt.short, err, tt.gone)
		}
	}
}
