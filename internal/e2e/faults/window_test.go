//go:build e2e

package faults

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"sort"
	"syscall"
	"testing"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
	"postoffice/internal/testenv"
)

// instant is the moment of a kill, while everything of the site stood still.
type instant struct {
	killed   string
	sizes    map[string]int64 // of the mailboxes
	sessions int              // that the next host had seen begin
	pending  map[string]bool  // tokens of letters that the queue has as not delivered
	calls    map[string]bool  // tokens of letters that a sendmail was sending
	dropped  map[string]bool  // tokens of letters that lay in maildrop/
}

// freeze stops all processes of the site, each thread of them, and returns
// them.
func freeze(h *lan.Host) map[int]string {
	h.T.Helper()
	all := h.Family()
	if err := testenv.Stop(slices.Collect(maps.Keys(all))...); err != nil {
		thaw(all)
		h.T.Fatal(err)
	}
	return all
}

// thaw lets them go on.
func thaw(all map[int]string) {
	for pid := range all {
		syscall.Kill(pid, syscall.SIGCONT) // one may be dead
	}
}

// lookAt looks at the frozen site.
func lookAt(s *lan.Site, sink *testenv.Sink, calls map[string]bool) instant {
	s.T.Helper()
	now := instant{sizes: map[string]int64{}, pending: map[string]bool{}, calls: calls, dropped: map[string]bool{}, sessions: sink.Sessions()}
	for _, e := range lan.ReadDir(s.T, s.Mail) {
		if info, err := e.Info(); err == nil {
			now.sizes[e.Name()] = info.Size()
		}
	}
	for _, e := range lan.ReadDir(s.T, s.Path("queue", "queue")) {
		if token, state := slotOf(s, e.Name()); state == "-" {
			now.pending[token] = true
		}
	}
	drops, _ := os.ReadDir(s.Path("queue", "maildrop")) // an ordinary user's queue has none
	for _, e := range drops {
		if text, err := os.ReadFile(s.Path("queue", "maildrop", e.Name())); err == nil {
			for _, token := range queuedToken.FindAllSubmatch(text, -1) {
				now.dropped[string(token[1])] = true
			}
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
func slotOf(s *lan.Site, id string) (token, state string) {
	s.T.Helper()
	f, err := os.Open(s.Path("queue", "queue", id))
	if err != nil {
		s.T.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 4096)
	n, err := f.Read(buf)
	if err != nil {
		s.T.Fatal(err)
	}
	to, tok := queuedTo.FindSubmatch(buf[:n]), queuedToken.FindSubmatch(buf[:n])
	if to == nil || tok == nil {
		s.T.Fatalf("%s: no recipient or token in %q", id, buf[:n])
	}
	return string(tok[1]), string(to[1])
}

// explain finds the kill for every delivery that was made again, and for every
// torn one: the first copy came before it, the next one after it, and at that
// instant the queue had the letter as not delivered. So what a kill makes again
// lies within what it caught between a delivery and its record (docs/durability.md).
// What was taken twice, with two queue IDs, is another thing: a sendmail sent it
// again, because its server was killed before it had acknowledged it, or a server was
// killed between taking it from maildrop/ and removing it there.
// It returns how many deliveries may have been made again: for each
// kill one for each run of neighbours in a mailbox, a batch, and one for each
// letter that went over SMTP; and one for each letter that was taken again.
func explain(t *testing.T, kills []instant, boxes map[string][]letters.Delivery, sent []letters.Delivery) (allowed int) {
	t.Helper()
	window := make([]int, len(kills)) // letters that it caught
	deliveries := make([]int, len(kills))
	taken := 0 // again, from a sendmail
	for name, all := range boxes {
		edge := func(k instant) int64 { return edgeOf(all, k.sizes[name]) }
		before := func(d letters.Delivery, k instant) bool { return d.From < edge(k) }
		after := func(d letters.Delivery, k instant) bool { return d.From >= edge(k) }
		for i, k := range kills {
			at := edge(k)
			n, runs := caught(all, func(d letters.Delivery) bool { return d.From < at && (k.pending[d.Token] || cutAt(d, k.sizes[name])) })
			window[i] += n
			deliveries[i] += runs
		}
		taken += repeated(t, name, all, kills, before, after)
		for i, d := range all {
			if !d.Whole && !anyKill(kills, func(k instant) bool { return cutAt(d, k.sizes[name]) }) {
				t.Errorf("%s: message %d is torn at octet %d, and there no process was killed", name, i, d.To)
			}
		}
	}
	for i, k := range kills {
		n, _ := caught(sent, func(d letters.Delivery) bool { return d.Session <= k.sessions && k.pending[d.Token] })
		window[i] += n
		deliveries[i] += n
	}
	taken += repeated(t, "sink", sent, kills,
		func(d letters.Delivery, k instant) bool { return d.Session <= k.sessions },
		func(d letters.Delivery, k instant) bool { return d.Session > k.sessions })
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
	t.Logf("%d kills caught %d deliveries of %d letters between their end and their record, at most %d deliveries at once (%s); %d letters were taken again",
		len(kills), allowed, letters, largest, which, taken)
	return allowed + taken
}

// edgeOf is where, in the mailbox as it became, the deliveries before an instant
// end at which it had the given size. A message that was being written then may
// have been cut off again, by a master that outlived the server: what came
// later stands in its place.
func edgeOf(all []letters.Delivery, size int64) int64 {
	i := sort.Search(len(all), func(i int) bool { return all[i].To >= size })
	if i < len(all) && all[i].Whole && all[i].From < size && size < all[i].To {
		return all[i].From
	}
	return size
}

// cutAt says whether a torn delivery was cut off when the mailbox had this size.
func cutAt(d letters.Delivery, size int64) bool { return !d.Whole && d.From < size && size <= d.To }

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
func caught(all []letters.Delivery, is func(letters.Delivery) bool) (n, runs int) {
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

// repeated checks each further copy of a letter and returns how many were taken
// again from a sendmail.
func repeated(t *testing.T, name string, all []letters.Delivery, kills []instant, before, after func(letters.Delivery, instant) bool) (taken int) {
	t.Helper()
	last := map[string]letters.Delivery{} // by queue ID
	ids := map[string][]string{}          // by token
	for i, d := range all {
		if d.Token == "" {
			continue
		}
		earlier, again := last[d.ID]
		last[d.ID] = d
		if again {
			if !anyKill(kills, func(k instant) bool { return before(earlier, k) && after(d, k) && k.pending[d.Token] }) {
				t.Errorf("%s: message %d is a further copy of %s, %s, and no kill lay between that delivery and its record", name, i, d.Token, d.ID)
			}
			continue
		}
		ids[d.Token] = append(ids[d.Token], d.ID)
		if n := len(ids[d.Token]); n > 1 {
			taken++
			if !anyKill(kills, func(k instant) bool { return k.calls[d.Token] || k.dropped[d.Token] }) {
				t.Errorf("%s: message %d, %s, was taken %d times, as %v, and no process was killed while a sendmail sent it or it lay in maildrop/", name, i, d.Token, n, ids[d.Token])
			}
		}
	}
	return taken
}
