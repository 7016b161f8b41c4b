package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// TestCrashVirtual: mail of a user of a virtual domain, as a file and as a Maildir, which
// have to be made: what was acknowledged is there, whatever a power cut or a failed call
// takes, whole and once where nothing was delivered again.
func TestCrashVirtual(t *testing.T) {
	domain := crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/spool/v.example", 0o700) }}
	for _, maildir := range []bool{false, true} {
		deliver := func(d disk.FS, ack func(string)) error {
			return errors.Join(batchOf(virtualWriter(d, maildir), ack, 1, -9, 2), batchOf(virtualWriter(d, maildir), ack, 3))
		}
		check := func(t testing.TB, d disk.FS, acked []string) {
			look := func(when string) {
				text := virtualText(t, d, maildir)
				for _, id := range acked {
					var i int
					fmt.Sscan(id, &i)
					if n := strings.Count(text, "\n\n"+letter(i)); n != 1 {
						t.Errorf("%s: message %s is there %d times: %q\n%s", when, id, n, text, d.(*crashfs.FS).Tree())
					}
				}
				if n := strings.Count(text, "sender9"); n > 0 {
					t.Errorf("%s: a message that broke off is there: %q", when, text)
				}
			}
			look("after the crash")
			if err := batchOf(virtualWriter(d, maildir), func(id string) { acked = append(acked, id) }, 4); err != nil {
				t.Errorf("the next message: %v", err)
			}
			look("after the next message")
		}
		t.Log(domain.EveryStep(t, deliver, check))
		t.Log(domain.EveryError(t, deliver, check))
	}
}

// virtualWriter is a process that writes to the mailbox of bob@v.example.
func virtualWriter(d disk.FS, maildir bool) *Mailboxes {
	m := newWriter(d, 1, dead)
	m.o.Virtual = Virtual{Dir: "/spool", User: account.Account{Name: "mail"}, Maildir: maildir}
	return m
}

// virtualText is all that is in that mailbox, each message behind an empty line.
func virtualText(t testing.TB, d disk.FS, maildir bool) string {
	const box = "/spool/v.example/bob"
	files, below := []string{box}, ""
	if maildir {
		files, below = nil, "/new/"
		dir, err := d.OpenDir(box + "/new")
		if errors.Is(err, fs.ErrNotExist) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		for name, err := range dir.Names() {
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, box+below+name)
		}
	}
	var all strings.Builder
	for _, name := range files {
		b, err := d.(*crashfs.FS).ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "\n\n%s\n\n", b)
	}
	return all.String()
}
