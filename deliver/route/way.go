package route

import (
	"strings"

	"postoffice/internal/account"
	"postoffice/internal/smtp"
)

// A Way is how a message gets into a mailbox.
type Way int

const (
	IntoFile  Way = iota // or a Maildir
	IntoStore            // over LMTP
	ByProgram
)

// Way returns what options mailer and mailbox ask for. A folder is always a
// file, and root runs no program (A43).
func (r *Router) Way(a account.Account, folder string) Way {
	switch {
	case folder != "":
		return IntoFile
	case r.o.Mailer != "" && a.UID != 0 && !isVirtual(a):
		return ByProgram
	case r.Store(a) != "":
		return IntoStore
	}
	return IntoFile
}

// Store returns the socket of the LMTP server that keeps the mailboxes of such
// accounts, "" where there is none.
func (r *Router) Store(a account.Account) string {
	option := r.o.Mailbox
	if isVirtual(a) {
		option = r.o.VirtualMailbox
	}
	socket, ok := strings.CutPrefix(option, "lmtp:")
	if !ok {
		return ""
	}
	return socket
}

// DeliveredTo returns the address that names a mailbox or an alias of this host
// in Delivered-To.
func (r *Router) DeliveredTo(name string) smtp.Path {
	if user, domain, ok := account.SplitVirtual(name); ok {
		return smtp.Path{Local: user, Domain: domain}
	}
	return smtp.Path{Local: name, Domain: r.o.Hostname}
}

// Qualified returns p with our host name behind a bare local name.
func (r *Router) Qualified(p smtp.Path) smtp.Path {
	if !p.IsNull() && p.Domain == "" {
		p.Domain = r.o.Hostname
	}
	return p
}
