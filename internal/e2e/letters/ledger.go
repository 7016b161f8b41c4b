//go:build e2e

package letters

import (
	"maps"
	"slices"
	"sync"
	"testing"
)

// Ledger knows what was sent and what was acknowledged. It is kept in the test's
// own process, which no fault touches.
type Ledger struct {
	mu      sync.Mutex
	sent    map[string]Letter
	acked   map[string]bool
	calls   map[string]bool // tokens of what a sendmail is sending now
	Refused map[string]int  // replies that were no 2xx, and exit codes
}

// NewLedger makes an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{sent: map[string]Letter{}, acked: map[string]bool{}, calls: map[string]bool{}, Refused: map[string]int{}}
}

// Begin notes that a letter is about to be sent.
func (l *Ledger) Begin(x Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[x.Token] = x
}

// End notes what the sender heard.
func (l *Ledger) End(x Letter, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.acked[x.Token] = true
		return
	}
	l.Refused[err.Error()]++
}

// call notes that a sendmail begins, or no longer has, a letter to send.
func (l *Ledger) call(x Letter, begins bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[x.Token] = begins; !begins {
		delete(l.calls, x.Token)
	}
}

// Calls are the tokens of the letters that a sendmail is sending now. It sends
// one a second time if the server is killed before it has acknowledged it.
func (l *Ledger) Calls() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.calls)
}

// Snapshot is what is acknowledged now.
func (l *Ledger) Snapshot() map[string]Letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]Letter, len(l.acked))
	for token := range l.acked {
		all[token] = l.sent[token]
	}
	return all
}

// Known reports whether a letter with the token was ever sent.
func (l *Ledger) Known(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.sent[token]
	return ok
}

// extra counts the deliveries that were made more than once: of what lies
// together in one place, one batch of a mailbox, it counts one. A torn copy is
// such a delivery as well: an append that was cut off before its sync. The whole
// one must follow if it was acknowledged.
func extra(all []Delivery, batches bool) int {
	later := map[string]bool{}
	over := make([]bool, len(all))
	for i, d := range slices.Backward(all) {
		over[i] = !d.Whole || later[d.Token]
		if d.Whole {
			later[d.Token] = true
		}
	}
	n := 0
	for i := range over {
		if over[i] && (!batches || i == 0 || !over[i-1]) {
			n++
		}
	}
	return n
}

// Outcome compares what was delivered with what was acknowledged, rules 1, 2, 3
// and 7: most is how many deliveries may have been made again. places are
// mailboxes, sinks what came over SMTP.
func (l *Ledger) Outcome(t *testing.T, acked map[string]Letter, most int, places, sinks map[string][]Delivery) {
	t.Helper()
	whole := map[string]bool{}
	again, copies := 0, 0
	for name, all := range places {
		again += extra(all, true)
		copies += l.copies(t, name, all, whole)
	}
	for name, all := range sinks {
		again += extra(all, false)
		copies += l.copies(t, name, all, whole)
	}
	lost := 0
	for token, x := range acked {
		if !whole[token] {
			if lost++; lost <= 5 {
				t.Errorf("LOST: %s to %s was acknowledged and is nowhere whole", token, x.To)
			}
		}
	}
	l.mu.Lock()
	sent, refused := len(l.sent), l.Refused
	l.mu.Unlock()
	t.Logf("%d sent, %d acknowledged, %d delivered whole, %d copies, %d deliveries made again (%d allowed), %d lost; not acknowledged: %v",
		sent, len(acked), len(whole), copies, again, most, lost, refused)
	if again > most {
		t.Errorf("%d deliveries were made again, want at most %d", again, most)
	}
}

// copies checks every copy by itself, adds the whole ones to whole, and counts.
func (l *Ledger) copies(t *testing.T, name string, all []Delivery, whole map[string]bool) int {
	t.Helper()
	for i, d := range all {
		switch {
		case d.Bounce:
			t.Errorf("%s: message %d of %d is a bounce", name, i, len(all))
		case d.Whole && !l.Known(d.Token):
			t.Errorf("%s: message %d of %d was never sent: %q", name, i, len(all), d.Token)
		case d.Whole:
			whole[d.Token] = true
		}
	}
	return len(all)
}

// OnceEach compares what readers found with what was acknowledged: each letter
// once and whole.
func (l *Ledger) OnceEach(t *testing.T, all []Delivery) {
	t.Helper()
	times := map[string]int{}
	wrong := map[string][]string{}
	for _, d := range all {
		if !d.Whole {
			wrong["torn"] = append(wrong["torn"], d.Token)
		}
		if !l.Known(d.Token) {
			wrong["never sent"] = append(wrong["never sent"], d.Token)
		}
		if times[d.Token]++; times[d.Token] == 2 {
			wrong["there twice"] = append(wrong["there twice"], d.Token)
		}
	}
	acked := l.Snapshot()
	for token := range acked {
		if times[token] == 0 {
			wrong["lost"] = append(wrong["lost"], token)
		}
	}
	for what, tokens := range wrong {
		t.Errorf("%d of %d letters are %s, such as %v", len(tokens), len(acked), what, tokens[:min(3, len(tokens))])
	}
	if len(acked) < 100 {
		t.Errorf("only %d letters were sent: %v", len(acked), l.Refused)
	}
}
