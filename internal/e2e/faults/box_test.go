//go:build e2e

package faults

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
)

// boxKind is a place of bob's mail and the directory whose file system breaks.
type boxKind struct {
	name, setting, dir, path string // the last two below the host's directory
}

var boxKinds = []boxKind{
	{"mailbox", "", "mail", "mail/bob"},
	{"file at home", "mailbox=~/mbox", "home/bob", "home/bob/mbox"},
	{"Maildir", "mailbox=~/Maildir/", "home/bob", "home/bob/Maildir"},
}

// owner are the options of a file system on the place's directory.
func (k boxKind) owner() string {
	if k.dir == "mail" {
		return "mode=2775,gid=8"
	}
	return "mode=700,uid=2002,gid=2002"
}

// letters counts the whole letters there, and complains of anything else.
func (k boxKind) letters(s *lan.Site) (n int) {
	s.T.Helper()
	var all []letters.Delivery
	if strings.HasSuffix(k.setting, "/") {
		for _, text := range lan.InMaildir(s.T, s.Path(k.path)) {
			all = append(all, letters.Read(text))
		}
		if left, _ := os.ReadDir(s.Path(k.path, "tmp")); len(left) > 0 {
			s.T.Errorf("left in tmp/: %v", left)
		}
	} else {
		all = letters.ReadMailbox(s.T, s.Path(k.path))
	}
	for _, d := range all {
		if !d.Whole {
			s.T.Errorf("%s has a torn letter", k.name)
		}
	}
	return len(all)
}

// boxFaults is a site whose mailboxes are of one kind.
func boxFaults(t *testing.T, k boxKind) *lan.Site {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	return l.Host("one.test").Install(strings.Fields("minfree=0 require-home=yes " + k.setting)...)
}

// defers breaks something, sends bob a letter and wants it to wait with these
// words in the log; mended, it is delivered once.
func defers(s *lan.Site, k boxKind, fault string, size int, words string, breakIt func() (mend func())) {
	s.T.Helper()
	before := k.letters(s)
	mend := breakIt()
	log, _ := os.ReadFile(s.Log)
	x := letters.New("bob@one.test", size)
	for len(x.Text) < size/2 {
		x = letters.New("bob@one.test", size)
	}
	if out, err := s.TryApplet(x.Text, "sendmail", "-i", "bob@one.test"); err != nil {
		s.T.Fatalf("%s: %v: %s", fault, err, out)
	}
	lan.Until(s.T, 30*time.Second, fault+": it is deferred", func() bool {
		now, _ := os.ReadFile(s.Log)
		return strings.Contains(string(now[len(log):]), "delivery deferred")
	})
	now, _ := os.ReadFile(s.Log)
	if !strings.Contains(string(now[len(log):]), words) || strings.Contains(string(now), "message bounced") {
		s.T.Errorf("%s: %s: the log has not %q:\n%s", k.name, fault, words, now[len(log):])
	}
	mend()
	if got := k.letters(s); got != before {
		s.T.Errorf("%s: %s: %d letters, want still %d", k.name, fault, got, before)
	}
	s.Applet("runq")
	s.Drained(30 * time.Second)
	if got := k.letters(s); got != before+1 {
		s.T.Errorf("%s: %s, mended: %d letters, want %d", k.name, fault, got, before+1)
	}
}

// TestBoxFaultsA45: on a full or read-only file system the mail of every kind of
// mailbox waits, and nothing is written elsewhere.
func TestBoxFaultsA45(t *testing.T) {
	for _, k := range boxKinds {
		t.Run(k.name, func(t *testing.T) {
			s := boxFaults(t, k)
			dir := s.Path(k.dir)
			s.Tmpfs(dir, "size=512k,"+k.owner())
			s.Serve()
			if out, err := s.TryApplet(letters.New("bob@one.test", 1000).Text, "sendmail", "-i", "bob@one.test"); err != nil {
				t.Fatal(err, out)
			}
			s.Drained(20 * time.Second)

			defers(s, k, "full disk", 50_000, "dsn=4.2.2", func() func() { return s.Fill(dir) })
			defers(s, k, "larger than the disk", 2_000_000, "dsn=4.2.2", func() func() {
				return func() { lan.Sh(t, "mount", "-o", "remount,size=8m", dir) }
			})
			defers(s, k, "read-only", 1000, "read-only file system", func() func() {
				lan.Sh(t, "mount", "-o", "remount,ro", dir)
				return func() { lan.Sh(t, "mount", "-o", "remount,rw", dir) }
			})
		})
	}
}

