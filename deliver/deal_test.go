package deliver

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/spool"
)

// dealt is deal for words: |x is an item, anything else an address. Of a member
// that is in capitals it is known that it is settled.
func dealt(members, text string) string {
	target := func(word string) spool.Target {
		if item, ok := strings.CutPrefix(word, "|"); ok {
			return spool.Target{Kind: spool.Program, Agent: &spool.Agent{Name: strings.ToLower(item)}}
		}
		return spool.Target{Path: smtp.Path{Local: word}}
	}
	var all []spool.Recipient
	for i, word := range strings.Fields(members) {
		rc := spool.Recipient{Target: target(word), Key: spool.Key{Index: i}}
		if rc.State = spool.Pending; word == strings.ToUpper(word) {
			rc.State = spool.Delivered
		}
		all = append(all, rc)
	}
	var now []spool.Target
	for _, word := range strings.Fields(text) {
		now = append(now, target(word))
	}
	shares := deal(all, now)
	var said []string
	for i, word := range strings.Fields(members) {
		share, gone := shares[spool.Key{Index: i}]
		if !gone {
			continue
		}
		for _, t := range share {
			if t.Agent != nil {
				word += " |" + t.Agent.Name
			} else {
				word += " " + t.Path.Local
			}
		}
		said = append(said, word)
	}
	return strings.Join(said, "; ")
}

func TestDeal(t *testing.T) {
	for _, tt := range []struct{ members, text, want string }{
		{"|x", "|x", ""},
		{"|x A", "|y a", "|x |y"},
		{"|x A", "|x a b", ""},
		{"A B", "c d", ""},
		{"|x A", "a", "|x"},
		{"|x A", "|y a b", "|x |y b"},
		{"|x |y", "|z", "|x |z; |y"},
		{"|x |y", "|z |w", "|x |z; |y |w"},
		{"|x |y", "|z |w |v", "|x |z; |y |w |v"},
		{"|A |x", "|b |y", "|x |y"},
		{"|x |A", "|y |b", "|x |y"},
		{"|A |x", "|y", "|x |y"},
		{"|A |x |B", "|c |y", "|x |y"},
		{"A |x", "|y b", "|x |y"},
		{"A |x", "b |y c", "|x |y c"},
		{"A |x", "b", "|x b"},
		{"|A x", "|b |c", "x |c"},
		{"x |y", "|z", "x; |y |z"},
		{"x |y", "|z |w", "x |w; |y |z"},
		{"x y", "|z |w |v", "x |z; y |w |v"},
		{"|x", "a a |y |y", "|x |y a"},
	} {
		if got := dealt(tt.members, tt.text); got != tt.want {
			t.Errorf("%q, now %q: %q, want %q", tt.members, tt.text, got, tt.want)
		}
	}
}

// TestDealProperties: whatever has vanished, nothing is dealt out twice or that
// was there before; nothing that is settled gets anything; and all that is new
// is dealt out, but for one for each settled one that has vanished too.
func TestDealProperties(t *testing.T) {
	words := []string{"a", "b", "c", "d", "|e", "|f", "|g", "|h", "A", "B", "C", "|E", "|F", "|G"}
	some := func(from []string, n int) []string {
		list := slices.Clone(from)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:n]
	}
	for range 20_000 {
		members := slices.CompactFunc(some(words, rand.IntN(6)), strings.EqualFold)
		text := some(words[:8], rand.IntN(6))
		has := func(list []string, word string) bool {
			return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) })
		}
		var pending, settled, added int
		for _, m := range members {
			switch {
			case has(text, m):
			case m == strings.ToUpper(m):
				settled++
			default:
				pending++
			}
		}
		for _, w := range text {
			if !has(members, w) {
				added++
			}
		}
		said := dealt(strings.Join(members, " "), strings.Join(text, " "))
		var got []string
		n := 0
		for share := range strings.SplitSeq(said, "; ") {
			if f := strings.Fields(share); len(f) > 0 {
				n++
				got = append(got, f[1:]...)
			}
		}
		least := added
		if pending+settled > added {
			least = min(added, pending)
		} else {
			least -= settled
		}
		if pending == 0 {
			least = 0
		}
		slices.Sort(got)
		if n != pending || len(got) < least || len(got) > added || len(slices.Compact(got)) != len(got) ||
			slices.ContainsFunc(got, func(w string) bool { return !has(text, w) || has(members, w) }) {
			t.Fatalf("%q, now %q: %q", members, text, said)
		}
	}
}
