package deliver

import (
	"slices"
	"strings"

	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// A Lead is a recipient and what led to it.
type Lead struct {
	Kind        spool.Kind
	Path        smtp.Path    // of an Address or a Mailbox
	Agent       *spool.Agent // of a Program
	Via         spool.Via    // what From was expanded by; zero in the envelope
	From        *Lead        // whose expansion it comes from; nil in the envelope
	ReversePath smtp.Path    // where its failures are reported
	// Added is how many recipients there are already below the same recipient
	// of the envelope, or the same member of a list.
	Added int

	root spool.Key // that recipient or member, in a queue run
}

// depth is the number of expansions that led to l.
func (l *Lead) depth() int {
	n := 0
	for ; l.From != nil; l = l.From {
		n++
	}
	return n
}

// passed says whether one of the expansions that led to l was by v.
func (l *Lead) passed(v spool.Via) bool {
	for ; l.From != nil; l = l.From {
		if l.Via == v {
			return true
		}
	}
	return false
}

// own says whether l stands in v itself, or in a list that v names.
func (l *Lead) own(v spool.Via) bool {
	for l.From != nil && l.Via.Source == spool.FromList {
		l = l.From
	}
	return l.From != nil && l.Via == v
}

// circle returns the names from the expansion by v down to l, which v would
// expand again, and the user whose .forward led back last, "" where only the
// configuration's files did. names is nil if v is not among what led to l.
func (l *Lead) circle(v spool.Via) (names []string, user string) {
	names = []string{l.Path.Local}
	for ; l.From != nil; l = l.From {
		if user == "" && l.Via.Source == spool.FromForward {
			user = l.Via.Name
		}
		if l.From.Kind != spool.Program {
			names = append(names, l.From.Path.Local)
		}
		if l.Via == v {
			slices.Reverse(names)
			return names, user
		}
	}
	return nil, ""
}

// split parts a local name from its detail at option recipient-delimiter. The
// names of owners and of those who look after lists are whole, whatever the
// delimiter.
func (r *Router) split(name string) (base, detail string, ok bool) {
	if r.o.Delimiter == "" || isOwner(alias.Key(name)) {
		return name, "", false
	}
	i := strings.Index(name, r.o.Delimiter)
	if i <= 0 || i+1 == len(name) {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// isOwner says whether a name is that of a list's owner.
func isOwner(key string) bool {
	return strings.HasPrefix(key, "owner-") || strings.HasSuffix(key, "-request")
}

// detail is the detail of the address that led to the item l.
func (r *Router) detail(l *Lead) string {
	if l.From == nil {
		return ""
	}
	return r.detailOf(l.From, l.Agent.Name)
}

// detailOf is the detail of the address l, where that was looked up as name.
func (r *Router) detailOf(l *Lead, name string) string {
	base, detail, ok := r.split(l.Path.Local)
	if !ok || alias.Key(base) != alias.Key(name) {
		return ""
	}
	return detail
}
