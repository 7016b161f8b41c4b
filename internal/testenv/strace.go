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
	"strings"
	"syscall"
	"testing"
	"time"
)

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
	cmd := straceCommand(t, ctx, trace, in, append([]string{"--"}, s.Args...))
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

// EveryCall calls run for the first, second, … of each of the calls, until
// two runs in a row were not hit, and returns the number of hits by call.
// run starts on a fresh disk, does its checks itself, and returns what Run
// returned.
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
