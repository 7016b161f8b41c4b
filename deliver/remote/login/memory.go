package login

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
)

// A Memory has what one process knows of failures for the next one.
type Memory interface {
	// Read returns what was written last, nothing if there is none.
	Read() ([]byte, error)
	// Write puts a text in its place; none at all where nothing failed.
	Write(text []byte) error
}

// remembered is what a Memory has.
type remembered struct {
	Key      []byte // of the hashes
	Trust    smarthost.Trust
	Accounts map[string]kept
}

// kept is what is remembered of an account that fails.
type kept struct {
	Failures int
	Again    time.Time
	Refused  []byte `json:",omitempty"`
	Reply    smtp.Reply
	Words    string
}

// Remember has a Memory keep what this process knows. What the process before has left there
// is taken over with the first turn and not at once: that process may be at work still, and
// who waits for its queue comes behind it. It comes behind Use and before the first turn.
func (k *Keeper) Remember(m Memory) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.memory = m
}

// takeOver reads what the process before has left. With an error nothing is known of before.
// No pause goes on where another smarthost is the right one now, as with Use.
func (k *Keeper) takeOver() {
	k.mu.Lock()
	m := k.memory
	k.mu.Unlock()
	if m == nil {
		return
	}
	var was remembered
	text, err := m.Read()
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		k.notKept(err)
	}
	if err != nil || len(was.Key) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.before = was.Key, map[string]kept{}
	for key, b := range was.Accounts {
		if time.Since(b.Again) >= forgetWait || len(k.before) >= maxKnown {
			continue
		}
		if was.Trust != k.now {
			b.Again = time.Time{}
		}
		k.before[key] = b
	}
}

// recall puts what is remembered of an account into it. The Keeper's mutex is held.
func (k *Keeper) recall(key string, a *account) {
	b, ok := k.before[key]
	if !ok {
		return
	}
	delete(k.before, key)
	a.failures, a.refused, a.told = b.Failures, b.Refused, b.Words
	a.last = &Failure{Reply: b.Reply, Words: b.Words}
	a.again = b.Again
	if longest := time.Now().Add(2 * pauses[len(pauses)-1]); a.again.After(longest) { // the clock was set back
		a.again = longest
	}
}

// remember writes down what is known.
func (k *Keeper) remember() {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	m, trust, all := k.memory, k.now, map[string]kept{}
	for key, b := range k.before {
		all[key] = b
	}
	for key, a := range k.known {
		if a.last != nil {
			all[key] = kept{a.failures, a.again, a.refused, a.last.Reply, a.last.Words}
		}
	}
	k.mu.Unlock()
	if m == nil {
		return
	}
	var text []byte
	var err error
	if len(all) > 0 {
		text, err = json.Marshal(remembered{k.key, trust, all})
	}
	if err == nil {
		err = m.Write(text)
	}
	if err != nil {
		k.notKept(err)
	}
}

func (k *Keeper) notKept(err error) {
	k.logger().LogAttrs(context.Background(), slog.LevelWarn, "login pause not kept", maillog.Err(err))
}
