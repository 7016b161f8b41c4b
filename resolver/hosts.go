package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"strings"
	"sync"

	"postoffice/internal/smtp"
)

// maxHosts is how many names the answers of /etc/hosts are kept for.
const maxHosts = 100

// hostsFile is /etc/hosts. It is read line by line for one name, and what it
// says of the others is forgotten: it may be a block list of 100,000 names, and
// who asks are the administrator's few.
type hostsFile struct {
	path string

	mu    sync.Mutex
	names map[string]*watched[hostsLines]
}

// hostsLines is what /etc/hosts says of one name.
type hostsLines struct {
	addrs  []netip.Addr // in the order of the file
	beside []string     // all names on its lines, in lower case; of lines with an unspecified address none
}

// about returns what the file says of name, which is in lower case. Where it
// can't be read that is what it said before, and nothing and an error if nobody
// asked before.
func (h *hostsFile) about(name string) (hostsLines, error) {
	h.mu.Lock()
	w := h.names[name]
	if w == nil {
		if len(h.names) >= maxHosts || h.names == nil {
			h.names = map[string]*watched[hostsLines]{}
		}
		w = &watched[hostsLines]{path: h.path, parse: func(r io.Reader) hostsLines { return linesOf(r, name) }}
		h.names[name] = w
	}
	h.mu.Unlock()
	return w.known()
}

// lookup returns the addresses of a name. Where the file can't be read the DNS
// is asked next.
func (h *hostsFile) lookup(name string) []netip.Addr {
	lines, _ := h.about(name)
	return lines.addrs
}

// qualified returns the first name with a dot that stands on a line with name.
func (h *hostsFile) qualified(name string) string {
	lines, _ := h.about(name)
	for _, n := range lines.beside {
		if strings.Contains(n, ".") && !localhost(n) {
			return n
		}
	}
	return ""
}

// linesOf reads the lines that hold a name.
func linesOf(r io.Reader, name string) (found hostsLines) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if strings.Contains(smtp.Fold(line), name) {
			found.add(line, name)
		}
		if err != nil {
			return found
		}
	}
}

// add takes in a line, if it holds name.
func (l *hostsLines) add(line, name string) {
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
	is := false
	for _, w := range words[1:] {
		if n, ok := hostName(w); ok {
			names = append(names, n)
			is = is || n == name
		}
	}
	if !is {
		return
	}
	l.addrs = append(l.addrs, a.Unmap())
	if !a.Unmap().IsUnspecified() {
		l.beside = append(l.beside, names...)
	}
}
