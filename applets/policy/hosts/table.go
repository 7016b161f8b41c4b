package hosts

import (
	"net/netip"
	"slices"
	"strings"
)

// A Table is the rules of one file, with what leads from a client to those that
// can match it: one look instead of one for each line.
type Table struct {
	Files []string // files of patterns that it names

	named    [2]int // the first rule that lets in by name, in hosts.allow and in hosts.deny
	unread   [2]int // the first that would, and doesn't count since its file of patterns can't be read
	rules    []rule
	any      []int32 // rules that may match whoever it is
	prefixes map[netip.Prefix][]int32
	lengths  [2][]int           // of the prefixes, by family: IPv4, IPv6
	names    map[string][]int32 // exact ones and, with a dot in front, suffixes
}

// index makes the ways to the rules.
func (t *Table) index() {
	t.prefixes, t.names = map[netip.Prefix][]int32{}, map[string][]int32{}
	t.named = [2]int{len(t.rules), len(t.rules)}
	seen := [2]map[int]bool{{}, {}}
	for i := range t.rules {
		for of, deny := range []bool{false, true} {
			if r := &t.rules[i]; r.byName && !r.denies(deny) {
				t.named[of] = min(t.named[of], i)
			}
		}
		for _, p := range t.rules[i].clients.patterns {
			n := int32(i)
			switch p.kind {
			case network:
				t.prefixes[p.prefix] = append(t.prefixes[p.prefix], n)
				seen[family(p.prefix.Addr())][p.prefix.Bits()] = true
			case exact, suffix:
				t.names[p.text] = append(t.names[p.text], n)
			default:
				if len(t.any) == 0 || t.any[len(t.any)-1] != n {
					t.any = append(t.any, n)
				}
			}
		}
	}
	for f := range seen {
		for bits := range seen[f] {
			t.lengths[f] = append(t.lengths[f], bits)
		}
		slices.Sort(t.lengths[f])
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Unread is the table of a file of which nothing is known now.
func Unread() *Table { return &Table{unread: [2]int{0, 1}, named: [2]int{1, 1}} }

// count is how many rules there are.
func (t *Table) count() int {
	if t == nil {
		return 0
	}
	return len(t.rules)
}

// mayGrant reports whether a rule in front of rule i might let a client in, if all
// were known that isn't now. deny: the table is hosts.deny's. nameless: the client's
// name is not known.
func (t *Table) mayGrant(i int, deny, nameless bool) bool {
	if t == nil {
		return false
	}
	of := 0
	if deny {
		of = 1
	}
	return t.unread[of] <= i || nameless && t.named[of] < i
}

// find returns the number of the first rule that matches a client, that of all
// rules if none does.
func (t *Table) find(c Client) int {
	if t == nil {
		return 0
	}
	best := t.first(t.any, &c, len(t.rules))
	for _, bits := range t.lengths[family(c.Addr)] {
		if p, err := c.Addr.Prefix(bits); err == nil {
			best = t.first(t.prefixes[p], &c, best)
		}
	}
	if c.Name != "" {
		best = t.first(t.names[c.Name], &c, best)
		for i := strings.IndexByte(c.Name, '.'); i >= 0; {
			best = t.first(t.names[c.Name[i:]], &c, best)
			next := strings.IndexByte(c.Name[i+1:], '.')
			if next < 0 {
				break
			}
			i += 1 + next
		}
	}
	return best
}

// first returns the number of the first of some rules that matches, if it is
// below the best so far.
func (t *Table) first(rules []int32, c *Client, best int) int {
	for _, n := range rules {
		if int(n) >= best {
			return best
		}
		if r := &t.rules[n]; r.servers.has(func(s *server) bool { return s.isUs() && s.here(c) }) &&
			r.clients.has(func(p *pattern) bool { return p.matches(c) }) {
			return int(n)
		}
	}
	return best
}

// here reports whether the pattern means the address of ours that the client came
// to.
func (s *server) here(c *Client) bool {
	return s.at == nil || s.at.matches(&Client{Addr: c.Server})
}
