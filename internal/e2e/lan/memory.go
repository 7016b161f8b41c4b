//go:build e2e

package lan

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// PSS is the proportional share of memory of a process in KiB: its own pages,
// and its part of those that it shares, the binary above all. false: it is gone.
func PSS(pid int) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			return kb, err == nil
		}
	}
	return 0, false
}

// PSS is that of all processes of the binary on the host together, and what
// each has.
func (h *Host) PSS() (sum int, each string) {
	for pid, name := range h.Family() {
		kb, ok := PSS(pid)
		if !ok {
			continue
		}
		sum += kb
		each += fmt.Sprintf(" %s %d", name[strings.LastIndexByte(name, '/')+1:], kb)
	}
	return sum, each
}

// Status is what /proc/PID/status says about memory, in KiB. Peak is the most
// that was resident since the last reset, file pages (the binary itself)
// included; of these Anon is what the process allocated.
type Status struct{ Peak, Anon, File int }

// statusOf reads it; false: the process is gone.
func statusOf(pid int) (Status, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Status{}, false
	}
	var s Status
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		field := map[string]*int{"VmHWM": &s.Peak, "RssAnon": &s.Anon, "RssFile": &s.File}[name]
		if field == nil {
			continue
		}
		if *field, err = strconv.Atoi(strings.Fields(rest)[0]); err != nil {
			return Status{}, false
		}
	}
	return s, s.Peak > 0
}

// Anon is what all processes of the binary on the host together have of memory that
// is no file's, in KiB.
func (h *Host) Anon() (sum int) {
	for pid := range h.Family() {
		s, _ := statusOf(pid)
		sum += s.Anon
	}
	return sum
}

// Meter follows the peaks of all processes of the binary on some hosts. The
// kernel keeps a process's peak, so one late look at a process says all; the
// ticker is there for those that end by themselves.
type Meter struct {
	Hosts []*Host

	mu   sync.Mutex
	Peak map[string]Status // by host and name; the greatest of all processes of one name
}

// Look takes what every process has reached.
func (m *Meter) Look() {
	for _, h := range m.Hosts {
		for pid, name := range h.Family() {
			s, ok := statusOf(pid)
			if !ok {
				continue
			}
			key := h.Name + " " + filepath.Base(name)
			m.mu.Lock()
			old := m.Peak[key]
			m.Peak[key] = Status{max(old.Peak, s.Peak), max(old.Anon, s.Anon), max(old.File, s.File)}
			m.mu.Unlock()
		}
	}
}

// During forgets all peaks, the kernel's too, and returns those of f.
func (m *Meter) During(f func()) map[string]Status {
	for _, h := range m.Hosts {
		for pid := range h.Family() {
			os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // proc(5): reset VmHWM; gone is gone
		}
	}
	m.mu.Lock()
	m.Peak = map[string]Status{}
	m.mu.Unlock()
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			m.Look()
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(end)
	<-done
	m.Look()
	return m.Peak
}
