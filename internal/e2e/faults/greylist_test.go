//go:build e2e

package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// greySite is a site with a greylist, and a host of strangers.
func greySite(t *testing.T, settings ...string) *keeper {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	s := l.Host("one.test").Install(append(settings, "greylist=on")...)
	k := newKeeper(s, l.Host("client.test"))
	k.from.Many("10.128.0.0/9", s.Host)
	return k
}

// stranger sends a letter of a sender's in a session of its own. waits: it was asked to
// come again, by the greylist; else it was taken.
func (k *keeper) stranger(sender string) (waits bool, err error) {
	return k.strangerAt(k.from.IP, sender)
}

// strangerAt is stranger from one of the addresses of the client's host.
func (k *keeper) strangerAt(ip, sender string) (waits bool, err error) {
	conn, err := lan.Inside(k.from, func() (net.Conn, error) {
		d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		return d.Dial("tcp4", k.IP+":25")
	})
	if err != nil {
		return false, err
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return false, err
	}
	defer d.Quit()
	err = d.Send(sender+"@client.test", "alice@"+k.Name, "Subject: x\n\n"+sender+"\n")
	if err != nil && strings.HasPrefix(err.Error(), "refused: 451 4.7.1 ") {
		return true, nil
	}
	return false, err
}

// logged is what the log has.
func (k *keeper) logged() string {
	text, err := os.ReadFile(k.Log)
	if err != nil {
		k.T.Fatal(err)
	}
	return string(text)
}

// strangers are those who write one after the other, each time somebody else.
type strangers struct {
	mu     sync.Mutex // guards what follows
	waited []string   // who was asked to come again, and so has a record
	taken  []string   // whose mail was taken at once
	failed error      // of what was neither
	last   string     // who came last, and has an answer
	stop   chan struct{}
	work   sync.WaitGroup
}

// write has n clients write until stop is called. Where the server may be gone a session
// that breaks off is no failure, and its sender has no answer.
func (k *keeper) write(n int, name string, mayBreak bool) *strangers {
	s := &strangers{stop: make(chan struct{})}
	for w := range n {
		s.work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-s.stop:
					return
				default:
				}
				sender := fmt.Sprintf("%s%d-%d", name, w, i)
				waits, err := k.strangerAt(fmt.Sprintf("10.128.%d.%d", w, 1+i/200%250), sender) // one address has 1,000 senders a day
				s.note(sender, waits, err, mayBreak)
			}
		})
	}
	k.T.Cleanup(s.end)
	return s
}

func (s *strangers) note(sender string, waits bool, err error, mayBreak bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && mayBreak && !strings.HasPrefix(err.Error(), "refused: "):
		return
	case err != nil:
		s.failed = errors.Join(s.failed, fmt.Errorf("%s: %w", sender, err))
	case waits:
		s.waited = append(s.waited, sender)
	default:
		s.taken = append(s.taken, sender)
	}
	s.last = sender
}

// counts are how many waited and how many were taken.
func (s *strangers) counts() (waited, taken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waited), len(s.taken)
}

func (s *strangers) end() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// more waits until so many more strangers waited, or were taken.
func (s *strangers) more(t *testing.T, waited, taken int) {
	t.Helper()
	w, k := s.counts()
	lan.Until(t, time.Minute, fmt.Sprintf("%d more strangers wait and %d more are taken", waited, taken), func() bool {
		waits, takes := s.counts()
		return waits >= w+waited && takes >= k+taken
	})
}

// TestGreylistFull: the disk of the store is filled to its last octet while strangers write
// all the time. Each of them gets an answer; while there is no room new ones are taken, or
// deferred where greylist-store-failed says so, who was known before is judged as before,
// the log says each thing once, no process ends, and all goes on by itself.
func TestGreylistFull(t *testing.T) {
	for _, failed := range []string{"pass", "defer"} {
		t.Run(failed, func(t *testing.T) { greylistFull(t, failed) })
	}
}

