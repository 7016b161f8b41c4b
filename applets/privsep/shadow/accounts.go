package shadow

import (
	"context"
	"errors"
	"strings"
	"time"

	"postoffice/applets/logins/accounts"
	"postoffice/internal/account"
)

// system are the accounts of the machine.
type system struct {
	people account.Accounts // those of passwd(5)
	file   *file
}

// secondsOfDay are those of one of shadow's days, which are UTC's.
const secondsOfDay = 24 * 60 * 60

// Find returns an account. Whoever isn't there takes a reading of the file too.
func (s system) Find(ctx context.Context, name string) (accounts.Account, error) {
	who, err := s.people.Lookup(ctx, name)
	none := errors.Is(err, account.ErrNoUser)
	if err != nil && !none {
		return accounts.Account{}, err
	}
	fields, err := s.file.find(who.Name)
	switch {
	case err != nil:
		return accounts.Account{}, err
	case none || strings.Contains(who.Name, "@"): // as for mail: such a name is a user's of a virtual domain
		return accounts.Account{Name: name}, accounts.ErrNone
	}
	a := accounts.Account{Name: who.Name}
	switch {
	case who.UID == 0:
		a.Closed = errors.New("who has uid 0 can't log in here: take another account, and sender-logins for what is to be sent as root")
	case fields == nil:
		a.Closed = errors.New("it has no line in shadow; pwconv makes one")
	default:
		a.Closed = closedBy(fields, time.Now().Unix()/secondsOfDay)
	}
	if a.Closed == nil {
		a.Hash = fields[fieldHash]
	}
	return a, nil
}

// Scram: shadow has no verifiers.
func (system) Scram() (some, all bool) { return false, false }
