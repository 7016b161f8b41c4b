package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postoffice/internal/alias"
)

// mapping is what option usermap says of a name.
func (p *Person) mapping(ctx context.Context, name string) (alias.Mapping, error) {
	entries, _ := alias.ParseUsermap(p.o.Usermap) // what is wrong is said for the names that it matters to
	m, ok, err := entries.Match(name, func(user string) (string, bool, error) {
		if equalFold(user, p.o.Account.Name) {
			return p.o.Account.Name, true, nil
		}
		a, err := p.o.Accounts.Lookup(ctx, user)
		if errors.Is(err, ErrNoUser) {
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
func (p *Person) personal(m alias.Mapping, name string) ([]Line, error) {
	a := p.o.Account
	if m.User != a.Name || len(m.Files) == 0 {
		return nil, nil
	}
	if there, err := p.hasHome(); !there {
		return nil, err
	}
	for _, file := range m.Files {
		text, err := readBelow(a.Home, file, a)
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

// readBelow reads a file in a directory or in one below it, none of which
// others may write, and which no link leads out of.
func readBelow(dir, file string, a Account) (string, error) {
	if err := checkHome(dir, a); err != nil {
		return "", err
	}
	name, rest, deeper := strings.Cut(file, "/")
	path := filepath.Join(dir, name)
	if !deeper {
		return readOwn(path, a, noGroup, maxForward)
	}
	if info, err := os.Lstat(path); err != nil {
		return "", err
	} else if !info.IsDir() {
		return "", fmt.Errorf("%s is no directory: option usermap names a file in it", path)
	}
	return readBelow(path, rest, a)
}

// findAlias returns the targets of a name in the text of an alias file. A line
// whose own name can't be read may be the one that is looked for.
func findAlias(path, text, name string) ([]Line, error) {
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
		lines := make([]Line, len(e.Targets))
		for i, t := range e.Targets {
			lines[i] = Line{Target: t, File: path, Line: e.Line}
		}
		return lines, noLists(lines)
	}
	return nil, damage
}
