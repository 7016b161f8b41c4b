//go:build linux

package privsep

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// hangingFS hangs in the home directory of u0, and in syncing the mailbox of u2.
type hangingFS struct {
	disk.FS
	release chan struct{}
	homes   atomic.Int64
}

func (h *hangingFS) OpenDir(path string) (disk.Dir, error) {
	if strings.HasSuffix(path, "/hung") {
		h.homes.Add(1)
		<-h.release
	}
	d, err := h.FS.OpenDir(path)
	return hangingDir{d, h}, err
}

type hangingDir struct {
	disk.Dir
	h *hangingFS
}

func (d hangingDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	f, err := d.Dir.Create(name, mode)
	if name == "u2" {
		return hangingFile{f, d.h}, err
	}
	return f, err
}

func (d hangingDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(hangingDir).Dir, name)
}

type hangingFile struct {
	disk.File
	h *hangingFS
}

func (f hangingFile) Sync() error { <-f.h.release; return f.File.Sync() }

// TestA39HungFileSystem: 256 deliveries, all that a server has under way, for a
// user whose home hangs and one whose mailbox can't be synced. Each is answered
// with words, others' mail is delivered meanwhile, and what hung is written once.
func TestA39HungFileSystem(t *testing.T) {
	hung := &hangingFS{release: make(chan struct{})}
	h := start(t, func(o *MasterOptions) {
		hung.FS = o.Mailboxes.FS
		o.Mailboxes.FS = hung
		passwd, err := os.ReadFile(o.Names.Passwd)
		testenv.Must(t, err)
		home := filepath.Join(filepath.Dir(o.Names.Passwd), "hung")
		testenv.Must(t, os.Mkdir(home, 0o755))
		testenv.Must(t, os.Chmod(home, 0o755)) // whatever the umask is
		text := strings.Replace(string(passwd), fmt.Sprintf("u0:x:%d:%d::/nonexistent", firstUID, firstUID+100), fmt.Sprintf("u0:x:%d:%d::%s", firstUID, firstUID+100, home), 1)
		testenv.Must(t, os.WriteFile(o.Names.Passwd, []byte(text), 0o644))
	})
	large, k := h.dial(), h.dial()
	answers := []<-chan string{large.begin("large big u2 %d", 10<<20)}
	for n := range linkDeliveries - 1 {
		c := h.dial()
		answers = append(answers, c.begin("deliver t%d u%d From-%d", n, n%2*2, n))
	}
	k.want("delivered", "deliver other u1 From-other")
	for n, answer := range answers {
		if got := k.answer(answer); !strings.HasPrefix(got, "deferred 4.2.0") && !strings.HasPrefix(got, "deferred 4.3.0") || !strings.Contains(got, "file system does not answer") {
			t.Fatalf("%d: %q", n, got)
		}
	}
	if n := hung.homes.Load(); n != 1 {
		t.Errorf("%d threads hang for one user", n)
	}
	k.want("delivered", "deliver another u1 From-another")
	close(hung.release)
	for n := 0; n < linkDeliveries-1; {
		if got := k.say("deliver t%d u%d From-%d", n, n%2*2, n); strings.Contains(got, errStillRuns.Error()) {
			continue // until it has gone on
		} else if !strings.HasPrefix(got, "delivered") {
			t.Fatalf("%d, asked again: %q", n, got)
		}
		k.want("ok", "recorded t%d", n)
		n++
	}
	for user, others := range map[string]int{"u0": 128, "u2": 127} {
		if n := strings.Count(h.mailbox(user), "From-"); n != others {
			t.Errorf("%s has %d messages, want each of %d once", user, n, others)
		}
	}
}

