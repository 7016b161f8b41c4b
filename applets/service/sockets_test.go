//go:build linux

package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// watched is a run directory with the socket submission, looked at all the time.
type watched struct {
	t    *testing.T
	path string
	run  *RunDir
	log  *testenv.Log
	now  chan net.Listener // the socket, and then each that was bound again
	stop func()
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, path: filepath.Join(t.TempDir(), "run"), log: &testenv.Log{}, now: make(chan net.Listener, 10)}
	var err error
	w.run, err = LockRunDir(w.path, -1)
	testenv.Must(t, err)
	testenv.Must(t, w.run.WritePID())
	l, err := ListenUnix(Submission, w.file(Submission))
	testenv.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s := NewSockets(ctx, SocketsOptions{Listeners: []Listener{l}, Log: slog.New(slog.NewTextHandler(w.log, nil)), LookPause: 5 * time.Millisecond})
	for _, l := range s.Serve(w.serve) {
		w.serve(l)
	}
	s.Watch(w.run)
	w.stop = func() {
		cancel()
		s.Close()
		testenv.Must(t, w.run.Close())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

func (w *watched) file(name string) string { return filepath.Join(w.path, name) }

func (w *watched) serve(l Listener) {
	n, err := net.FileListener(l.File) // l.File stays: the daemon's own
	if err != nil {
		w.t.Error(err)
		return
	}
	w.now <- n
}

// dials tries the newest socket by its name.
func (w *watched) dials() {
	w.t.Helper()
	n := <-w.now
	defer n.Close()
	c, err := net.Dial("unix", w.file(Submission))
	testenv.Must(w.t, err)
	testenv.Must(w.t, c.Close())
	c, err = n.Accept()
	testenv.Must(w.t, err)
	testenv.Must(w.t, c.Close())
}

// TestSocketRemoved: a socket whose name was removed, or leads to another one,
// is bound again, and that is said once for each.
func TestSocketRemoved(t *testing.T) {
	w := watch(t)
	defer w.stop()
	w.dials()
	testenv.Must(t, os.Remove(w.file(Submission)))
	w.dials()
	other, err := net.Listen("unix", w.file("other"))
	testenv.Must(t, err)
	defer other.Close()
	testenv.Must(t, os.Rename(w.file("other"), w.file(Submission)))
	w.dials()
	w.log.Wait(t, `msg="listener bound again" listen=submission`, 2)
	if got := strings.Count(w.log.String(), "\n"); got != 2 {
		t.Errorf("%d lines in the log, want 2", got)
	}
}

// TestRunDirRemoved: the directory, its lock and its pid file are made anew, and
// a second daemon is kept out again.
func TestRunDirRemoved(t *testing.T) {
	w := watch(t)
	w.dials()
	gone := func(dir string) error { return os.Rename(dir, dir+".gone") } // at once: what is removed piece by piece comes back meanwhile
	for i, remove := range []func(string) error{gone, func(dir string) error { return os.Remove(filepath.Join(dir, lockFile)) }} {
		testenv.Must(t, remove(w.path))
		w.log.Wait(t, `msg="run directory made anew"`, i+1)
		if i == 0 {
			w.dials()
		}
		if _, err := LockRunDir(w.path, -1); !errors.Is(err, ErrRunning) {
			t.Errorf("second daemon: %v, want ErrRunning", err)
		}
		if _, err := os.Stat(w.file(PIDFile)); err != nil {
			t.Error(err)
		}
	}
	testenv.Must(t, os.Remove(w.file(PIDFile)))
	w.log.Wait(t, `msg="run directory made anew"`, 3)
	w.stop()
	if entries, err := os.ReadDir(w.path); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v, want the lock alone", entries, err)
	}
}

// TestRunDirTaken: where another daemon was faster, that is said once, and when
// it has gone the directory is ours again.
func TestRunDirTaken(t *testing.T) {
	w := watch(t)
	w.dials()
	other, err := LockRunDir(w.path+".other", -1)
	testenv.Must(t, err)
	testenv.Must(t, unix.Renameat2(unix.AT_FDCWD, w.path, unix.AT_FDCWD, w.path+".other", unix.RENAME_EXCHANGE))
	w.log.Wait(t, `msg="run directory lost"`, 1)
	testenv.Must(t, other.Close())
	w.log.Wait(t, `msg="run directory made anew"`, 1)
	w.dials()
	if got := strings.Count(w.log.String(), "directory lost"); got != 1 {
		t.Errorf("told %d times, want once", got)
	}
	testenv.Must(t, os.Rename(w.path, w.path+".gone"))
	w.stop() // what is gone is no error
}

// TestRunDirOfAnother: at its end a daemon leaves another one's files alone.
func TestRunDirOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	first, err := LockRunDir(path, -1)
	testenv.Must(t, err)
	testenv.Must(t, os.RemoveAll(path))
	second, err := LockRunDir(path, -1)
	testenv.Must(t, err)
	testenv.Must(t, second.WritePID())
	testenv.Must(t, first.Close())
	if _, err := os.Stat(filepath.Join(path, PIDFile)); err != nil {
		t.Error(err)
	}
	testenv.Must(t, second.Close())
}

// TestPortTakenR53: it is tried again until the port is free, and an inherited
// socket is left to the service manager.
func TestPortTakenR53(t *testing.T) {
	taken, err := net.Listen("tcp4", testenv.OwnAddress()+":0")
	testenv.Must(t, err)
	log := &testenv.Log{}
	a := taken.Addr().String()
	l := Listener{Name: "smtp", Network: "tcp4", Address: a}
	done := make(chan error)
	go func() {
		fresh, err := rebind(t.Context(), l, slog.New(slog.NewTextHandler(log, nil)), time.Millisecond, 2*time.Millisecond)
		if err == nil {
			err = fresh.File.Close()
		}
		done <- err
	}()
	log.Wait(t, "listener not bound", 3)
	testenv.Must(t, taken.Close())
	testenv.Must(t, <-done)
	log.Wait(t, "listener bound again", 1)
	if _, err := rebind(t.Context(), Listener{Name: "smtp"}, slog.New(slog.DiscardHandler), firstPause, lastPause); err == nil {
		t.Error("an inherited listener was bound")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := rebind(ctx, l, slog.New(slog.DiscardHandler), firstPause, lastPause); !errors.Is(err, stopped) {
		t.Errorf("%v, want the end of the context", err)
	}
}
