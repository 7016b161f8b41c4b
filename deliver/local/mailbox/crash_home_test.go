package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// TestCrashFileAtHome: mail that goes to ~/d/e/box, whose directories have to be
// made: what was acknowledged is there, whatever a power cut takes.
func TestCrashFileAtHome(t *testing.T) {
	home := crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/home", 0o700) }}
	t.Log(home.EveryStep(t, toFileAtHome, wholeAtHome))
	t.Log(home.EveryError(t, toFileAtHome, wholeAtHome))
}

func fileAtHome(d disk.FS) *Mailboxes {
	m := newWriter(d, 1, dead)
	m.o.Mailbox, m.o.Accounts = "~/d/e/box", account.Only(homeRoot)
	return m
}

func toFileAtHome(d disk.FS, ack func(string)) error {
	return errors.Join(batchOf(fileAtHome(d), ack, 1, 2), batchOf(fileAtHome(d), ack, 3))
}

func wholeAtHome(t testing.TB, d disk.FS, acked []string) {
	look := func(when string) {
		b, err := d.(*crashfs.FS).ReadFile("/home/d/e/box")
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && len(acked) == 0) {
			t.Errorf("%s: %v\n%s", when, err, d.(*crashfs.FS).Tree())
		}
		for _, id := range acked {
			var i int
			fmt.Sscan(id, &i)
			if n := strings.Count("\n\n"+string(b), "\n\n"+letter(i)); n != 1 {
				t.Errorf("%s: message %s is there %d times: %q", when, id, n, b)
			}
		}
	}
	look("after the crash")
	if err := batchOf(fileAtHome(d), func(string) {}, 4); err != nil {
		t.Errorf("the next message: %v", err)
	}
	look("after the next message")
}

// rootsPlace is where the only account's mail goes, or that of the only user of a virtual
// domain.
func rootsPlace(m *Mailboxes) (account.Account, place) {
	a, err := m.o.Accounts.Lookup(context.Background(), "root")
	if err != nil {
		panic(err)
	}
	if m.o.Virtual.Dir != "" {
		a = account.Account{Name: "bob@v.example"}
	}
	at, err := m.place(a, "")
	if err != nil {
		panic(err)
	}
	return a, at
}
