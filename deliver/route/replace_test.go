package route

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// replaced is Replace for words: |x is an item, anything else an address. Of a
// member that is in capitals it is known that it is settled. It says what is
// kept, gone and added.
func replaced(members, text string) (kept, gone, added []string) {
	target := func(word string) envelope.Target {
		if item, ok := strings.CutPrefix(word, "|"); ok {
			return envelope.Target{Kind: envelope.Program, Agent: &envelope.Agent{Name: strings.ToLower(item)}}
		}
		return envelope.Target{Path: smtp.Path{Local: word}}
	}
	word := func(t envelope.Target) string {
		if t.Agent != nil {
			return "|" + t.Agent.Name
		}
		return t.Path.Local
	}
	words := func(list []envelope.Recipient) (all []string) {
		for _, rc := range list {
			all = append(all, word(rc.Target))
		}
		return all
	}
	var pending []envelope.Recipient
	var all, now []envelope.Target
	for _, w := range strings.Fields(members) {
		t := target(w)
		if all = append(all, t); w != strings.ToUpper(w) {
			pending = append(pending, envelope.Recipient{Target: t})
		}
	}
	for _, w := range strings.Fields(text) {
		now = append(now, target(w))
	}
	k, g, a := Replace(pending, all, now)
	for _, t := range a {
		added = append(added, word(t))
	}
	return words(k), words(g), added
}

func TestReplace(t *testing.T) {
	for _, tt := range []struct{ members, text, want string }{
		{"|x", "|x", "|x; ; "},
		{"|x A", "|y a", "; |x; |y"},
		{"|x A", "|x a b", "|x; ; b"},
		{"A B", "c d", "; ; c d"},
		{"|x A", "a", "; |x; "},
		{"|x |y", "|z", "; |x |y; |z"},
		{"|x |y", "|y |z |w", "|y; |x; |z |w"},
		{"|A |x", "|b |y", "; |x; |b |y"},
		{"x y Z", "Y z w", "y; x; w"},
		{"|x", "a A |y |y", "; |x; a |y"},
	} {
		kept, gone, added := replaced(tt.members, tt.text)
		got := strings.Join(kept, " ") + "; " + strings.Join(gone, " ") + "; " + strings.Join(added, " ")
		if got != tt.want {
			t.Errorf("%q, now %q: %q, want %q", tt.members, tt.text, got, tt.want)
		}
	}
}

// TestReplaceProperties: what has the message isn't added, whatever else is new
// is, once; and each pending one is kept or gone, as the text has it or not.
func TestReplaceProperties(t *testing.T) {
	words := []string{"a", "b", "c", "d", "|e", "|f", "|g", "|h", "A", "B", "C", "|E", "|F", "|G"}
	some := func(from []string, n int) []string {
		list := slices.Clone(from)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:n]
	}
	has := func(list []string, word string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) })
	}
	for range 20_000 {
		members, text := some(words, rand.IntN(6)), some(words[:8], rand.IntN(6))
		kept, gone, added := replaced(strings.Join(members, " "), strings.Join(text, " "))
		for _, w := range text {
			if has(added, w) == has(members, w) {
				t.Fatalf("%q, now %q: %s is added: %v", members, text, w, has(added, w))
			}
		}
		var pending []string
		for _, m := range members {
			if m != strings.ToUpper(m) {
				pending = append(pending, m)
			}
		}
		all := slices.Concat(kept, gone)
		slices.Sort(all)
		slices.Sort(pending)
		if !slices.Equal(all, pending) || slices.ContainsFunc(kept, func(w string) bool { return !has(text, w) }) ||
			slices.ContainsFunc(gone, func(w string) bool { return has(text, w) }) || len(slices.Compact(slices.Sorted(slices.Values(added)))) != len(added) {
			t.Fatalf("%q, now %q: kept %q, gone %q, added %q", members, text, kept, gone, added)
		}
	}
}
