package route

import (
	"context"
	"slices"

	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// maxLeads is how many names LeadsTo looks up.
const maxLeads = 100

// LeadsTo reports whether an address whose domain is local is an account's own, with or
// without a detail, or stands for it as an alias, or as one behind others. A user of a
// virtual domain is an account by the address. Files of users, and lists in files,
// are not read for that. The error is one that may pass.
func (r *Router) LeadsTo(ctx context.Context, p smtp.Path, account string) (bool, error) {
	paths := []smtp.Path{p}
	for i := 0; i < len(paths) && i < maxLeads; i++ {
		f, o := r.find(ctx, paths[i], func(envelope.Via) bool { return false })
		switch {
		case o != nil:
			return false, o.Cause()
		case f.alias.Name == "" && f.account.Name != "" && sameAccount(f.account.Name, account):
			return true, nil
		}
		for _, t := range f.alias.Targets {
			p, here, err := r.targetHere(ctx, t)
			switch {
			case err != nil:
				return false, err
			case t.Kind == alias.Mailbox && sameAccount(r.BoxName(p), account):
				return true, nil
			case here && len(paths) < maxLeads && !slices.Contains(paths, p):
				paths = append(paths, p)
			}
		}
	}
	return false, nil
}

// sameAccount reports whether a found account is the one that is asked for, in which the
// case of letters is nothing if it is of a virtual domain.
func sameAccount(found, account string) bool {
	return found == account || isVirtualName(account) && smtp.EqualFold(found, account)
}

// targetHere is the address that a target of an alias is, if its domain is local.
func (r *Router) targetHere(ctx context.Context, t alias.Target) (p smtp.Path, here bool, err error) {
	switch t.Kind {
	case alias.Mailbox:
		return t.Path, true, nil
	case alias.Address:
		here = t.Path.Domain == ""
		if !here {
			here, err = r.IsLocal(ctx, t.Path.Domain)
		}
		return t.Path, here && err == nil, err
	}
	return p, false, nil
}
