package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"strings"
)

// hostsFile is /etc/hosts.
type hostsFile struct {
	watched[hostsTable]
}

// hostsTable maps lower-case names to addresses in the order of the file, and
// to the first name of their line.
type hostsTable struct {
	addrs map[string][]netip.Addr
	lines map[string][]string
}

func (h *hostsFile) table() hostsTable {
	t, _, _ := h.get() // unreadable: as it was, else empty; the DNS is asked next
	return t
}

func (t hostsTable) lookup(name string) []netip.Addr { return t.addrs[name] }

// qualified returns the first name with a dot that stands on a line with name.
func (t hostsTable) qualified(name string) string {
	for _, n := range t.lines[name] {
		if strings.Contains(n, ".") && !localhost(n) {
			return n
		}
	}
	return ""
}

func parseHosts(r io.Reader) hostsTable {
	t := hostsTable{addrs: map[string][]netip.Addr{}, lines: map[string][]string{}}
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		t.add(line)
		if err != nil {
			return t
		}
	}
}

func (t hostsTable) add(line string) {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	if len(words) < 2 {
		return
	}
	a, err := netip.ParseAddr(words[0])
	if err != nil {
		return
	}
	var names []string
	for _, w := range words[1:] {
		if n, ok := hostName(w); ok {
			names = append(names, n)
			t.addrs[n] = append(t.addrs[n], a.Unmap())
		}
	}
	for _, n := range names {
		t.lines[n] = append(t.lines[n], names...)
	}
}
