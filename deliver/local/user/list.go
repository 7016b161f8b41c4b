package user

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

// List reads the file that g names and returns what stands in it. A file that
// is certainly not there, or has nothing in it, is no lines and no error, but
// for a list that an alias names. An *OwnerError says whom to ask instead, and
// ErrChanged that the item does not stand there any more; any other error names
// the file, the line and what to do, and means later. For a program or a file,
// which an Item with its hash names, there are no lines, and the error says why
// it would not be started.
func (u *User) List(ctx context.Context, g local.Listing) ([]local.Line, error) {
	if err := u.acts(g.User); err != nil {
		return nil, err
	}
	switch home := u.o.Account.Home; g.Item.Source {
	case local.FromForward:
		if g.Item.Name != g.User {
			return nil, fmt.Errorf("the .forward of %q is not read by %s", g.Item.Name, g.User)
		}
		if g.Item.Hash != (alias.Hash{}) {
			return nil, u.startable(ctx, g)
		}
		return u.unlessHung(ctx, home, func() ([]local.Line, error) { return u.forward(g.Extension) })
	case local.FromUsermap:
		if g.Item.Hash != (alias.Hash{}) {
			return nil, u.startable(ctx, g)
		}
		m, err := u.mapping(ctx, g.Item.Name)
		if err != nil {
			return nil, err
		}
		return u.unlessHung(ctx, home, func() ([]local.Line, error) { return u.personal(m, g.Item.Name) })
	case local.FromAlias:
		t, err := u.inAliases(ctx, g.Item)
		if err != nil {
			return nil, err
		}
		if t.Kind != alias.Include {
			return nil, u.startable(ctx, g)
		}
		return u.unlessHung(ctx, t.Text, func() ([]local.Line, error) { return u.include(t.Text) })
	}
	return nil, fmt.Errorf("no list comes from %q", g.Item.Source)
}

// maxQuietLists bounds the lists that are read, from which one that hangs may hold up
// others: what one file system that does not answer has at most.
const maxQuietLists = stalled.MaxPerSystem

// unlessHung has the file with that path read, or one below it. Where the file system
// does not answer, that is an error, and whoever reads is left behind: the lists of
// other files go on, with this process's help.
func (u *User) unlessHung(ctx context.Context, path string, read func() ([]local.Line, error)) ([]local.Line, error) {
	u.reading.Add(1)
	defer u.reading.Add(-1)
	crowded := func() bool { return u.reading.Load() >= maxQuietLists }
	return stalled.Ask(ctx, u.lists, []string{path}, crowded, func(*stalled.Place) ([]local.Line, error) { return read() })
}

// include reads a list that an alias names with :include:. Whose it is decides
// who may read it: the user, and everybody what is root's (B56).
func (u *User) include(path string) ([]local.Line, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf(":include:%s: want an absolute path", path)
	}
	path = filepath.Clean(path)
	text, err := u.readList(path)
	if err != nil {
		return nil, err
	}
	lines, err := parseLines(path, text)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if l.Kind != alias.Address && l.Kind != alias.Mailbox {
			return nil, &local.LineError{File: l.File, Line: l.Line, Quote: fmt.Sprintf("%v: %v stands in the alias file only; a list has addresses", l.Target, l.Kind)}
		}
	}
	return lines, nil
}

// readList reads a list, once it is known whose it is and that nobody else can
// put another in its place.
func (u *User) readList(path string) (string, error) {
	dir, name := filepath.Split(path)
	way, err := disk.WalkTo(dir, u.o.between)
	if err != nil {
		return "", u.denied(path, way, err)
	}
	defer way.Close()
	info, err := way.Lstat(name)
	if err != nil {
		return "", u.denied(path, way, err)
	}
	if err := u.owner(path, info); err != nil {
		return "", err
	}
	if err := u.checkWay(way.Steps, "the list "+path, u.itself); err != nil {
		return "", err
	}
	group := -1 // which may write it: its owner's
	if info.UID != 0 {
		group = u.o.Account.GID
	}
	if u.o.between != nil {
		u.o.between(path)
	}
	text, err := readOwn(way, name, path, u.o.Account, membersOf(group), maxList)
	if err != nil {
		return "", u.denied(path, way, err)
	}
	return text, nil
}

// owner says whom to ask instead, if neither the user nor root has the file.
func (u *User) owner(path string, info disk.Info) error {
	if info.UID == u.o.Account.UID || info.UID == 0 {
		return nil
	}
	return &local.OwnerError{File: path, User: u.o.NameOf(info.UID), UID: info.UID}
}

// denied explains why a list can't be read. Where the way to it is shut, who
// owns the directory that can't be entered is to be asked instead, as for a
// home directory of mode 0700.
func (u *User) denied(path string, way *disk.Walk, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("list of an alias: %w", err)
	}
	if last := len(way.Steps) - 1; last >= 0 {
		if instead := u.owner(path, way.Steps[last].Info); instead != nil {
			return instead
		}
	}
	return fmt.Errorf("list of an alias, which %s has to read (or its owner, if that is a user): %w", u.o.Account.Name, err)
}
