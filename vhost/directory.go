package vhost

import (
	"context"
	"errors"
	"fmt"

	"postoffice/internal/account"
	"postoffice/internal/alias"
)

// Users answers for the users and aliases of virtual domains: a Store, or who asks a
// process that has one.
type Users interface {
	User(ctx context.Context, domain, name string) (Box, error)
	Alias(ctx context.Context, domain, name string) (Alias, error)
}

// Mailboxes counts what is in the mailboxes of virtual domains.
type Mailboxes interface {
	// Used returns how many octets are in one; an account of it that readers keep is
	// believed where it says enough or less. The error is one that may pass.
	Used(ctx context.Context, domain, name string, enough int64) (int64, error)
}

// Directory is the virtual domains as mail is routed by them: which there are, and
// what their users and aliases are to others.
type Directory struct {
	Dir      string   // where they are
	Domains  *Domains // the list there
	Users    Users
	Boxes    Mailboxes        // nil: another server has them, and their bounds
	Owner    string           // the account that all mailboxes belong to
	Accounts account.Accounts // has it
}

// IsVirtual reports whether there is such an active domain.
func (d *Directory) IsVirtual(domain string) (bool, error) {
	_, ok, err := d.Domains.Find(domain)
	return ok, err
}

// User returns a user as an account with the address as its name.
// account.ErrNoUser is a definite answer.
func (d *Directory) User(ctx context.Context, domain, name string) (account.Account, error) {
	box, err := d.Users.User(ctx, domain, name)
	if errors.Is(err, ErrNoUser) {
		return account.Account{}, account.ErrNoUser
	}
	var a account.Account
	if err == nil {
		a, err = d.Accounts.Lookup(ctx, d.Owner)
		if errors.Is(err, account.ErrNoUser) {
			err = NoOwner(d.Owner)
		}
	}
	if err != nil {
		return account.Account{}, err
	}
	a = account.Account{Name: box.Name + "@" + domain, UID: a.UID, GID: a.GID}
	if d.Boxes != nil {
		a.Quota = box.Quota
	}
	return a, nil
}

// Used is Mailboxes.Used.
func (d *Directory) Used(ctx context.Context, domain, name string, enough int64) (int64, error) {
	return d.Boxes.Used(ctx, domain, name, enough)
}

// NoOwner says that the account of virtual domains is missing.
func NoOwner(name string) error {
	return fmt.Errorf("there is no account %q (option vhost-user): make it, or name another to which nothing but the mail of virtual domains belongs", name)
}

// Alias returns what a name stands for. alias.ErrNotFound is a definite answer.
func (d *Directory) Alias(ctx context.Context, domain, name string) (alias.Entry, error) {
	e := alias.Entry{Name: name, File: AliasesPath(d.Dir, domain)}
	a, err := d.Users.Alias(ctx, domain, name)
	if errors.Is(err, ErrNoAlias) {
		return alias.Entry{}, alias.ErrNotFound
	}
	if err == nil {
		e.Line = a.Line
		if e.Targets, err = alias.ParseValue(a.Value); err != nil {
			err = fmt.Errorf("%s:%d: %w", e.File, e.Line, err)
		}
	}
	return e, err
}
