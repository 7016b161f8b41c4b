package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if err := RunTraced(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(126)
	}
	os.Exit(m.Run())
}

// runTraced runs TestStraceProgram with a fault.
func runTraced(t *testing.T, f Fault) (calls []Call, hit *Call, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := traced(t)
	args := append(TracePrefix(exe), s.Args...)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env, cmd.Stdin = s.Env, s.Stdin
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tr := NewTracer(t, cmd.Process.Pid, exe, f)
	_ = cmd.Wait() // its code says it
	calls, hit = tr.Seen()
	return calls, hit, cmd.ProcessState.ExitCode()
}

// TestTracer has each sync of a program be its last call, or fail, in turn.
func TestTracer(t *testing.T) {
	calls, _, code := runTraced(t, Fault{})
	var syncs []Call
	for _, c := range calls {
		if strings.Contains(c.Object, "anon_inode") {
			t.Errorf("%v belongs to the runtime", c)
		}
		if c.Name == "fsync" {
			syncs = append(syncs, c)
		}
	}
	if code != 0 || len(syncs) != 3 {
		t.Fatalf("without a fault: exit code %d, syncs %v, want 0 and 3", code, syncs)
	}
	for _, f := range Faults(syncs) {
		_, hit, code := runTraced(t, f)
		want := 3 // another error
		switch f.Errno {
		case 0:
			want = -1
		case syscall.ENOSPC:
			want = 75
		}
		if code != want || hit == nil || hit.N != f.N || !strings.HasSuffix(hit.Object, fmt.Sprint("/", f.N-1)) {
			t.Errorf("%v: exit code %d, want %d; hit %v", f, code, want, hit)
		}
	}
}

// TestTracerReset: a connection whose call gives ECONNRESET is broken for its
// other end as well.
func TestTracerReset(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	reset(os.Getpid(), fds[0])
	if n, err := syscall.Read(fds[1], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d octets, %v, want its end", n, err)
	}
}
