//go:build linux

package creds

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/internal/account"
	"postoffice/internal/testenv"
)

// The ids of users, whose uids and gids differ (R16), and of a group of theirs.
const (
	firstUID = 20001
	mailGID  = 20500
	users    = 4
)

func user(i int) account.Account {
	return account.Account{Name: fmt.Sprint("u", i), UID: firstUID + i, GID: firstUID + 100 + i}
}

// TestThreadsIdsA43: files are made with the user's ids, the thread has those
// rights and nothing more, and real and saved ids stay root's.
func TestThreadsIdsA43(t *testing.T) {
	testenv.NeedsRoot(t, "switches ids")
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o777))
	for _, tt := range []struct{ dirGID, want int }{{-1, firstUID + 100}, {mailGID, mailGID}} {
		path := filepath.Join(dir, fmt.Sprint(tt.want))
		err := As(user(0), tt.dirGID, func() error {
			var r, e, s int
			r, e, s = unix.Getresuid()
			if r != 0 || e != firstUID || s != 0 {
				t.Errorf("uids %d %d %d", r, e, s)
			}
			if groups, _ := unix.Getgroups(); len(groups) != 1 || groups[0] != firstUID+100 {
				t.Errorf("groups %v", groups)
			}
			if _, err := syscall.Open("/etc/shadow", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); !errors.Is(err, syscall.EACCES) {
				t.Errorf("/etc/shadow: %v, want EACCES", err)
			}
			fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			return syscall.Close(fd)
		})
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		if int(st.Uid) != firstUID || int(st.Gid) != tt.want {
			t.Errorf("file of %d:%d, want %d:%d", st.Uid, st.Gid, firstUID, tt.want)
		}
	}
	if err := As(user(0), -1, func() error { panic("x") }); err == nil || !strings.Contains(err.Error(), "panic: x") {
		t.Errorf("panic: %v", err)
	}
	foreign := foreignThreads(t)
	if len(foreign) != 0 {
		t.Errorf("threads left with foreign ids: %v", foreign)
	}
}

// foreignThreads lists the threads whose effective ids are not root's, and
// fails if any has a real or saved id that is not.
func foreignThreads(t *testing.T) []string {
	t.Helper()
	var list []string
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err != nil {
			continue // it has just ended
		}
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) != 5 || f[0] != "Uid:" && f[0] != "Gid:" {
				continue
			}
			if f[1] != "0" || f[3] != "0" {
				t.Errorf("thread %s: %q: real or saved id changed", task.Name(), line)
			}
			if f[2] != "0" || f[4] != "0" {
				list = append(list, task.Name()+" "+strings.TrimSpace(line))
			}
			if f[2] != "0" && task.Name() == fmt.Sprint(os.Getpid()) {
				t.Errorf("the process's first thread has %q", line)
			}
		}
	}
	return list
}

// TestThreadsUnderLoad switches ids in 32 goroutines while others, which must
// always be root, make threads by blocking; /proc is watched meanwhile.
func TestThreadsUnderLoad(t *testing.T) {
	testenv.NeedsRoot(t, "switches ids")
	var (
		stop     atomic.Bool
		switches atomic.Int64
		wg       sync.WaitGroup
	)
	for i := range 32 {
		wg.Go(func() {
			for !stop.Load() {
				err := As(user(i%users), []int{-1, mailGID}[i%2], func() error {
					switches.Add(1)
					if e := unix.Geteuid(); e != firstUID+i%users {
						t.Errorf("effective uid %d in the thread of user %d", e, i%users)
					}
					_, err := unix.Poll(nil, 1) // blocks: the runtime makes another thread
					if err == unix.EINTR {
						err = nil
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for !stop.Load() {
				unix.Poll(nil, 1)
				if e, g := unix.Geteuid(), unix.Getegid(); e != 0 || g != 0 {
					t.Errorf("a goroutine that switched nothing has %d:%d", e, g)
				}
			}
		})
	}
	seen := 0
	for seen == 0 || switches.Load() < 20_000 {
		seen += len(foreignThreads(t))
	}
	stop.Store(true)
	wg.Wait()
	if left := foreignThreads(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Logf("%d switches, threads with foreign ids seen %d times", switches.Load(), seen)
}

// TestThreadThatCantSwitchBack has ended when As returns.
func TestThreadThatCantSwitchBack(t *testing.T) {
	testenv.NeedsRoot(t, "switches ids")
	for range 200 {
		var tid int
		err := As(user(0), -1, func() error {
			tid = unix.Gettid()
			// As if the kernel refused: give up the saved id too, on this thread.
			_, _, e := unix.RawSyscall(sysSetresuid, ^uintptr(0), ^uintptr(0), firstUID)
			if e == 0 {
				_, _, e = unix.RawSyscall(sysSetresuid, firstUID, firstUID, firstUID)
			}
			if e != 0 {
				return e
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "be root again") {
			t.Fatalf("%v, want a failure to switch back", err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); err == nil {
			t.Fatalf("thread %d is still there", tid)
		}
	}
}

// TestReduceAfterCheck takes capabilities in all threads right after a thread has
// become another user: one that were still there would have another result, which
// ends the process. Here nothing is taken.
func TestReduceAfterCheck(t *testing.T) {
	testenv.NeedsRoot(t, "switches ids")
	all, err := threadCaps()
	must(t, err)
	for range 500 {
		must(t, CheckSwitch(firstUID))
		if err := setCaps(all.permitted); err != nil && allThreads() { // with cgo it can't
			t.Fatal(err)
		}
	}
}

func BenchmarkAs(b *testing.B) {
	for b.Loop() {
		if err := As(user(0), mailGID, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
