package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
)

// System finds the accounts of the machine and their groups: in the passwd and
// group files first, and where nsswitch.conf names more sources than files by
// asking getent(1) (A76). It is an Accounts, for a process that may run getent.
// All that is asked through one System is bounded and kept in one place.
type System struct {
	Accounts
	names  Names
	files  *passwd
	getent *getent
}

// NewSystem reads nothing yet. Whoever asks about this machine takes Machine.
func NewSystem(n Names) *System {
	g, files := newGetent(n), &passwd{path: n.passwd()}
	return &System{Accounts: n.asking(files, g.Lookup), names: n, files: files, getent: g}
}

// machine is what Machine returns.
var machine struct {
	once   sync.Once
	system *System
}

// Machine is the System of this machine's own accounts, one for a process.
func Machine() *System {
	machine.once.Do(func() { machine.system = NewSystem(Names{}) })
	return machine.system
}

// Asking finds users in the passwd file first. Those that it lacks are asked
// for with ask, where nsswitch.conf names more sources than files (A76).
func (n Names) Asking(ask func(ctx context.Context, name string) (Account, error)) Accounts {
	return n.asking(&passwd{path: n.passwd()}, ask)
}

func (n Names) asking(files *passwd, ask func(ctx context.Context, name string) (Account, error)) Accounts {
	return &asking{files: files, nsswitch: n.nsswitch(), ask: ask}
}

type asking struct {
	files    *passwd
	nsswitch string
	ask      func(ctx context.Context, name string) (Account, error)
}

func (a *asking) Lookup(ctx context.Context, name string) (Account, error) {
	found, err := a.files.Lookup(ctx, name)
	if err == nil || !errors.Is(err, ErrNoUser) || CheckName(name) != nil {
		return found, err
	}
	more, nssErr := moreThanFiles(a.nsswitch, "passwd")
	if nssErr != nil {
		return found, fmt.Errorf("look for local users: %w", nssErr)
	}
	if !more {
		return found, err
	}
	return a.ask(ctx, name)
}

// NameOf returns the account with this uid, "" if none is known.
func (s *System) NameOf(uid int) string {
	if p, err := s.files.person(uid); err == nil || !errors.Is(err, ErrNoUser) {
		return p.Login
	}
	if more, err := moreThanFiles(s.names.nsswitch(), "passwd"); err != nil || !more {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), placeWait)
	defer cancel()
	if a, err := s.getent.account(ctx, strconv.Itoa(uid)); err == nil && a.UID == uid && CheckName(a.Name) == nil {
		return a.Name
	}
	return ""
}

// Person is who a uid of the passwd file is.
type Person struct {
	Login, Full, Home string
	GID               int
}

// InFile returns who has this uid by the passwd file alone. ErrNoUser: it has
// nobody; any other error means that it isn't known now.
func (s *System) InFile(uid int) (Person, error) { return s.files.person(uid) }
