package resolver

import (
	"context"
	"fmt"
	"strings"
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
	if full := r.hosts.table().qualified(name); full != "" {
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
		full, ok := hostName(node + "." + domain)
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
	for _, a := range r.ours.current() {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || ctx.Err() != nil {
			continue
		}
		if name := r.Name(ctx, a); strings.Contains(name, ".") && !localhost(name) {
			return name
		}
	}
	return ""
}
