//go:build e2e

package faults

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// remaining finds how long a stranger has to wait on.
var remaining = regexp.MustCompile(`\((\d+) seconds\)`)

// TestGreylistClock: after the clock has jumped by anything to either side real sessions find
// the records as they lie there: who had passed passes, who waits waits no longer than a
// first contact, and has waited where the clock says so, and what was decided by hand stays.
// No test can set the clock of a machine, so the records are moved by as much to the other
// side.
func TestGreylistClock(t *testing.T) {
	k := greySite(t)
	k.up()
	const hour = 3600
	records := k.Path("db", "store", "greylist")
	for i, jump := range []int64{-20 * 365 * 24 * hour, -400 * 24 * hour, -3 * hour, -60, 60, 3 * hour, 30 * hour} {
		now := time.Now().Unix()
		at := func(ago int64) int64 { return now - ago - jump }
		key := func(name string) string { return fmt.Sprintf("%s%d@[%s]", name, i, k.from.IP) }
		load := fmt.Sprintf("%s\t%d %d first=%d tries=1\n", key("waits"), at(-hour), at(600), at(600)) +
			fmt.Sprintf("%s\t%d %d first=%d passed=%d tries=2\n", key("passed"), at(20*hour), at(600), at(22*hour), at(20*hour)) +
			fmt.Sprintf("%s\t%d %d\n", key("old"), at(20*hour), at(600)) + // the first postoffice's
			fmt.Sprintf("%s\t%d %d hand\n", key("friend"), at(600), at(600)) +
			fmt.Sprintf("%s\t* %d\n", key("enemy"), at(600))
		if code, _, said := k.Says("", load, "dbm", "load", records); code != 0 {
			t.Fatalf("dbm load: exit %d, %s", code, said)
		}
		for name, waits := range map[string]bool{"waits": jump < hour, "passed": false, "old": false, "friend": false, "enemy": true} {
			took, err := k.answered(fmt.Sprint(name, i))
			switch {
			case err != nil:
				t.Errorf("a jump of %d s: %s: %v", jump, name, err)
			case (took != 0) != waits:
				t.Errorf("a jump of %d s: %s waits for %v, want that it waits: %v", jump, name, took, waits)
			case took > 2*time.Hour: // its address has no name
				t.Errorf("a jump of %d s: %s waits for %v, which is more than a first contact", jump, name, took)
			}
		}
	}
}

// answered sends a letter, and returns how long its sender is to wait; 0: it was taken, and -1
// ns that no time is told.
func (k *keeper) answered(sender string) (time.Duration, error) {
	conn, err := k.from.Dial(k.IP + ":25")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return 0, err
	}
	defer d.Quit()
	err = d.Send(sender+"@client.test", "alice@"+k.Name, "Subject: x\n\n"+sender+"\n")
	if err == nil || !strings.HasPrefix(err.Error(), "refused: 451 4.7.1 ") {
		return 0, err
	}
	if m := remaining.FindStringSubmatch(err.Error()); m != nil {
		n, err := strconv.Atoi(m[1])
		return time.Duration(n) * time.Second, err
	}
	return -1, nil
}

// TestGreylistOneKey: twenty sessions at once with the mail of one sender: all of them wait,
// for one record and until one time, which none of them moves (B29); when that is over all
// twenty at once pass.
func TestGreylistOneKey(t *testing.T) {
	k := greySite(t, "clients-per-address=0")
	k.up()
	const sessions = 20
	all := make([]*lan.Dialogue, sessions)
	for i := range all {
		conn, err := lan.Inside(k.from, func() (net.Conn, error) { return net.DialTimeout("tcp4", k.IP+":25", time.Minute) })
		if err != nil {
			t.Fatal(err)
		}
		if all[i], err = lan.NewDialogue(conn, "client.test"); err != nil {
			t.Fatal(err)
		}
		defer all[i].Quit()
	}
	// at has all sessions send their letter at once, and returns who was asked to wait.
	at := func() (waits int) {
		var mu sync.Mutex
		var work sync.WaitGroup
		begin := make(chan struct{})
		for i, d := range all {
			work.Go(func() {
				<-begin
				err := d.Send("joe@client.test", "alice@one.test", fmt.Sprintf("Subject: x\n\nletter %d\n", i))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
				case strings.HasPrefix(err.Error(), "refused: 451 4.7.1 "):
					waits++
					if err := d.Expect("RSET", "250"); err != nil {
						t.Error(err)
					}
				default:
					t.Errorf("session %d: %v", i, err)
				}
			})
		}
		close(begin)
		work.Wait()
		return waits
	}
	// record is from when the sender passes, and how often it came.
	record := func() (allowed, tries string) {
		code, out, said := k.Says("", "", "dbm", "dump", k.Path("db", "store", "greylist"))
		_, text, ok := strings.Cut(out, "joe@["+k.from.IP+"]\t")
		if code != 0 || !ok || strings.Count(out, "joe@") != 1 {
			t.Fatalf("dbm dump: exit %d, %s%s, want one record", code, out, said)
		}
		text, _, _ = strings.Cut(text, "\n")
		allowed, _, _ = strings.Cut(text, " ")
		_, tries, _ = strings.Cut(text, "tries=")
		return allowed, tries
	}
	if n := at(); n != sessions {
		t.Errorf("%d of %d first contacts wait", n, sessions)
	}
	allowed, tries := record()
	if tries != strconv.Itoa(sessions) {
		t.Errorf("%d contacts at once are counted as %s", sessions, tries)
	}
	if n := at(); n != sessions {
		t.Errorf("%d of %d wait that came too early", n, sessions)
	}
	if moved, tries := record(); moved != allowed || tries != strconv.Itoa(2*sessions) {
		t.Errorf("it passed from %s on, and does from %s on, after %s contacts", allowed, moved, tries)
	}
	now := time.Now().Unix()
	over := fmt.Sprintf("joe@[%s]\t%d %d first=%d tries=%d\n", k.from.IP, now-60, now-600, now-3600, 2*sessions)
	if code, _, said := k.Says("", over, "dbm", "load", k.Path("db", "store", "greylist")); code != 0 {
		t.Fatalf("dbm load: exit %d, %s", code, said)
	}
	if n := at(); n != 0 {
		t.Errorf("%d of %d wait though the time is over", n, sessions)
	}
	record()
}
