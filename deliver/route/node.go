package route

import (
	"slices"
	"strings"

	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// A Node is a recipient and what led to it.
type Node struct {
	Kind        envelope.Kind
	Path        smtp.Path       // of an Address or a Mailbox
	Agent       *envelope.Agent // of a Program
	Via         envelope.Via    // what From was expanded by; zero in the envelope
	From        *Node           // whose expansion it comes from; nil in the envelope
	ReversePath smtp.Path       // where its failures are reported
	// Added is how many recipients there are already below the same recipient
	// of the envelope, or the same member of a list.
	Added int

	Root envelope.Key // that recipient or member, in a queue run
}

// depth is the number of expansions that led to n.
func (n *Node) depth() int {
	depth := 0
	for ; n.From != nil; n = n.From {
		depth++
	}
	return depth
}

// passed says whether one of the expansions that led to n was by v.
func (n *Node) passed(v envelope.Via) bool {
	for ; n.From != nil; n = n.From {
		if n.Via == v {
			return true
		}
	}
	return false
}

// Forwarders are the users whose .forward led to n, the last one first.
func (n *Node) Forwarders() []string {
	var users []string
	for ; n.From != nil; n = n.From {
		if n.Via.Source == envelope.FromForward {
			users = append(users, n.Via.Name)
		}
	}
	return users
}

// own says whether n stands in v itself, or in a list that v names.
func (n *Node) own(v envelope.Via) bool {
	for n.From != nil && n.Via.Source == envelope.FromList {
		n = n.From
	}
	return n.From != nil && n.Via == v
}

// circle returns the names from the expansion by v down to n, which v would
// expand again, and the user whose .forward led back last, "" where only the
// configuration's files did. names is nil if v is not among what led to n.
func (n *Node) circle(v envelope.Via) (names []string, user string) {
	names = []string{n.Path.Local}
	for ; n.From != nil; n = n.From {
		if user == "" && n.Via.Source == envelope.FromForward {
			user = n.Via.Name
		}
		if n.From.Kind != envelope.Program {
			names = append(names, n.From.Path.Local)
		}
		if n.Via == v {
			slices.Reverse(names)
			return names, user
		}
	}
	return nil, ""
}

// Split parts a local name from its detail, which may be empty, at option
// recipient-delimiter. The names of owners and of those who look after lists
// are whole, whatever the delimiter.
func (r *Router) Split(name string) (base, detail string, ok bool) {
	if r.o.Delimiter == "" || isOwner(alias.Key(name)) {
		return name, "", false
	}
	i := strings.Index(name, r.o.Delimiter)
	if i <= 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// isOwner says whether a name is that of a list's owner.
func isOwner(key string) bool {
	return strings.HasPrefix(key, "owner-") || strings.HasSuffix(key, "-request")
}

// detail is the detail of the address that led to the item n.
func (r *Router) detail(n *Node) string {
	if n.From == nil {
		return ""
	}
	return r.detailOf(n.From, n.Agent.Name)
}

// detailOf is the detail of the address n, where that was looked up as name.
func (r *Router) detailOf(n *Node, name string) string {
	base, detail, ok := r.Split(n.Path.Local)
	if !ok || alias.Key(base) != alias.Key(name) {
		return ""
	}
	return detail
}
