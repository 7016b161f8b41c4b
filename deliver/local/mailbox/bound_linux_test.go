package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/disk"
)

// sized delivers a message of n octets to bob@v.example, whose mailbox may have quota.
func sized(m *Mailboxes, n, quota int64) local.Result {
	text := "From x\nSubject: x\n\n"
	text += strings.Repeat("x", int(n)-len(text)-2) + "\n\n"
	return m.Deliver(context.Background(), local.Delivery{User: "bob@v.example", Body: strings.NewReader(text), Size: n, Quota: quota})
}

// bound are the mailboxes of v.example with a clock that stands, and bob's.
func bound(t *testing.T, maildir bool) (m *Mailboxes, box string, clock *time.Time) {
	t.Helper()
	dir := t.TempDir()
	m, _ = virtualBoxes(t, dir, maildir)
	clock = new(time.Time)
	*clock = time.Unix(1e9, 0)
	m.now = func() time.Time { return *clock }
	return m, filepath.Join(dir, "v.example", "bob"), clock
}

// TestQuota: what doesn't fit into what a mailbox may have waits, smaller messages don't
// wait for it, and it comes when there is room; without a bound everything comes.
func TestQuota(t *testing.T) {
	for _, maildir := range []bool{false, true} {
		t.Run(fmt.Sprint("Maildir ", maildir), func(t *testing.T) {
			m, box, clock := bound(t, maildir)
			for i, want := range []struct {
				size, quota int64
				what        string
			}{{400, 1000, "delivered"}, {400, 1000, "delivered"}, {400, 1000, "deferred"}, {200, 1000, "delivered"}, {100, 1000, "deferred"}, {5000, 0, "delivered"}, {100, 1000, "deferred"}} {
				r := sized(m, want.size, want.quota)
				if r.String() != want.what || want.what == "deferred" && (r.Reply.Status != "4.2.2" || !strings.Contains(fmt.Sprint(r.Err), "of the 1000")) {
					t.Errorf("message %d of %d octets: %v, %v", i, want.size, r, r.Err)
				}
			}
			if maildir {
				files, err := filepath.Glob(box + "/new/*")
				must(t, err)
				for _, f := range files {
					must(t, os.Remove(f))
				}
				if r := sized(m, 100, 1000); r.String() != "deferred" {
					t.Errorf("what was counted a moment ago: %v", r)
				}
				*clock = clock.Add(time.Hour)
			} else {
				must(t, os.Truncate(box, 0))
			}
			if r := sized(m, 1000, 1000); r.String() != "delivered" {
				t.Errorf("when there is room: %v, %v", r, r.Err)
			}
			if r := sized(m, 100, 1000); r.String() != "deferred" {
				t.Errorf("when it is full again: %v, %v", r, r.Err)
			}
		})
	}
}

// TestMaildirSize: what readers write down of a Maildir is believed where a message fits
// by it, and counted where it doesn't; what came is written there too.
func TestMaildirSize(t *testing.T) {
	m, box, _ := bound(t, true)
	if r := sized(m, 400, 1000); r.String() != "delivered" {
		t.Fatal(r, r.Err)
	}
	record := filepath.Join(box, "maildirsize")
	write := func(text string) {
		must(t, errors.Join(os.WriteFile(record, []byte(text), 0o600), os.Chown(record, m.o.Virtual.User.UID, m.o.Virtual.User.GID)))
	}
	write("1000S\n900 3\n")
	if r := sized(m, 400, 1000); r.String() != "delivered" {
		t.Errorf("what is there is less than written down: %v, %v", r, r.Err)
	}
	if text, err := os.ReadFile(record); string(text) != "1000S\n900 3\n400 1\n" {
		t.Errorf("%q, %v", text, err)
	}
	write("1000S\n100 1\n")
	if r := sized(m, 400, 1000); r.String() != "delivered" {
		t.Errorf("it fits by what is written down: %v, %v", r, r.Err)
	}
	must(t, errors.Join(os.Remove(record), os.Symlink("/etc/passwd", record)))
	if r := sized(m, 400, 1000); r.String() != "deferred" {
		t.Errorf("1200 octets are there: %v, %v", r, r.Err)
	}
	if info, err := os.Lstat(record); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestUsed: what is in a mailbox is told to whoever asks, and what is none is no number.
func TestUsed(t *testing.T) {
	for _, maildir := range []bool{false, true} {
		m, box, _ := bound(t, maildir)
		v := &m.o.Virtual
		used := func(enough int64) (int64, error) {
			return v.Used(disk.OS(), "bob", "v.example", enough, func() {})
		}
		if n, err := used(0); n != 0 || err != nil {
			t.Errorf("Maildir %v, that isn't there: %d, %v", maildir, n, err)
		}
		sized(m, 700, 0)
		if n, err := used(0); n != 700 || err != nil {
			t.Errorf("Maildir %v: %d, %v", maildir, n, err)
		}
		if maildir {
			must(t, os.WriteFile(filepath.Join(box, "maildirsize"), []byte("1000S\n900 3\n"), 0o600))
			for enough, want := range map[int64]int64{0: 700, 899: 700, 900: 900} {
				if n, err := used(enough); n != want || err != nil {
					t.Errorf("enough %d: %d, %v; want %d", enough, n, err, want)
				}
			}
		}
		must(t, errors.Join(os.RemoveAll(box), os.Symlink("/etc", box)))
		if n, err := used(0); err == nil {
			t.Errorf("Maildir %v, a link: %d", maildir, n)
		}
	}
}
