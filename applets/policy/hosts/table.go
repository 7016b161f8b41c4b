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

	rules    []rule
	any      []int32 // rules that may match whoever it is
	prefixes map[netip.Prefix][]int32
	lengths  [2][]int           // of the prefixes, by family: IPv4, IPv6
	names    map[string][]int32 // exact ones and, with a dot in front, suffixes
}

// index makes the ways to the rules.
func (t *Table) index() {
	t.prefixes, t.names = map[netip.Prefix][]int32{}, map[string][]int32{}
	seen := [2]map[int]bool{{}, {}}
	for i := range t.rules {
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

// find returns the first rule that matches a client, nil if none does.
func (t *Table) find(c Client) *rule {
	if t == nil {
		return nil
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
	if best == len(t.rules) {
		return nil
	}
	return &t.rules[best]
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
