//go:build linux

package privsep

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"postoffice/internal/testenv"
)

// helpers are processes that never end by themselves.
type helpers struct {
	mu  sync.Mutex // guards what follows
	all []int
}

func (h *helpers) start(context.Context) (Helping, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return Helping{}, err
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		return Helping{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, cmd.Process.Pid)
	return Helping{Links: []*os.File{r, w}, PID: cmd.Process.Pid, Ended: ended, Kill: func() { cmd.Process.Kill() }}, nil
}

// pids are those of all that were started.
func (h *helpers) pids() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int(nil), h.all...)
}

// TestHelperHangs: a process that reads hashes and that the server has left, since it
// answers nobody, is killed when the server asks for another one, and the last one when its
// server ends; one that ended by itself is in nobody's way.
func TestHelperHangs(t *testing.T) {
	var all helpers
	h := start(t, func(o *MasterOptions) {
		o.Auth = Helper{Missing: func() string { return "" }, Start: all.start}
	})
	k := h.dial()
	k.want("2 <nil>", "auth")
	k.want("2 <nil>", "auth")
	gone(t, all.pids()[:1])
	if !testenv.Eventually(func() bool {
		return strings.Contains(h.log.String(), `"auth ended"`) && strings.Contains(h.log.String(), errLeft.Error())
	}) {
		t.Errorf("the log doesn't say so: %s", h.log.String())
	}
	if len(all.pids()) != 2 {
		t.Fatalf("processes %v, want two", all.pids())
	}
	p, err := os.FindProcess(all.pids()[1])
	testenv.Must(t, err)
	testenv.Must(t, p.Kill())
	gone(t, all.pids())
	k.want("2 <nil>", "auth")
	h.dial().say("frame ff") // ends the server
	gone(t, all.pids())
	if n := strings.Count(h.log.String(), `"auth ended"`); n != 2 {
		t.Errorf("%d ends are logged: %s", n, h.log.String())
	}
}