// TestBoxMissingA49: a home directory, or the mail directory, that isn't there
// may be on a file system that is not mounted: with require-home=yes mail waits, and
// nobody makes it.
func TestBoxMissingA49(t *testing.T) {
	for _, k := range boxKinds {
		t.Run(k.name, func(t *testing.T) {
			s := boxFaults(t, k)
			s.Serve()
			away := func(dir string) func() func() {
				return func() func() {
					if err := os.Rename(dir, s.Path("away")); err != nil {
						t.Fatal(err)
					}
					return func() {
						if err := os.Rename(s.Path("away"), dir); err != nil { // somebody made it
							t.Error(err)
						}
					}
				}
			}
			defers(s, k, "home not mounted", 1000, "mounted", away(s.Path("home", "bob")))
			if k.dir == "mail" {
				defers(s, k, "mail directory missing", 1000, "open the mail directory", away(s.Mail))
			}
		})
	}
}

// TestBoxQuota: EDQUOT of a real quota, which is Btrfs's here, is a full
// mailbox.
func TestBoxQuota(t *testing.T) {
	for _, k := range boxKinds {
		t.Run(k.name, func(t *testing.T) {
			s := boxFaults(t, k)
			dir, image := s.Path(k.dir), s.Path("image")
			lan.Sh(t, "truncate", "-s", "200M", image)
			lan.Sh(t, "mkfs.btrfs", "-q", image)
			lan.Sh(t, "mount", "-o", "loop", image, dir)
			t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
			lan.Sh(t, "chmod", map[bool]string{true: "2775", false: "700"}[k.dir == "mail"], dir)
			lan.Sh(t, "chown", map[bool]string{true: "0:8", false: "2002:2002"}[k.dir == "mail"], dir)
			lan.Sh(t, "btrfs", "quota", "enable", dir)
			s.Serve()
			defers(s, k, "quota", 4_000_000, "dsn=4.2.2", func() func() {
				lan.Sh(t, "btrfs", "qgroup", "limit", "1M", "0/5", dir)
				return func() { lan.Sh(t, "btrfs", "qgroup", "limit", "none", "0/5", dir) }
			})
			if !lan.Says(s.Log, "disk quota exceeded") {
				t.Error("the log does not say that it is the quota")
			}
		})
	}
}

// TestKillWithMaildirsA47 kills processes of the root tree while mail goes into
// Maildirs: what was acknowledged is there whole, and there are no more second
// copies than deliveries that can have been in hand.
func TestKillWithMaildirsA47(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.3", "one.test. IN MX 10 one.test.")
	two := l.Host("two.test")
	s := l.Host("one.test").Install("trusted=10.77.0.2", "clients=50", "mailbox=~/Maildir/")
	k := newKeeper(s, two)
	f := letters.NewFleet(s, two, 6000, "alice@one.test", "carol@one.test")
	k.up()
	f.Write(4, s.IP+":25")
	n := many(20, 500)
	for total := 0; total < n && lan.Pause(t.Context(), letters.Span(20*time.Millisecond, 200*time.Millisecond)); {
		k.start()
		if what := k.kill(4, func() {}); what != "" {
			total++
		}
		k.up()
	}
	f.Stop()
	k.end()
	recovered(k.Site)

	times, copies := map[string]int{}, 0
	for _, user := range []string{"alice", "carol"} {
		for _, text := range lan.InMaildir(t, s.Path("home", user, "Maildir")) {
			d := letters.Read(text)
			if !d.Whole || !f.Known(d.Token) {
				t.Errorf("%s has a letter that is torn or was never sent: %+v", user, d)
			}
			if times[d.Token]++; times[d.Token] > 1 {
				copies++
			}
		}
	}
	for token := range f.Snapshot() {
		if times[token] == 0 {
			t.Errorf("letter %s was acknowledged and is lost", token)
		}
	}
	// Each process that is killed may have had a batch for each user in hand.
	if most := n * 2 * 16; copies > most {
		t.Errorf("%d second copies, at most %d can be explained", copies, most)
	}
	t.Logf("%d killed: %d letters acknowledged, %d second copies", n, len(f.Snapshot()), copies)
}