// TestA39HungLists: lists of some users hang, more than there are processes, and
// 24 of aliases. Others' lists are read and programs run before one of these is
// answered.
func TestA39HungLists(t *testing.T) {
	const hung = maxUsers + 4
	h := start(t, func(o *MasterOptions) { // a busy machine doesn't read one each second
		o.listWait = time.Hour
		addUsers(t, o, hung+1)
	})
	answers := hang(h, hung, perDefault-4)
	k := h.dial()
	for n := range 10 {
		k.want("1 lines", "list u3 alias lines:1")
		k.want("1 lines", "list p%d usermap lines:1", hung)
		k.want("delivered", "run u3 alias job t%d 10", n)
	}
	select {
	case got := <-answers:
		t.Errorf("others waited for %q", got)
	default:
	}
	if n := len(userProcesses(t)); n <= maxUsers || n > maxUsers+maxAside {
		t.Errorf("%d processes, want more than %d, at most %d", n, maxUsers, maxUsers+maxAside)
	}
}

// TestA39MoreHungLists: so many hang that half of what a server has under way is
// taken, and all processes. They are answered, with words, and others have theirs.
func TestA39MoreHungLists(t *testing.T) {
	const hung = maxUsers + maxAside + 20
	h := start(t, func(o *MasterOptions) { addUsers(t, o, hung+1) })
	answers := hang(h, hung, 0)
	k := h.dial()
	for n := range hung - maxQuietLists {
		if got := <-answers; !strings.HasPrefix(got, "0 lines") || !strings.Contains(got, "does not answer") {
			t.Fatalf("%d: %q", n, got)
		}
		if n%8 == 0 {
			k.want("1 lines", "list u3 alias lines:1")
			k.want("1 lines", "list p%d usermap lines:1", hung)
		}
	}
	if n := len(userProcesses(t)); n > maxUsers+maxAside {
		t.Errorf("%d processes, want at most %d", n, maxUsers+maxAside)
	}
}

// addUsers adds accounts p0, p1 and so on.
func addUsers(t *testing.T, o *MasterOptions, n int) {
	passwd, err := os.ReadFile(o.Names.Passwd)
	testenv.Must(t, err)
	for i := range n {
		passwd = fmt.Appendf(passwd, "p%d:x:%d:%d::/nonexistent:/bin/false\n", i, 21000+i, 21000+i)
	}
	testenv.Must(t, os.WriteFile(o.Names.Passwd, passwd, 0o644))
}

// hang asks for lists that hang, of so many users and aliases.
func hang(h *harness, users, aliases int) (answers chan string) {
	answers = make(chan string, users+aliases)
	ask := func(format string, args ...any) {
		k := h.dial()
		go func() { answers <- k.answer(k.begin(format, args...)) }()
	}
	for i := range users {
		ask("list p%d usermap hang", i)
	}
	for i := range aliases {
		ask("list u3 alias hang:%d", i)
	}
	return answers
}

// TestA39HungPrograms: programs of as many users as may run some hang. Others'
// lists are read, without which they get no mail, and their programs wait.
func TestA39HungPrograms(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.placeWait = time.Second; addUsers(t, o, maxRunning) })
	g := h.gate()
	for i := range maxRunning {
		h.dial().begin("run p%d usermap ask t%d 10", i, i)
	}
	for range maxRunning {
		g.next()
	}
	k := h.dial()
	for i := range 3 {
		k.want("1 lines", "list u%d usermap lines:1", i)
		k.want("deferred 4.3.0 the address's program or file can't be used now too many users' processes are busy", "run u%d usermap job x%d 10", i, i)
	}
}

