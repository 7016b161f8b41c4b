//go:build !lite

package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postoffice/internal/testenv"
)

const childEnv = "STORE_CHILD" // the directory of a child of these tests

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	m.Run()
}

// child writes until it is killed, and says what is on disk: each of four writers counts
// in a key of its own.
func child(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("open")
	var out sync.Mutex
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			p := s.Part(fmt.Sprintf("w%d", w))
			for {
				now := 0
				if err := p.Update(context.Background(), "", func(old string, _ bool) (string, bool) {
					now, _ = strconv.Atoi(old)
					now++
					return strconv.Itoa(now), true
				}); err != nil {
					fmt.Println(err)
					return
				}
				out.Lock()
				fmt.Printf("%d %d\n", w, now)
				out.Unlock()
				// ballast, so that tables are written and merged
				if err := p.Put(context.Background(), map[string]string{"/" + strconv.Itoa(now): strings.Repeat("x", 4000)}); err != nil {
					fmt.Println(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// startChild starts a child on a directory, and returns its lines.
func startChild(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(pipe)
}

// TestKill: what was answered before a process is killed is there afterwards.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	var told [4]int
	for cycle := range 12 {
		cmd, lines := startChild(t, dir)
		for n := 0; lines.Scan(); {
			var w, i int
			if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &i); err != nil {
				if lines.Text() != "open" {
					t.Fatal(lines.Text())
				}
				continue
			}
			if told[w] = i; n == 40*cycle { // what it has said by now is in the pipe
				_ = cmd.Process.Signal(syscall.SIGKILL)
			}
			n++
		}
		_ = cmd.Wait()
		s := open(t, dir)
		for w, want := range told {
			v, _, err := s.Part(fmt.Sprintf("w%d", w)).Get(t.Context(), "")
			if got, _ := strconv.Atoi(v); err != nil || got < want || got > want+1 {
				t.Errorf("cycle %d, writer %d: %q, %v, want %d or one more", cycle, w, v, err, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLocked: who comes second is told so at once, in this process and in another, and
// has the store when the first lets go of it.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := startChild(t, dir)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatal(lines.Text())
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	first := open(t, dir)
	set(t, first.Part(""), "k", "v")
	events := make(chan string, 100)
	second := Start(dir, Options{Log: slog.New(toChannel{slog.DiscardHandler, events}), lockedPause: 1})
	defer second.Close()
	if _, _, err := second.Part("").Get(t.Context(), "k"); !errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e == "store open" {
			break
		}
	}
	if v, _, err := second.Part("").Get(t.Context(), "k"); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// toChannel passes on what the log's lines are about.
type toChannel struct {
	slog.Handler
	to chan<- string
}

func (h toChannel) Enabled(context.Context, slog.Level) bool { return true }
func (h toChannel) Handle(_ context.Context, r slog.Record) error {
	h.to <- r.Message
	return nil
}

// failing is a file system whose writes fail while broken says so of the name.
type failing struct {
	vfs.FS
	broken func(name string) error
}

func (f failing) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return failingFile{file, name, f}, nil
}

func (f failing) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name, c)
	if err != nil {
		return nil, err
	}
	return failingFile{file, name, f}, nil
}

type failingFile struct {
	vfs.File
	name string
	fs   failing
}

func (f failingFile) Write(p []byte) (int, error) {
	if err := f.fs.broken(f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f failingFile) SyncData() error {
	if err := f.fs.broken(f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

// TestLost: a disk that can't be written, the log or the tables, ends the store and not
// the process; it is opened again, and what was answered is there.
func TestLost(t *testing.T) {
	for _, kind := range []string{".log", ".sst"} {
		t.Run(kind, func(t *testing.T) {
			var mu sync.Mutex
			broken := false
			setBroken := func(b bool) { mu.Lock(); defer mu.Unlock(); broken = b }
			events := make(chan string, 1000)
			s := Start(t.TempDir(), Options{Log: slog.New(toChannel{slog.DiscardHandler, events}), retryPause: 1, base: failing{vfs.Default, func(name string) error {
				mu.Lock()
				defer mu.Unlock()
				if broken && strings.HasSuffix(name, kind) {
					return syscall.EIO
				}
				return nil
			}}})
			defer s.Close()
			p := s.Part("")
			set(t, p, "k", "answered")
			setBroken(true)
			var err error
			for i := 0; err == nil; i++ {
				err = p.Update(t.Context(), fmt.Sprint(i), to(strings.Repeat("x", 60<<10)))
			}
			if !errors.Is(err, ErrLost) {
				t.Errorf("%v", err)
			}
			setBroken(false)
			for e := range events {
				if e == "store open" {
					break
				}
			}
			set(t, p, "l", "new")
			if v, _, err := p.Get(t.Context(), "k"); v != "answered" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
}

// TestNothingLeft: after Close no goroutine and no descriptor is left.
func TestNothingLeft(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close() // what the first one makes for all
	files, goroutines := testenv.Descriptors(), runtime.NumGoroutine()
	for range 3 {
		s := Start(dir, Options{})
		set(t, s.Part(""), "k", "v")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !testenv.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines && testenv.Descriptors() <= files }) {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d descriptors and %d goroutines, before %d and %d\n%s", testenv.Descriptors(), runtime.NumGoroutine(), files, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
}

// TestModes: the files are the owner's alone, whatever the umask.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	for i := range 100 {
		set(t, s.Part(""), fmt.Sprint(i), strings.Repeat("x", 60<<10))
	}
	s.Close()
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestNoRoomUnderWay: what has no room in the middle of writing gets that of the ballast,
// and then waits: nobody else does, all can be read, and it goes on by itself. A store
// that waits so can be let go of at once.
func TestNoRoomUnderWay(t *testing.T) {
	for _, kind := range []string{".log", ".sst"} {
		t.Run(kind, func(t *testing.T) {
			var full atomic.Bool
			events := make(chan string, 1000)
			dir := t.TempDir()
			o := Options{Log: slog.New(toChannel{slog.DiscardHandler, events}), base: failing{vfs.Default, func(name string) error {
				if full.Load() && strings.HasSuffix(name, kind) {
					return syscall.ENOSPC
				}
				return nil
			}}}
			s, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			p := s.Part("")
			set(t, p, "k", "v")
			fill := func() {
				t.Helper()
				full.Store(true)
				var err error
				for i := 0; err == nil; i++ {
					err = p.Update(t.Context(), fmt.Sprint(i), to(strings.Repeat("x", 60<<10)))
				}
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
			}
			fill()
			if v, _, err := p.Get(t.Context(), "k"); v != "v" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			full.Store(false)
			if !testenv.Eventually(func() bool { return p.Update(t.Context(), "k", to("w")) == nil }) {
				t.Fatal("it doesn't go on")
			}
			fill()
			<-s.life.engine.stuck()
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			full.Store(false)
			if v, _, err := open(t, dir).Part("").Get(t.Context(), "k"); v != "w" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			close(events)
			for e := range events {
				if e == "store lost" {
					t.Error("the store was lost")
				}
			}
		})
	}
}
