package user

import (
	"fmt"
	"path/filepath"

	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

// forward reads the user's .forward, the one of the extension first. None that
// is there, or an empty one, is no lines.
func (u *User) forward(extension string) ([]local.Line, error) {
	home, err := u.home()
	if home == nil {
		return nil, err
	}
	defer home.Close()
	for _, name := range mailbox.ForwardNames(extension) {
		path := filepath.Join(u.o.Account.Home, name)
		text, err := readOwn(home, name, path, u.o.Account, u.itself, maxForward)
		if mailbox.Absent(name, err) {
			continue
		}
		if err == nil {
			err = u.checkHome(home)
		}
		if err != nil {
			return nil, err
		}
		lines, err := parseLines(path, text)
		if err != nil {
			return nil, err
		}
		return lines, noLists(lines)
	}
	return nil, nil
}

// home walks to the user's home directory; nil and no error: there is none, and
// need not be.
func (u *User) home() (*disk.Walk, error) {
	a := u.o.Account
	return mailbox.OpenHome(u.o.Homes, a, func() (*disk.Walk, error) { return disk.WalkTo(a.Home, u.o.between) })
}

// checkHome says why a file in the home directory may be somebody else's doing.
// The user's own group may write there.
func (u *User) checkHome(home *disk.Walk) error {
	a := u.o.Account
	if len(home.Steps) == 0 {
		return nil // it is the root directory
	}
	last := len(home.Steps) - 1
	if err := checkWriters(home.Steps[last].Info, a.Home, a, membersOf(a.GID)); err != nil {
		return err
	}
	return u.checkWay(home.Steps[:last], "the home directory "+a.Home, u.itself)
}

// noLists refuses what only the alias file may have (A50).
func noLists(lines []local.Line) error {
	for _, l := range lines {
		if l.Kind == alias.Include {
			return fmt.Errorf("%s:%d: :include: stands in the alias file only: write the addresses here, or ask for an alias", l.File, l.Line)
		}
	}
	return nil
}