// TestA39HungProgramsOfMany: programs of 40 users hang, and then of as many as may be
// set apart. Those of others run once these have taken long, and lists are read; what
// is beyond that waits, and there are no more processes than that.
func TestA39HungProgramsOfMany(t *testing.T) {
	const most = maxRunning + maxApart
	h := start(t, func(o *MasterOptions) {
		o.placeWait, o.slowRun = 2*time.Second, 50*time.Millisecond
		addUsers(t, o, most)
	})
	g := h.gate()
	var held []*call
	hang := func(from, to int) { // a few at a time, none of which waits long for a place
		for i := from; i < to; i++ {
			h.dial().begin("run p%d usermap ask t%d 10", i, i)
			if (i+1)%4 == 0 {
				for len(held) <= i {
					held = append(held, g.next())
				}
			}
		}
	}
	hang(0, 40)
	k := h.dial()
	for i := range 3 {
		k.want("delivered", "run u%d usermap job a%d 10", i, i)
		k.want("delivered", "run p0 usermap job b%d 10", i) // beside one that hangs
		k.want("1 lines", "list u%d usermap lines:1", i)
	}
	hang(40, most)
	k.want("deferred 4.3.0 the address's program or file can't be used now too many users' processes are busy", "run u0 usermap job c 10")
	k.want("1 lines", "list u0 usermap lines:1")
	if n := len(userProcesses(t)); n > maxUsers+maxApart {
		t.Errorf("%d processes, want at most %d", n, maxUsers+maxApart)
	}
	held[0].say("delivered") // one that was set apart, and another one takes its place
	k.want("delivered", "run u0 usermap job d 10")
	k.want("delivered", "run u1 usermap job e 10")
}

// TestApart: a process is set apart only while all that it runs takes long, and is
// counted for nothing twice.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers(MasterOptions{}, account.NewSystem(account.Names{}))
		p, _, _, err := u.slot(account.Account{UID: 1}, forRun)
		if p == nil || err != nil {
			t.Fatal(err)
		}
		want := func(when string, apart, aside, running int) {
			t.Helper()
			synctest.Wait()
			u.mu.Lock()
			defer u.mu.Unlock()
			if u.apart != apart || u.aside != aside || u.running() != running {
				t.Errorf("%s: %d apart, %d aside, %d run something, want %d, %d, %d", when, u.apart, u.aside, u.running(), apart, aside, running)
			}
		}
		first := u.watchRun(p)
		time.Sleep(slowRun - 1)
		want("before it takes long", 0, 0, 1)
		time.Sleep(time.Nanosecond)
		want("then", 1, 0, 0)
		if q, _, _, _ := u.slot(account.Account{UID: 1}, forRun); q != p {
			t.Errorf("the user's next run is in another process")
		}
		second := u.watchRun(p)
		want("with a new run", 1, 0, 1)
		list := u.watchList(p)
		time.Sleep(slowRun)
		want("when that takes long too, and a list", 1, 0, 0)
		first()
		u.leave(p, forRun)
		want("with one left", 1, 0, 0)
		second()
		u.leave(p, forRun)
		want("with the list alone", 0, 1, 0)
		list()
		want("with nothing", 0, 0, 0)
		u.gone(p)
		want("at the end", 0, 0, 0)
	})
}

// TestHungProcessesKeepNoPlace: processes that can't be ended have no place, 32 at
// most, and of one user two.
func TestHungProcessesKeepNoPlace(t *testing.T) {
	u := newUsers(MasterOptions{}, account.NewSystem(account.Names{}))
	fill := func(from, n int) (got []*userProcess) {
		for i := range n {
			p, _, _, err := u.slot(account.Account{UID: from + i}, forList)
			if p == nil || err != nil {
				t.Errorf("%d: no place: %v", from+i, err)
				break
			}
			got = append(got, p)
		}
		return got
	}
	first := fill(1, maxAside)
	for _, p := range first {
		p.leaving = true
		u.setAside(p)
	}
	second := fill(1000, maxUsers)
	for _, p := range second {
		p.leaving = true
		u.setAside(p) // there are 32 already
	}
	if p, _, _, err := u.slot(account.Account{UID: 5000}, forList); p != nil || err != nil || u.aside != maxAside {
		t.Errorf("%v, %v, %d aside", p, err, u.aside)
	}
	for _, p := range append(first, second...) {
		u.gone(p)
	}
	if len(u.all) != 0 || u.aside != 0 {
		t.Errorf("%d, %d aside, want none", len(u.all), u.aside)
	}
	for range perAside {
		for _, p := range fill(7, 1) {
			p.leaving = true
			u.setAside(p)
		}
	}
	if _, _, _, err := u.slot(account.Account{UID: 7}, forRun); err != errAside {
		t.Errorf("%v, want %v", err, errAside)
	}
}