func greylistFull(t *testing.T, failed string) {
	k := greySite(t, "greylist-store-failed="+failed)
	k.Tmpfs(k.Path("db"), "size=40m,mode=755")
	k.up()
	before := k.Staff()
	all := k.write(4, "s", false)
	all.more(t, 20, 0)
	if waits, err := k.stranger("known"); !waits || err != nil {
		t.Fatalf("a first contact: waits is %v, %v", waits, err)
	}
	if code, _, said := k.Says("", "", "authexpire", "-a", "friend@client.test", "-b", "enemy@client.test"); code != 0 {
		t.Fatalf("authexpire: exit %d, %s", code, said)
	}
	room := k.Fill(k.Path("db"))
	if failed == "defer" {
		lan.Until(t, time.Minute, "a stranger is deferred", func() bool {
			_, err := k.stranger("unknown")
			return err != nil && strings.HasPrefix(err.Error(), "refused: 451 4.3.0 ")
		})
		all.mu.Lock()
		all.failed = nil // those who came meanwhile were deferred too
		all.mu.Unlock()
	} else {
		all.more(t, 0, 40)
	}
	for sender, wants := range map[string]bool{"known": true, "enemy": true, "friend": false} {
		if waits, err := k.stranger(sender); waits != wants || err != nil {
			t.Errorf("without room: %s waits is %v, %v, want %v", sender, waits, err, wants)
		}
	}
	if code, out, said := k.Says("", "", "authexpire", "-e", "known@client.test"); code != 0 || !strings.Contains(out, "waits until") {
		t.Errorf("without room: authexpire -e: exit %d, %s%s", code, out, said)
	}
	if code, _, said := k.Says("", "", "authexpire", "-a", "known@client.test"); code != 75 || !strings.Contains(said, "free some on its disk") {
		t.Errorf("without room: authexpire -a: exit %d, %s", code, said)
	}
	room()
	all.more(t, 20, 0)
	lan.Until(t, time.Minute, "the log says that it is over", func() bool { return lan.Contains(k.Log, "greylist asked again") })
	all.end()
	if all.failed != nil && failed == "pass" {
		t.Error(all.failed)
	}
	log := k.logged()
	for event, n := range map[string]int{"store full": 1, "store has room again": 1, "greylist not asked": 1, "greylist asked again": 1, "store lost": 0, "store damaged": 0} {
		if got := strings.Count(log, ": "+event+" ") + strings.Count(log, ": "+event+"\n"); got != n {
			t.Errorf("%d lines of the log say %q, want %d", got, event, n)
		}
	}
	if after := k.Staff(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the processes were %v, and are %v", before, after)
	}
	k.remembers(all.waited)
}

// remembers holds the store to the senders who were asked to come again, on the files.
func (k *keeper) remembers(senders []string) {
	k.T.Helper()
	k.end()
	code, out, said := k.Says("", "", "authexpire", "-lw")
	if code != 0 {
		k.T.Fatalf("authexpire -l: exit %d, %s", code, said)
	}
	lost := 0
	for _, s := range senders {
		if !strings.Contains(out, "\n"+s+"@[") && !strings.HasPrefix(out, s+"@[") {
			lost++
		}
	}
	if lost > 0 || len(senders) == 0 {
		k.T.Errorf("of %d senders who were asked to come again %d are not remembered", len(senders), lost)
	}
	k.T.Logf("%d senders were asked to come again, and are remembered", len(senders))
}

// TestGreylistKilled: kill -9 of all processes at once while strangers write: whoever was
// asked to come again is remembered.
func TestGreylistKilled(t *testing.T) {
	k := greySite(t)
	k.up()
	all := k.write(8, "s", true)
	for range many(5, 200) {
		all.more(t, 15, 0)
		family := freeze(k.Host)
		for pid := range family {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
		}
		<-k.done
		k.Gone(time.Minute)
		k.up()
	}
	all.end()
	if all.failed != nil {
		t.Error(all.failed)
	}
	k.remembers(all.waited)
}

