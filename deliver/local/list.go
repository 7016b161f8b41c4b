package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"postoffice/internal/alias"
)

// List reads the file that g names and returns what stands in it. A file that
// is certainly not there, or has nothing in it, is no lines and no error, but
// for a list that an alias names. An *OwnerError says whom to ask instead, and
// ErrChanged that the item does not stand there any more; any other error names
// the file, the line and what to do, and means later. For a program or a file,
// which an Item with its hash names, there are no lines, and the error says why
// it would not be started.
func (p *Person) List(ctx context.Context, g Listing) ([]Line, error) {
	if err := p.acts(g.User); err != nil {
		return nil, err
	}
	switch g.Item.Source {
	case FromForward:
		if g.Item.Name != g.User {
			return nil, fmt.Errorf("the .forward of %q is not read by %s", g.Item.Name, g.User)
		}
		if g.Item.Hash != (alias.Hash{}) {
			return nil, p.startable(ctx, g)
		}
		return p.forward(g.Extension)
	case FromUsermap:
		if g.Item.Hash != (alias.Hash{}) {
			return nil, p.startable(ctx, g)
		}
		m, err := p.mapping(ctx, g.Item.Name)
		if err != nil {
			return nil, err
		}
		return p.personal(m, g.Item.Name)
	case FromAlias:
		t, err := p.inAliases(ctx, g.Item)
		if err != nil {
			return nil, err
		}
		if t.Kind != alias.Include {
			return nil, p.startable(ctx, g)
		}
		return p.include(t.Text)
	}
	return nil, fmt.Errorf("no list comes from %q", g.Item.Source)
}

// include reads a list that an alias names with :include:. Whose it is decides
// who may read it: the user himself, and everybody what is root's (B56).
func (p *Person) include(path string) ([]Line, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf(":include:%s: want an absolute path", path)
	}
	path = filepath.Clean(path)
	group, err := p.mayRead(path)
	if err != nil {
		return nil, err
	}
	text, err := readOwn(path, p.o.Account, group, maxList)
	if err != nil {
		return nil, p.denied(path, err)
	}
	lines, err := parseLines(path, text)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if l.Kind != alias.Address && l.Kind != alias.Mailbox {
			return nil, fmt.Errorf("%s:%d: %v: %v stands in the alias file only; a list has addresses", l.File, l.Line, l.Target, l.Kind)
		}
	}
	return lines, nil
}

// mayRead looks whose the list is, and whether somebody else could put another
// in its place. It returns the group that may write it: the owner's.
func (p *Person) mayRead(path string) (group int, err error) {
	above, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return noGroup, p.denied(path, err)
	}
	if above.Mode().Perm()&0o002 != 0 && above.Mode()&fs.ModeSticky == 0 {
		return noGroup, fmt.Errorf("anybody may put another file in the place of the list %s: chmod o-w its directory", path)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return noGroup, p.denied(path, err)
	}
	if err := p.owner(path, info); err != nil {
		return noGroup, err
	}
	if err := checkLinks(path, uidOf(info)); err != nil {
		return noGroup, err
	}
	if uidOf(info) == 0 {
		return 0, nil
	}
	return p.o.Account.GID, nil
}

// checkLinks says why a list may be another than the one that the alias means:
// a third person's link on the way leads where he likes, so that its reader
// would show him what he may not read himself.
func checkLinks(path string, uid int) error {
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if other := uidOf(info); info.Mode()&fs.ModeSymlink != 0 && other != 0 && other != uid {
			return fmt.Errorf("the list %s is reached through %s, a link of uid %d, to whom it does not belong: name its real path in the alias", path, dir, other)
		}
	}
	return nil
}

// owner says whom to ask instead, if neither the user nor root has the file.
func (p *Person) owner(path string, info fs.FileInfo) error {
	uid := uidOf(info)
	if uid == p.o.Account.UID || uid == 0 {
		return nil
	}
	return &OwnerError{File: path, User: p.o.NameOf(uid), UID: uid}
}

// denied explains why a list can't be read. Where the way to it is shut, who
// owns the directory that can't be entered is to be asked instead, as for a
// home directory of mode 0700.
func (p *Person) denied(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("list of an alias: %w", err)
	}
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		if info, serr := os.Stat(dir); serr == nil {
			if instead := p.owner(path, info); instead != nil {
				return instead
			}
			break
		}
	}
	return fmt.Errorf("list of an alias, which %s has to read (or its owner, if that is a user): %w", p.o.Account.Name, err)
}

// nameOf finds the account with this uid in passwd(5), "" if there is none.
func nameOf(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}
