package login

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"postoffice/internal/maillog"
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

// Remember takes over what the process before has left in a Memory, and leaves there what
// becomes of it. It comes before the first turn. With an error nothing is known of before.
func (k *Keeper) Remember(m Memory) error {
	var was remembered
	text, err := m.Read()
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &was)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.memory, k.before = m, map[string]kept{}
	if err != nil || len(was.Key) == 0 {
		return err
	}
	k.key = was.Key
	for key, b := range was.Accounts {
		if time.Since(b.Again) < forgetWait && len(k.before) < maxKnown {
			k.before[key] = b
		}
	}
	return nil
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
	m, all := k.memory, map[string]kept{}
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
		text, err = json.Marshal(remembered{k.key, all})
	}
	if err == nil {
		err = m.Write(text)
	}
	if err != nil {
		k.logger().LogAttrs(context.Background(), slog.LevelWarn, "login pause not kept", maillog.Err(err))
	}
}