// TestGreylistHandOver: a server is told to end while one that shares its store waits for
// that. The first one lets go at once, though a session of its own goes on to its end, and
// the other one knows whom the first has asked to come again.
func TestGreylistHandOver(t *testing.T) {
	k := greySite(t)
	next := newKeeper(k.LAN.Host("two.test").Install("greylist=on", "db-dir="+k.Path("db")), k.from)
	k.up()
	if waits, err := k.stranger("known"); !waits || err != nil {
		t.Fatalf("a first contact: waits is %v, %v", waits, err)
	}
	if code, _, said := k.Says("", "", "authexpire", "-a", "friend@client.test"); code != 0 {
		t.Fatalf("authexpire: exit %d, %s", code, said)
	}
	conn, err := k.from.Dial(k.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	for _, line := range []string{"250 MAIL FROM:<friend@client.test>", "250 RCPT TO:<alice@one.test>", "354 DATA"} {
		if err == nil {
			err = d.Expect(line[4:], line[:3])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	next.up()
	lan.Until(t, time.Minute, "the next server waits for the store", func() bool { return lan.Contains(next.Log, "another process has the store") })
	if waits, err := next.stranger("known"); waits || err != nil {
		t.Errorf("before it has the store: waits is %v, %v, want that it is let through", waits, err)
	}
	if err := k.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	lan.Until(t, time.Minute, "the next server has the store", func() bool { return lan.Contains(next.Log, "info: store open ") })
	if !k.running() {
		t.Error("the first server has ended before its session")
	}
	if waits, err := next.stranger("known"); !waits || err != nil {
		t.Errorf("when it has the store: waits is %v, %v, want that it waits", waits, err)
	}
	if err := d.Expect("Subject: x\r\n\r\n.", "250"); err != nil {
		t.Errorf("the session of the first server: %v", err)
	}
	k.Gone(time.Minute)
	if waits, err := next.stranger("new"); !waits || err != nil {
		t.Errorf("a stranger of the next server: waits is %v, %v", waits, err)
	}
}

// damages are what becomes of a file.
var damages = []struct {
	name string
	do   func(path string) error
}{
	{"noise", func(path string) error {
		return change(path, func([]byte) []byte { return []byte(strings.Repeat("noise", 1000)) })
	}},
	{"cut in half", func(path string) error { return change(path, func(b []byte) []byte { return b[:len(b)/2] }) }},
	{"an octet in the middle", func(path string) error {
		return change(path, func(b []byte) []byte {
			if len(b) > 0 {
				b[len(b)/2] ^= 0x55
			}
			return b
		})
	}},
	{"its first quarter noise", func(path string) error {
		return change(path, func(b []byte) []byte { copy(b[:len(b)/4], strings.Repeat("noise", len(b))); return b })
	}},
	{"empty", func(path string) error { return change(path, func([]byte) []byte { return nil }) }},
	{"gone", os.Remove},
}

func change(path string, to func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, to(b), 0o600)
}

// TestGreylistDamaged: each file of the store is damaged in turn, and the server started on
// it. It takes mail and lives; what it says of damage is the command that mends it, which
// config --check says too and which works as it stands, while the server runs; then
// strangers wait again.
func TestGreylistDamaged(t *testing.T) {
	k := greySite(t)
	k.up()
	all := k.write(4, "s", false)
	all.more(t, 60, 0)
	all.end()
	k.end()
	whole := k.Path("whole")
	store := k.Path("db", "store")
	lan.Sh(t, "cp", "-a", store, whole)
	var files []string
	err := filepath.WalkDir(whole, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			name, _ := filepath.Rel(whole, path)
			files = append(files, name)
		}
		return err
	})
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	for i, name := range files {
		for j, d := range damages {
			if *faults != "long" && (i+j)%len(damages) > 1 {
				continue
			}
			t.Run(name+" "+d.name, func(t *testing.T) {
				c := *k
				c.Site = k.On(t)
				lan.Sh(t, "rm", "-rf", store)
				lan.Sh(t, "cp", "-a", whole, store)
				if err := d.do(filepath.Join(store, name)); err != nil {
					t.Fatal(err)
				}
				c.damaged(all.waited[0])
			})
		}
	}
}

// damaged starts a server on a store that is damaged.
func (k *keeper) damaged(known string) {
	t := k.T
	if err := os.Truncate(k.Log, 0); err != nil {
		t.Fatal(err)
	}
	mend := "postoffice dbm -d " + k.Path("db", "store") + " mend"
	_, _, before := k.Says("", "", "config", "--check")
	k.up()
	defer k.end()
	for _, sender := range []string{known, "new", "new"} {
		if _, err := k.stranger(sender); err != nil {
			t.Errorf("%s: %v", sender, err)
		}
	}
	log := k.logged()
	told := strings.Contains(log, mend)
	code, _, checked := k.Says("", "", "config", "--check")
	if strings.Contains(checked, mend) != told || strings.Contains(before, mend) && !told {
		t.Errorf("config --check: exit %d, %s\nbefore the start %s\nand the server's log:\n%s", code, checked, before, log)
	}
	if !told {
		if waits, err := k.stranger("another"); !waits || err != nil {
			t.Errorf("the log names nothing to mend, and a stranger is let through: waits is %v, %v\n%s", waits, err, log)
		}
		return
	}
	argv := strings.Fields(mend)
	if code, out, said := k.Says("", "", append([]string{argv[1]}, argv[2:]...)...); code != 0 {
		t.Fatalf("%q: exit %d, %s%s", mend, code, out, said)
	}
	lan.Until(t, time.Minute, "strangers wait again", func() bool {
		waits, err := k.stranger("after")
		return waits && err == nil
	})
}
