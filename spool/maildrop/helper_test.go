package maildrop

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// still is a clock that stands.
func still() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 890123000, time.UTC) }

// start opens a spool and its maildrop/ as a server does. log may be nil.
func start(d disk.FS, now func() time.Time, log io.Writer) (*spool.Queue, *Maildrop, error) {
	q, err := spool.Open(spool.Options{FS: d, Dir: "/q", Now: now})
	if err != nil {
		return nil, nil, err
	}
	if log == nil {
		log = io.Discard
	}
	m, err := Open(Options{FS: d, Spool: "/q", Corrupt: q, Now: now, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		return nil, nil, errors.Join(err, q.Close())
	}
	return q, m, nil
}

// open is start, which closes both after the test.
func open(t testing.TB, d disk.FS, now func() time.Time, log io.Writer) (*spool.Queue, *Maildrop) {
	t.Helper()
	q, m, err := start(d, now, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close(); m.Close() })
	return q, m
}

// reopen is open by a clock that stands.
func reopen(t testing.TB, d disk.FS) (*spool.Queue, *Maildrop) {
	t.Helper()
	return open(t, d, still, nil)
}

// prepared is a disk with an empty maildrop/.
func prepared() *crashfs.FS {
	f := crashfs.New()
	f.SetClock(still)
	makeMaildrop(f)
	return f
}

// into takes messages into the queue as the server does.
func into(q *spool.Queue) func(*Dropped) error {
	return func(d *Dropped) error {
		in, err := q.Create(envelope.Envelope{
			Arrived: still(), Client: fmt.Sprintf("uid %d", d.Owner), ReversePath: smtp.Path{Local: "x"}, Recipients: d.Recipients,
		})
		if err != nil {
			return err
		}
		if _, err := io.Copy(in, d.Body()); err != nil {
			return errors.Join(err, in.Abort())
		}
		return in.Commit()
	}
}

// entries counts the messages of each location.
func entries(t testing.TB, q *spool.Queue) map[spool.Location]int {
	t.Helper()
	n := map[spool.Location]int{}
	for e, err := range q.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		n[e.Location]++
	}
	return n
}

const letterForBob = "postoffice drop 1\nto <bob>\n\n" + dropBody

// makeMaildrop makes the directories as a spool has them.
func makeMaildrop(f *crashfs.FS) {
	f.MkdirAll("/q", 0o711)
	f.MkdirAll("/q/maildrop", mode)
}

// leftBy plants files of a user in maildrop/.
func leftBy(f *crashfs.FS, uid int, mode fs.FileMode, text string, names ...string) {
	f.SetIDs(uid, 0)
	for _, name := range names {
		f.Plant("/q/maildrop/"+name, mode, []byte(text))
	}
	f.SetIDs(0, 0)
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

// path parses user@domain for test tables.
func path(s string) smtp.Path {
	local, domain, _ := strings.Cut(s, "@")
	return smtp.Path{Local: local, Domain: domain}
}

// fileSystems are what the crash suites run on.
var fileSystems = []struct {
	name string
	set  func(*crashfs.FS)
}{
	{"renameat2", func(f *crashfs.FS) { f.SetClock(still) }},
	{"link and unlink", func(f *crashfs.FS) { f.SetClock(still); f.SetPortable(true) }},
}
