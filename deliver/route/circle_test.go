package route

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

// Whoever is beside a circle among aliases gets the message; where nobody is,
// it waits, and says why.
func TestCircle(t *testing.T) {
	for _, tt := range []struct{ aliases, to, want string }{
		{"root: admins\nadmins: alice, root\n", "root", "alice circle root -> admins -> root"},
		{"root: admins\nadmins: alice, root\n", "Admins", "alice circle Admins -> root -> Admins"},
		{"a: b, c\nb: a, alice\nc: A, bob\n", "a", "alice bob circle a -> b -> a circle a -> c -> a"},
		{"a: b\nb: c, alice\nc: b\n", "a", "alice circle b -> c -> b"},
		{"a: b, alice\nb: c\nc: b\n", "a", "alice circle b -> c -> b"}, // nobody is there: alice doesn't wait for it
		{"a: b\nb: c\nc: a, \\bob\n", "a", "bob circle a -> b -> c -> a"},
		{"a: b\nb: c\nc: a, v@[192.0.2.1]\n", "a", "v@[192.0.2.1] circle a -> b -> c -> a"},
		{"a: b\nb: a, gone\n", "a", "circle a -> b -> a 5.1.1"},
		{"alice: alice, b\nb: alice, bob\n", "alice", "alice bob circle alice -> b -> alice"},
		{"a: b\nb: a\n", "a", "4.4.6 alias a: it leads back to itself: a -> b -> a"},
		{"a: b, c\nb: c\nc: b\n", "a", "4.4.6 alias b: it leads back to itself: b -> c -> b"},
	} {
		r := newSite(t)
		r.alias(tt.aliases)
		got := strings.Join(r.ends(tt.to), " ")
		if got != tt.want {
			t.Errorf("%q: %s: %s, want %s", tt.aliases, tt.to, got, tt.want)
		}
	}
}

// A chain of aliases is followed no further than it may be deep, however long it is:
// each alias is looked up a few times.
func TestLongChain(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	r := newSite(t)
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "n%d: alice, n%d\n", i, i+1)
	}
	r.alias(text.String())
	if got, want := r.ends("n0"), []string{"4.4.6 alias n0: aliases are nested more than 10 deep"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// ends are the ends of an address, and the circles on the way.
func (s *site) ends(to string) []string {
	var ends []string
	for step := range New(s.o).DryRun(s.t.Context(), path(s.t, to), smtp.Path{}) {
		switch {
		case step.How == HowAlias && step.Reason != "":
			ends = append(ends, "circle "+strings.TrimPrefix(step.Reason, "it leads back to itself: "))
		case step.How == HowAlias:
		case step.How == HowMailbox:
			ends = append(ends, step.User)
		case step.How == HowRemote:
			ends = append(ends, step.Recipient)
		case step.Status == "5.1.1":
			ends = append(ends, step.Status)
		default:
			ends = append(ends, step.Status+" "+step.Reason)
		}
	}
	slices.SortStableFunc(ends, func(a, b string) int { return strings.Compare(kindOf(a), kindOf(b)) })
	return ends
}

func kindOf(end string) string {
	first, _, _ := strings.Cut(end, " ")
	switch {
	case first == "circle":
		return "y"
	case strings.HasPrefix(first, "5."):
		return "z"
	}
	return "x" + first
}

// However aliases lead to each other: all users to whom a name leads get the
// message, nobody else does, and it waits where there are none.
func TestCirclesLoseNobody(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	people := []string{"alice", "bob", "carol"}
	for range 500 {
		n := 1 + rng.IntN(5)
		names := append([]string{"a", "b", "c", "d", "e"}[:n:n], people...)
		targets := map[string][]string{}
		var text strings.Builder
		for _, name := range names[:n] {
			for range 1 + rng.IntN(3) {
				if to := names[rng.IntN(len(names))]; to != name {
					targets[name] = append(targets[name], to)
				}
			}
			if len(targets[name]) == 0 {
				targets[name] = []string{names[(slices.Index(names, name)+1)%n]}
				if n == 1 {
					targets[name] = []string{"alice"}
				}
			}
			fmt.Fprintf(&text, "%s: %s\n", name, strings.Join(targets[name], ", "))
		}
		want := map[string]bool{}
		seen := map[string]bool{}
		var visit func(name string)
		visit = func(name string) {
			if seen[name] {
				return
			}
			seen[name] = true
			if slices.Contains(people, name) {
				want[name] = true
			}
			for _, to := range targets[name] {
				visit(to)
			}
		}
		visit("a")
		r := newSite(t)
		r.alias(text.String())
		got := map[string]bool{}
		for s := range New(r.o).DryRun(t.Context(), smtp.Path{Local: "a"}, smtp.Path{}) {
			switch {
			case s.How == HowMailbox:
				got[s.User] = true
			case s.How == HowFailure && (len(want) > 0 || s.Permanent):
				t.Errorf("%s: %+v", text.String(), s)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text.String(), got, want)
		}
	}
}

// counting counts how often somebody looks whether it has ended: each lookup of
// an alias does.
type counting struct {
	context.Context
	n int
}

func (c *counting) Err() error { c.n++; return c.Context.Err() }

// A50: finding out that an alias can't be expanded, or that it can, takes a few
// looks at each name, however many ways lead there.
func TestA50WorkIsBounded(t *testing.T) {
	var tree, ring, wide strings.Builder
	const names = 80
	for i := range names / 2 {
		fmt.Fprintf(&tree, "l%d: l%d, r%d\nr%d: l%d, r%d\n", i, i+1, i+1, i, i+1, i+1)
	}
	for i := range names {
		fmt.Fprintf(&ring, "l%d: l%d\n", i, (i+1)%names)
		fmt.Fprintf(&wide, "l%d:", i)
		for j := range names {
			if i != j {
				fmt.Fprintf(&wide, " l%d,", j)
			}
		}
		wide.WriteString(" x@x.example\n")
	}
	for _, tt := range []struct {
		name, aliases string
		edges         int
	}{
		{"tree", tree.String(), 2 * names}, {"ring", ring.String(), names}, {"each to each", wide.String(), names * names},
	} {
		r := newSite(t)
		r.alias(tt.aliases)
		ctx := &counting{Context: t.Context()}
		s := New(r.o).Resolve(ctx, &Node{Path: smtp.Path{Local: "l0"}})
		if s.Kind != StepFailed || s.Outcome.DSN() != "4.4.6" {
			t.Errorf("%s: %s %+v, want 4.4.6", tt.name, describe(s), s.Outcome)
		}
		if most := 8*tt.edges + 20; ctx.n > most {
			t.Errorf("%s: %d looks at aliases, want %d at most", tt.name, ctx.n, most)
		}
	}
}
