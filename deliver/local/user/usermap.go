package user

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// mapping is what option usermap says of a name.
func (u *User) mapping(ctx context.Context, name string) (alias.Mapping, error) {
	entries, _ := alias.ParseUsermap(u.o.Usermap) // what is wrong is said for the names that it matters to
	m, ok, err := entries.Match(name, func(user string) (string, bool, error) {
		if smtp.EqualFold(user, u.o.Account.Name) {
			return u.o.Account.Name, true, nil
		}
		a, err := u.o.Accounts.Lookup(ctx, user)
		if errors.Is(err, account.ErrNoUser) {
			return "", false, nil
		}
		return a.Name, err == nil, err
	})
	if err == nil && !ok {
		err = fmt.Errorf("option usermap has no entry for %q any more", name)
	}
	return m, err
}

// personal returns what the user's own alias files, as far as option usermap
// names any for this name, say of it. The first that has it counts.
func (u *User) personal(m alias.Mapping, name string) ([]local.Line, error) {
	a := u.o.Account
	if m.User != a.Name || len(m.Files) == 0 {
		return nil, nil
	}
	home, err := u.home()
	if home == nil {
		return nil, err
	}
	defer home.Close()
	for _, file := range m.Files {
		text, err := u.readBelow(home, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines, err := findAlias(filepath.Join(a.Home, file), text, name)
		if len(lines) > 0 || err != nil {
			return lines, err
		}
	}
	return nil, nil
}

// readBelow reads a file in the home directory or in one below it, none of which
// others may write, and which no link leads out of.
func (u *User) readBelow(home *disk.Walk, file string) (string, error) {
	if err := u.checkHome(home); err != nil {
		return "", err
	}
	a := u.o.Account
	path := filepath.Join(a.Home, file)
	above, name := filepath.Split(file)
	if above == "" {
		return readOwn(home, name, path, a, u.itself, maxForward)
	}
	way, err := home.Below(above)
	if err == nil {
		defer way.Close()
	}
	for _, s := range way.Steps {
		if !s.Info.Mode.IsDir() {
			return "", fmt.Errorf("%s is no directory: option usermap names a file in it", s.Path)
		}
		if err := checkWriters(s.Info, s.Path, a, membersOf(a.GID)); err != nil {
			return "", err
		}
	}
	if err != nil {
		return "", err
	}
	return readOwn(way, name, path, a, u.itself, maxForward)
}

// findAlias returns the targets of a name in the text of an alias file. A line
// whose own name can't be read may be the one that is looked for.
func findAlias(path, text, name string) ([]local.Line, error) {
	key := alias.Key(name)
	var damage error
	for e, err := range alias.Read(strings.NewReader(text)) {
		if err != nil {
			se, ok := errors.AsType[*alias.SyntaxError](err)
			switch {
			case !ok || alias.Key(se.Name) == key:
				return nil, inFile(path, err)
			case se.Name == "" && damage == nil:
				damage = inFile(path, err)
			}
			continue
		}
		if alias.Key(e.Name) != key {
			continue
		}
		lines := make([]local.Line, len(e.Targets))
		for i, t := range e.Targets {
			lines[i] = local.Line{Target: t, File: path, Line: e.Line}
		}
		return lines, noLists(lines)
	}
	return nil, damage
}
