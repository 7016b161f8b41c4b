//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// instant is the moment of a kill, while everything of the site stood still.
type instant struct {
	killed   string
	sizes    map[string]int64 // of the mailboxes
	sessions int              // that the next host had seen begin
	pending  map[string]bool  // tokens of letters that the queue has as not delivered
}

// freeze stops all processes of the site, each thread of them, and returns
// them.
func (h *host) freeze() map[int]string {
	h.t.Helper()
	all := h.family()
	for pid := range all {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
			h.t.Fatal(err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		moving := 0
		for pid := range all {
			moving += threadsMoving(pid)
		}
		if moving == 0 {
			return all
		}
		if time.Now().After(end) {
			thaw(all)
			h.t.Fatalf("%d threads don't stop", moving)
		}
	}
}

// thaw lets them go on.
func thaw(all map[int]string) {
	for pid := range all {
		syscall.Kill(pid, syscall.SIGCONT) // one may be dead
	}
}

// threadsMoving counts the threads of a process that are not stopped.
func threadsMoving(pid int) int {
	stats, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	if err != nil {
		return 0
	}
	n := 0
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		state := text[bytes.LastIndexByte(text, ')')+1:]
		if fields := strings.Fields(string(state)); len(fields) > 0 && !strings.Contains("TtZX", fields[0]) {
			n++
		}
	}
	return n
}

// instant looks at the frozen site.
func (s *site) instant(sink *testenv.Sink) instant {
	s.t.Helper()
	now := instant{sizes: map[string]int64{}, pending: map[string]bool{}, sessions: sink.Sessions()}
	for _, e := range readDir(s.t, s.mail) {
		if info, err := e.Info(); err == nil {
			now.sizes[e.Name()] = info.Size()
		}
	}
	for _, e := range readDir(s.t, s.path("queue", "queue")) {
		if token, state := s.slotOf(e.Name()); state == "-" {
			now.pending[token] = true
		}
	}
	return now
}

var (
	queuedTo    = regexp.MustCompile(`(?m)^to (.) `)
	queuedToken = regexp.MustCompile(`(?m)^X-Token: ([a-z0-9]+)$`)
)

// slotOf reads the token and the state of a letter in the queue, which has one
// recipient.
func (s *site) slotOf(id string) (token, state string) {
	s.t.Helper()
	f, err := os.Open(s.path("queue", "queue", id))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 4096)
	n, err := f.Read(buf)
	if err != nil {
		s.t.Fatal(err)
	}
	to, tok := queuedTo.FindSubmatch(buf[:n]), queuedToken.FindSubmatch(buf[:n])
	if to == nil || tok == nil {
		s.t.Fatalf("%s: no recipient or token in %q", id, buf[:n])
	}
	return string(tok[1]), string(to[1])
}

// explain finds the kill for every delivery that was made again, and for every
// torn one: the first copy came before it, the next one after it, and at that
// instant the queue had the letter as not delivered. So what a kill makes again
// lies within what it caught between a delivery and its record (invariant 2 of
// the design). It returns how many deliveries may have been made again: for each
// kill one for each run of neighbours in a mailbox, a batch, and one for each
// letter that went over SMTP.
func explain(t *testing.T, kills []instant, boxes map[string][]delivery, sent []delivery) (allowed int) {
	t.Helper()
	window := make([]int, len(kills)) // letters that it caught
	deliveries := make([]int, len(kills))
	for name, all := range boxes {
		edge := func(k instant) int64 { return edgeOf(all, k.sizes[name]) }
		before := func(d delivery, k instant) bool { return d.from < edge(k) }
		after := func(d delivery, k instant) bool { return d.from >= edge(k) }
		for i, k := range kills {
			at := edge(k)
			n, runs := caught(all, func(d delivery) bool { return d.from < at && (k.pending[d.token] || d.cutAt(k.sizes[name])) })
			window[i] += n
			deliveries[i] += runs
		}
		repeated(t, name, all, kills, before, after)
		for i, d := range all {
			if !d.whole && !anyKill(kills, func(k instant) bool { return d.cutAt(k.sizes[name]) }) {
				t.Errorf("%s: message %d is torn at octet %d, and there no process was killed", name, i, d.to)
			}
		}
	}
	for i, k := range kills {
		n, _ := caught(sent, func(d delivery) bool { return d.session <= k.sessions && k.pending[d.token] })
		window[i] += n
		deliveries[i] += n
	}
	repeated(t, "sink", sent, kills,
		func(d delivery, k instant) bool { return d.session <= k.sessions },
		func(d delivery, k instant) bool { return d.session > k.sessions })
	largest, which := 0, ""
	for i := range kills {
		allowed += deliveries[i]
		if deliveries[i] > largest {
			largest, which = deliveries[i], kills[i].killed
		}
	}
	letters := 0
	for _, n := range window {
		letters += n
	}
	t.Logf("%d kills caught %d deliveries of %d letters between their end and their record, at most %d deliveries at once (%s)",
		len(kills), allowed, letters, largest, which)
	return allowed
}

// edgeOf is where, in the mailbox as it became, the deliveries before an instant
// end at which it had the given size. A message that was being written then may
// have been cut off again, by a master that outlived the server: what came
// later stands in its place.
func edgeOf(all []delivery, size int64) int64 {
	i := sort.Search(len(all), func(i int) bool { return all[i].to >= size })
	if i < len(all) && all[i].whole && all[i].from < size && size < all[i].to {
		return all[i].from
	}
	return size
}

// cutAt says whether a torn delivery was cut off when the mailbox had this size.
func (d delivery) cutAt(size int64) bool { return !d.whole && d.from < size && size <= d.to }

func anyKill(kills []instant, f func(instant) bool) bool {
	for _, k := range kills {
		if f(k) {
			return true
		}
	}
	return false
}

// caught counts the deliveries for which is holds, and their runs of
// neighbours.
func caught(all []delivery, is func(delivery) bool) (n, runs int) {
	last := false
	for _, d := range all {
		now := is(d)
		if now {
			n++
			if !last {
				runs++
			}
		}
		last = now
	}
	return n, runs
}

// repeated checks each further copy of a letter.
func repeated(t *testing.T, name string, all []delivery, kills []instant, before, after func(delivery, instant) bool) {
	t.Helper()
	last := map[string]delivery{}
	for i, d := range all {
		earlier, again := last[d.token]
		if again && d.token != "" && !anyKill(kills, func(k instant) bool {
			return before(earlier, k) && after(d, k) && k.pending[d.token]
		}) {
			t.Errorf("%s: message %d is a further copy of %s, and no kill lay between that delivery and its record", name, i, d.token)
		}
		last[d.token] = d
	}
}
