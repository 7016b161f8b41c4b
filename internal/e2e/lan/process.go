//go:build e2e

package lan

import (
	"bufio"
	"bytes"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Start starts a server on the host; the test ends it with SIGTERM, and with
// SIGKILL where that does not help within 25 s.
func (h *Host) Start(cmd *exec.Cmd) *Process {
	h.T.Helper()
	p := &Process{Cmd: cmd, Done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.T.Fatalf("%s: %v: %v", h.Name, cmd.Args, err)
	}
	go func() { cmd.Wait(); close(p.Done) }()
	h.T.Cleanup(func() {
		p.Stop()
		if h.T.Failed() {
			h.T.Logf("%s printed:\n%s", cmd.Args, Tail(p.out.String(), 60))
		}
	})
	return p
}

// Process is a server that a test started.
type Process struct {
	Cmd  *exec.Cmd
	out  Buffer
	Done chan struct{}
}

// Output is what the process has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Stop ends the process and waits for it.
func (p *Process) Stop() {
	p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
		return
	case <-time.After(25 * time.Second):
	}
	syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	<-p.Done
}

// Buffer is a bytes.Buffer that a process writes while a test reads.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends what a process writes.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Hold starts a command that prints "ready" and then reads its standard input to
// the end, which comes with the end of the test; it returns its process ID. What
// holds namespaces is such a command.
func Hold(t *testing.T, cmd *exec.Cmd) (pid int) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, complaint.String())
	}
	return cmd.Process.Pid
}
