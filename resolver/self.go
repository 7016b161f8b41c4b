package resolver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	selfTimeout = 2 * time.Second // DNS time spent on our own name
	unknownName = "unknown.invalid"
	selfHint    = "set hostname in postoffice.cf"
)

// Self finds this host's full name for hostname=auto: the node name if it has
// a dot, else the full name beside it in /etc/hosts, else what the DNS says
// within 2 seconds (the node name in resolv.conf's domains, then the verified
// name of an interface address). The last resort is the bare node name with a
// warning. It is never a name of the loopback interface.
//
// It may ask the DNS: it is not for processes that run as root.
func (r *Resolver) Self(ctx context.Context) (name, warning string) {
	node, err := r.opts.NodeName()
	name, ok := hostName(node)
	if ok && localhost(name) || err != nil {
		name, ok = "", false
	}
	if ok && strings.Contains(name, ".") {
		return name, ""
	}
	if full := r.hosts.qualified(name); full != "" {
		return full, ""
	}
	ctx, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	if full := r.selfByDomain(ctx, name); full != "" {
		return full, ""
	}
	if full := r.selfByAddress(ctx); full != "" {
		return full, ""
	}
	if name != "" {
		return name, fmt.Sprintf("this host's name %q has no domain: %s", name, selfHint)
	}
	return unknownName, fmt.Sprintf("this host has no name (node name %q): %s", node, selfHint)
}

// selfByDomain looks for the node name in the domains of resolv.conf.
func (r *Resolver) selfByDomain(ctx context.Context, node string) string {
	conf, _, err := r.conf.get()
	if err != nil || node == "" {
		return ""
	}
	for _, domain := range conf.search {
		full, ok := hostName(node + "." + strings.TrimPrefix(domain, ".")) // the C library takes it away too
		if !ok || localhost(full) {
			continue
		}
		if addrs, err := r.Addrs(ctx, full); err == nil && len(addrs) > 0 {
			return full
		}
	}
	return ""
}

// selfByAddress asks for the names of our addresses.
func (r *Resolver) selfByAddress(ctx context.Context) string {
	ours, _ := r.ours.current()
	for _, a := range ours {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || ctx.Err() != nil {
			continue
		}
		if name, _ := r.Name(ctx, a); strings.Contains(name, ".") && !localhost(name) {
			return name
		}
	}
	return ""
}

// localNamesAge is how long the list of our names counts without a look at the
// node name and at /etc/hosts.
const localNamesAge = time.Second

// localNames are the names by which this host knows itself.
type localNames struct {
	mu    sync.Mutex
	names map[string]bool
	err   error // why that may not be all
	until time.Time
}

// IsLocalName reports whether a domain is one of the names by which this host
// knows itself: the node name, its first label, the other names on those lines
// of /etc/hosts that hold the node name, localhost.localdomain, and localhost in
// the domains of these names. It asks no DNS. An error means that /etc/hosts
// can't be read now and that name may stand there.
func (r *Resolver) IsLocalName(name string) (bool, error) {
	name, ok := hostName(name)
	if !ok {
		return false, nil
	}
	n := &r.names
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.err != nil || now.After(n.until) {
		n.names, n.err = r.readLocalNames()
		n.until = now.Add(localNamesAge)
	}
	if n.names[name] {
		return true, nil
	}
	return false, n.err
}

func (r *Resolver) readLocalNames() (map[string]bool, error) {
	names := map[string]bool{"localhost": true, "localhost.localdomain": true}
	add := func(name string) {
		names[name] = true
		if local, ok := LocalhostIn(name); ok {
			names[local] = true
		}
	}
	text, _ := r.opts.NodeName()
	node, ok := hostName(text)
	if !ok {
		return names, nil
	}
	add(node)
	first, _, _ := strings.Cut(node, ".")
	names[first] = true
	if localhost(node) { // its lines are those of every machine's loopback
		return names, nil
	}
	lines, err := r.hosts.about(node)
	for _, name := range lines.beside {
		add(name)
	}
	if err != nil {
		err = fmt.Errorf("the names of this host are not all known: %w", err)
	}
	return names, err
}

// LocalhostIn returns localhost in the domain of a host. A domain of one label is
// none: localhost.com is somebody's.
func LocalhostIn(host string) (name string, ok bool) {
	_, domain, _ := strings.Cut(host, ".")
	return "localhost." + domain, strings.Contains(domain, ".")
}
