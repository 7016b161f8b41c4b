package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// FileCalls are the system calls by which a program of ours changes a disk or
// learns what is on it: each is worth a crash or an error. On an architecture
// that lacks one, it never hits.
var FileCalls = []string{
	"openat2", "openat", "mkdirat", "write", "pwrite64", "pwritev2", "ftruncate", "fallocate",
	"fsync", "fdatasync", "renameat", "renameat2", "linkat", "unlinkat", "fchmod", "fchown",
	"flock", "fcntl", "fstat", "newfstatat", "fstatfs", "getdents64", "pread64", "close",
}

// SocketCalls are those of a conversation.
var SocketCalls = []string{"socket", "connect", "accept4", "read", "write", "sendmsg", "recvmsg", "shutdown", "close"}

// Injection is what is done to one system call. The zero value does nothing.
type Injection struct {
	Call string // as strace names it
	Do   string // "signal=KILL", "error=ENOSPC"
	// When counts the calls of each thread by itself, from 1: the Go runtime
	// moves goroutines between threads, so that two runs with the same number
	// may hit different calls. A "+" after it, set by Onward, is "and from then
	// on".
	When   int
	Onward bool
}

func (i Injection) String() string {
	s := fmt.Sprintf("%s:%s:when=%d", i.Call, i.Do, i.When)
	if i.Onward {
		s += "+"
	}
	return s
}

// Strace is a command to be run under strace(1) with all its children.
type Strace struct {
	Args  []string // the program and its arguments
	Env   []string // nil: the test's
	Dir   string
	Stdin io.Reader
	Limit time.Duration // of the run; 0: a minute

	Within []string // what strace itself is started by, "ip netns exec NAME" say
	User   string   // whose ids the command gets, by name; "": strace's own
}

// Traced is what became of it.
type Traced struct {
	Injection
	Hit    string // the trace's line of the call, "" if it was never reached
	Code   int    // exit code, -1 if a signal ended it
	Stdout string
	Stderr string
	Trace  string // every call traced, with the paths of its descriptors
}

// Run runs the command, does the injection to it and waits for its end. What
// is left of its process group is killed.
func (s Strace) Run(t testing.TB, in Injection) Traced {
	t.Helper()
	if s.Limit == 0 {
		s.Limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), s.Limit)
	defer cancel()
	trace := filepath.Join(t.TempDir(), "trace")
	what := append([]string{"--"}, s.Args...)
	if s.User != "" {
		what = append([]string{"-u", s.User}, what...)
	}
	cmd := straceCommand(t, ctx, trace, in, what)
	if len(s.Within) > 0 {
		path, err := exec.LookPath(s.Within[0])
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, append(slices.Clone(s.Within), cmd.Args...)
	}
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Env, s.Dir, s.Stdin, &stdout, &stderr
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v under %v did not end in %v\n%s", s.Args, in, s.Limit, stderr.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("strace: %v", err)
	}
	out := Traced{Injection: in, Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	out.read(t, trace)
	return out
}

// straceCommand is strace's command line. A process group of its own makes it
// and its children easy to end.
func straceCommand(t testing.TB, ctx context.Context, trace string, in Injection, what []string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: install strace", err)
	}
	args := []string{"-f", "-qq", "-y", "-s", "64", "-o", trace}
	if in.Call != "" {
		args = append(args, "-e", "trace="+in.Call, "-e", "inject="+in.String())
	} else {
		args = append(args, "-e", "trace=%file,%desc")
	}
	cmd := exec.CommandContext(ctx, path, append(args, what...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// read finds the injected call in the trace.
func (r *Traced) read(t testing.TB, trace string) {
	t.Helper()
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	r.Trace = string(data)
	r.Hit = hit(r.Trace, r.Call, strings.Contains(r.Do, "signal=KILL"))
}

// hit is the line of the injected call: strace marks those it makes fail, and
// one that was killed has no result. A call that other threads' lines
// interrupt is in two lines, of which the first has the path.
func hit(trace, call string, killed bool) string {
	begun := map[string]string{} // by thread
	for line := range strings.Lines(trace) {
		line = strings.TrimSpace(line)
		thread, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, call+"(") {
			begun[thread] = line
		}
		dead := killed && strings.HasSuffix(rest, "= ?") && begun[thread] != ""
		if dead || strings.HasSuffix(rest, "(INJECTED)") {
			return begun[thread]
		}
	}
	return ""
}

// Attach does the injection to a process that runs already, and to all its
// threads and children, from the moment it returns until stop is called or the
// test ends. The counts begin with it.
func Attach(t testing.TB, pid int, in Injection) (stop func() Traced) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := straceCommand(t, t.Context(), trace, in, []string{"-p", fmt.Sprint(pid)})
	cmd.Args = slices.DeleteFunc(cmd.Args, func(a string) bool { return a == "-qq" }) // it says when it is attached
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("strace: %v", err)
	}
	stop = sync.OnceValue(func() Traced {
		_ = cmd.Process.Signal(syscall.SIGINT) // detaches
		// strace 6.1 waits for ever for a thread that was killed in the midst of a call.
		giveUp := time.AfterFunc(500*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // its code is the signal
		giveUp.Stop()
		out := Traced{Injection: in, Code: -1}
		out.read(t, trace)
		return out
	})
	t.Cleanup(func() { stop() })
	var words []byte
	for buf := make([]byte, 1); !bytes.Contains(words, []byte("attached")); {
		n, err := said.Read(buf)
		if err != nil {
			t.Fatalf("strace -p %d: %v: %s", pid, err, words)
		}
		words = append(words, buf[:n]...)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }() // ends with strace
	return stop
}

// EveryCall calls run for the first, second, … of each of the calls, until
// two runs in a row were not hit, and returns the number of hits by call.
// run starts on a fresh disk, does its checks itself, and returns what Run
// or Attach returned.
func EveryCall(t testing.TB, calls []string, do string, onward bool, run func(in Injection) Traced) map[string]int {
	t.Helper()
	hits := map[string]int{}
	for _, call := range calls {
		for when, missed := 1, 0; missed < 2; when++ {
			if run(Injection{Call: call, Do: do, When: when, Onward: onward}).Hit == "" {
				missed++
				continue
			}
			missed = 0
			hits[call]++
		}
	}
	t.Logf("strace %s: %v", do, hits)
	return hits
}
