//go:build !lite

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// TestFull runs TestInSmallDisk in a mount namespace of its own, where it may mount a
// tmpfs of 40 MiB.
func TestFull(t *testing.T) {
	run := func(a *syscall.SysProcAttr) ([]byte, error) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestInSmallDisk$", "-test.v", "-test.timeout=3m")
		cmd.Env = append(os.Environ(), "SMALL_DISK="+t.TempDir())
		cmd.SysProcAttr = a
		return cmd.CombinedOutput()
	}
	out, err := run(&syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
	if err != nil && len(out) == 0 { // no user namespaces here: only root can
		out, err = run(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	}
	if err != nil || !bytes.Contains(out, []byte("PASS: TestInSmallDisk")) {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// TestInSmallDisk does nothing unless TestFull has started it.
func TestInSmallDisk(t *testing.T) {
	at := os.Getenv("SMALL_DISK")
	if at == "" {
		return
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=40m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, 0)
	dir := filepath.Join(at, "store")
	events := make(chan string, 1000)
	s, err := Open(dir, Options{Log: slog.New(toChannel{slog.DiscardHandler, events})})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Part("")
	set(t, p, "first", "v")
	for cycle := range 3 {
		answered := fillUp(t, p, filepath.Join(at, "mail"), cycle)
		readAll(t, p, cycle, answered)
		if err := p.Update(t.Context(), "first", to("v")); err != nil {
			t.Errorf("what changes nothing: %v", err)
		}
		if cycle == 1 { // it can be closed and opened while there is no room, or says so
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			s = Start(dir, Options{Log: slog.New(toChannel{slog.DiscardHandler, events}), retryPause: time.Millisecond})
			p = s.Part("")
			if err := p.Update(t.Context(), "second", to("v")); !errors.Is(err, ErrFull) {
				t.Errorf("opened without room: %v", err)
			}
		}
		if err := os.Remove(filepath.Join(at, "mail")); err != nil {
			t.Fatal(err)
		}
		if !testenv.Eventually(func() bool { return p.Update(t.Context(), "again", to(fmt.Sprint(cycle))) == nil }) {
			t.Fatalf("cycle %d: it doesn't go on when there is room: %v", cycle, p.Update(t.Context(), "again", to("x")))
		}
		readAll(t, p, cycle, answered)
		var all []string
		if err := p.Scan(t.Context(), "", func(key, _ string) bool { all = append(all, key); return true }); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Delete(t.Context(), all, func(key, _ string) bool { return strings.HasPrefix(key, "c") }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	close(events)
	seen := map[string]int{}
	for e := range events {
		seen[e]++
	}
	if seen["store full"] < 3 || seen["store has room again"] < 2 || seen["store lost"] > 0 {
		t.Errorf("the log: %v", seen)
	}
}

// fillUp changes the store while mail takes all the room there is, until it is refused,
// and returns how many changes were answered. No call takes long, whoever has the room.
func fillUp(t *testing.T, p Part, mail string, cycle int) (answered int) {
	t.Helper()
	f, err := os.Create(mail)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	taken := make(chan error)
	go func() {
		block := make([]byte, 64<<10)
		var err error
		for err == nil {
			_, err = f.Write(block)
		}
		for size := len(block); size > 0; { // and every rest, also that of the ballast
			if _, err = f.Write(block[:size]); err != nil {
				size /= 2
			}
		}
		taken <- err
	}()
	refused := false
	for i := 0; !refused || i%100 != 0; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := p.Update(ctx, fmt.Sprintf("c%d-%06d", cycle, i), to(strings.Repeat("x", 2000)))
		cancel()
		switch {
		case err == nil && !refused:
			answered = i + 1
		case err == nil:
			t.Errorf("change %d is made without room", i)
		case errors.Is(err, ErrFull):
			refused = true
		default:
			t.Fatalf("change %d: %v", i, err)
		}
	}
	if err := <-taken; !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return answered
}

// readAll reads what was answered.
func readAll(t *testing.T, p Part, cycle, answered int) {
	t.Helper()
	for i := range answered {
		if v, _, err := p.Get(t.Context(), fmt.Sprintf("c%d-%06d", cycle, i)); len(v) != 2000 || err != nil {
			t.Fatalf("%d of %d: %q, %v", i, answered, v, err)
		}
	}
}
