package rates

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// leastSaved is what a limit must have left to be worth saving: what is less is over when
// the next server answers, or about.
const leastSaved = 2 * time.Minute

// A saved entry has a word for each kind that counts, its name and the second since 1970
// when nothing of it does any more, under its network.

// names are the kinds in saved entries.
func names() [kinds]string {
	return [...]string{"connections", "messages", "recipients", "unknown", "logins", "idle"}
}

// Changed returns the entries that have changed since the last call and will count for
// some time.
func (t *Table) Changed(now time.Time) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]string{}
	for e := range t.store.all() {
		if !e.changed || e.last() < now.Add(leastSaved).UnixNano() {
			continue
		}
		e.changed = false
		var words []string
		for k, name := range names() {
			if e.empty[k] > now.UnixNano() {
				words = append(words, fmt.Sprintf("%s=%d", name, e.empty[k]/int64(time.Second)))
			}
		}
		network, _ := e.key.network()
		all[network.String()] = strings.Join(words, " ")
	}
	return all
}

// Restore takes an entry that was saved. What is counted by now counts if it is more.
func (t *Table) Restore(now time.Time, name, value string) {
	network, err := netip.ParsePrefix(name)
	if err != nil || t.Spent(now, name, value) {
		return
	}
	key := keyOf(network.Addr(), network.Bits())
	if known, _ := key.network(); known != network {
		return // it is of no level
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.store.make(key)
	for k, empty := range parseSaved(value) {
		e.empty[k] = max(e.empty[k], empty)
	}
}

// Spent reports whether an entry that was saved counts no more.
func (t *Table) Spent(now time.Time, _, value string) bool {
	all := parseSaved(value)
	return slices.Max(all[:]) <= now.UnixNano()
}

// parseSaved reads what is understood of a saved entry.
func parseSaved(value string) (empty [kinds]int64) {
	all := names()
	for word := range strings.FieldsSeq(value) {
		name, text, _ := strings.Cut(word, "=")
		k := slices.Index(all[:], name)
		seconds, err := strconv.ParseInt(text, 10, 64)
		if k >= 0 && err == nil && seconds < 1<<33 {
			empty[k] = seconds * int64(time.Second)
		}
	}
	return empty
}
