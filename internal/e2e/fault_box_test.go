//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
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
func (k boxKind) letters(s *site) (n int) {
	s.t.Helper()
	var all []delivery
	if strings.HasSuffix(k.setting, "/") {
		for _, text := range inMaildir(s.t, s.path(k.path)) {
			all = append(all, readLetter(text))
		}
		if left, _ := os.ReadDir(s.path(k.path, "tmp")); len(left) > 0 {
			s.t.Errorf("left in tmp/: %v", left)
		}
	} else {
		all = readMailbox(s.t, s.path(k.path))
	}
	for _, d := range all {
		if !d.whole {
			s.t.Errorf("%s has a torn letter", k.name)
		}
	}
	return len(all)
}

// boxFaults is a site whose mailboxes are of one kind.
func boxFaults(t *testing.T, k boxKind) *site {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	return l.host("one.test").install(strings.Fields("minfree=0 " + k.setting)...)
}

// defers breaks something, sends bob a letter and wants it to wait with these
// words in the log; mended, it is delivered once.
func (s *site) defers(k boxKind, fault string, size int, words string, breakIt func() (mend func())) {
	s.t.Helper()
	before := k.letters(s)
	mend := breakIt()
	log, _ := os.ReadFile(s.log)
	x := newLetter("bob@one.test", size)
	for len(x.text) < size/2 {
		x = newLetter("bob@one.test", size)
	}
	if out, err := s.tryApplet(x.text, "sendmail", "-i", "bob@one.test"); err != nil {
		s.t.Fatalf("%s: %v: %s", fault, err, out)
	}
	until(s.t, 30*time.Second, fault+": it is deferred", func() bool {
		now, _ := os.ReadFile(s.log)
		return strings.Contains(string(now[len(log):]), "delivery deferred")
	})
	now, _ := os.ReadFile(s.log)
	if !strings.Contains(string(now[len(log):]), words) || strings.Contains(string(now), "message bounced") {
		s.t.Errorf("%s: %s: the log has not %q:\n%s", k.name, fault, words, now[len(log):])
	}
	mend()
	if got := k.letters(s); got != before {
		s.t.Errorf("%s: %s: %d letters, want still %d", k.name, fault, got, before)
	}
	s.applet("runq")
	s.drained(30 * time.Second)
	if got := k.letters(s); got != before+1 {
		s.t.Errorf("%s: %s, mended: %d letters, want %d", k.name, fault, got, before+1)
	}
}

// TestBoxFaultsA45: on a full or read-only file system the mail of every kind of
// mailbox waits, and nothing is written elsewhere.
func TestBoxFaultsA45(t *testing.T) {
	for _, k := range boxKinds {
		t.Run(k.name, func(t *testing.T) {
			s := boxFaults(t, k)
			dir := s.path(k.dir)
			s.tmpfs(dir, "size=512k,"+k.owner())
			s.serve()
			if out, err := s.tryApplet(newLetter("bob@one.test", 1000).text, "sendmail", "-i", "bob@one.test"); err != nil {
				t.Fatal(err, out)
			}
			s.drained(20 * time.Second)

			s.defers(k, "full disk", 50_000, "dsn=4.2.2", func() func() { return s.fill(dir) })
			s.defers(k, "larger than the disk", 2_000_000, "dsn=4.2.2", func() func() {
				return func() { sh(t, "mount", "-o", "remount,size=8m", dir) }
			})
			s.defers(k, "read-only", 1000, "read-only file system", func() func() {
				sh(t, "mount", "-o", "remount,ro", dir)
				return func() { sh(t, "mount", "-o", "remount,rw", dir) }
			})
		})
	}
}

// TestBoxMissingA49: a home directory, or the mail directory, that isn't there
// may be on a file system that is not mounted: mail waits, and nobody makes it.
func TestBoxMissingA49(t *testing.T) {
	for _, k := range boxKinds {
		t.Run(k.name, func(t *testing.T) {
			s := boxFaults(t, k)
			s.serve()
			away := func(dir string) func() func() {
				return func() func() {
					if err := os.Rename(dir, s.path("away")); err != nil {
						t.Fatal(err)
					}
					return func() {
						if err := os.Rename(s.path("away"), dir); err != nil { // somebody made it
							t.Error(err)
						}
					}
				}
			}
			s.defers(k, "home not mounted", 1000, "mounted", away(s.path("home", "bob")))
			if k.dir == "mail" {
				s.defers(k, "mail directory missing", 1000, "open the mail directory", away(s.mail))
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
			dir, image := s.path(k.dir), s.path("image")
			sh(t, "truncate", "-s", "200M", image)
			sh(t, "mkfs.btrfs", "-q", image)
			sh(t, "mount", "-o", "loop", image, dir)
			t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
			sh(t, "chmod", map[bool]string{true: "2775", false: "700"}[k.dir == "mail"], dir)
			sh(t, "chown", map[bool]string{true: "0:8", false: "2002:2002"}[k.dir == "mail"], dir)
			sh(t, "btrfs", "quota", "enable", dir)
			s.serve()
			s.defers(k, "quota", 4_000_000, "dsn=4.2.2", func() func() {
				sh(t, "btrfs", "qgroup", "limit", "1M", "0/5", dir)
				return func() { sh(t, "btrfs", "qgroup", "limit", "none", "0/5", dir) }
			})
			if !contains(s.log, "disk quota exceeded") {
				t.Error("the log does not say that it is the quota")
			}
		})
	}
}

// TestKillWithMaildirsA47 kills processes of the root tree while mail goes into
// Maildirs: what was acknowledged is there whole, and there are no more second
// copies than deliveries that can have been in hand.
func TestKillWithMaildirsA47(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.3", "one.test. IN MX 10 one.test.")
	two := l.host("two.test")
	s := l.host("one.test").install("trusted=10.77.0.2", "clients=50", "mailbox=~/Maildir/")
	k := newKeeper(s, two)
	f := newFleet(s, two, 6000, "alice@one.test", "carol@one.test")
	k.up()
	f.write(4, s.IP+":25")
	n := many(20, 500)
	for total := 0; total < n && pause(t.Context(), span(20*time.Millisecond, 200*time.Millisecond)); {
		k.start()
		if what := k.kill(4, func() {}); what != "" {
			total++
		}
		k.up()
	}
	f.stop()
	k.end()
	k.recovered()

	times, copies := map[string]int{}, 0
	for _, user := range []string{"alice", "carol"} {
		for _, text := range inMaildir(t, s.path("home", user, "Maildir")) {
			d := readLetter(text)
			if !d.whole || !f.known(d.token) {
				t.Errorf("%s has a letter that is torn or was never sent: %+v", user, d)
			}
			if times[d.token]++; times[d.token] > 1 {
				copies++
			}
		}
	}
	for token := range f.snapshot() {
		if times[token] == 0 {
			t.Errorf("letter %s was acknowledged and is lost", token)
		}
	}
	// Each process that is killed may have had a batch for each user in hand.
	if most := n * 2 * 16; copies > most {
		t.Errorf("%d second copies, at most %d can be explained", copies, most)
	}
	t.Logf("%d killed: %d letters acknowledged, %d second copies", n, len(f.snapshot()), copies)
}
