package user

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

// acts says why nothing is done for this user here. Neither root nor a process
// with any of root's ids does anything (A43).
func (u *User) acts(user string) error {
	a := u.o.Account
	switch {
	case user != a.Name:
		return fmt.Errorf("this process works for %s, not for %q", a.Name, user)
	case a.UID == 0 || os.Getuid() == 0 || os.Geteuid() == 0:
		return fmt.Errorf("nothing of %s's is run or read with uid 0: give it an alias", a.Name)
	case a.UID != os.Getuid() || a.UID != os.Geteuid():
		return fmt.Errorf("this process has uid %d, and %s has %d", os.Geteuid(), a.Name, a.UID)
	}
	return nil
}

// item finds a program or a file in the file where it stands. own: the user
// wrote it themselves.
func (u *User) item(ctx context.Context, j local.Job) (t alias.Target, own bool, err error) {
	i := j.Item
	switch i.Source {
	case local.FromAlias:
		if err := u.isDefault(); err != nil {
			return t, false, err
		}
		t, err = u.inAliases(ctx, i)
		return t, false, err
	case local.FromForward:
		if i.Name != j.User {
			return t, false, fmt.Errorf("the .forward of %q does nothing as %s", i.Name, j.User)
		}
		lines, err := u.forward(j.Envelope.Extension)
		if err != nil {
			return t, true, err
		}
		t, err = withHash(lines, i.Hash)
		return t, true, err
	case local.FromUsermap:
		m, err := u.mapping(ctx, i.Name)
		if err != nil {
			return t, false, err
		}
		if m.Then != nil && m.Then.Hash() == i.Hash {
			return *m.Then, false, u.isDefault()
		}
		lines, err := u.personal(m, i.Name)
		if err != nil {
			return t, true, err
		}
		t, err = withHash(lines, i.Hash)
		return t, true, err
	}
	return t, false, fmt.Errorf("nothing is run that comes from %q", i.Source)
}

// isDefault says why what stands in the administrator's files isn't run here.
func (u *User) isDefault() error {
	if a := u.o.Account.Name; a != u.o.DefaultUser {
		return fmt.Errorf("programs and files of aliases belong to %s (option default-user), not to %s", u.o.DefaultUser, a)
	}
	return nil
}

func withHash(lines []local.Line, h alias.Hash) (alias.Target, error) {
	for _, l := range lines {
		if l.Hash() == h {
			return l.Target, nil
		}
	}
	return alias.Target{}, local.ErrChanged
}

// inAliases finds an item in the alias file, or its database. Nobody reads them
// for a user who may not.
func (u *User) inAliases(ctx context.Context, i local.Item) (alias.Target, error) {
	t, err := u.findItem(ctx, i)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: %s has to read it for the programs, files and lists of aliases: chmod o+r it, or let option default-user name an account that may", err, u.o.Account.Name)
	}
	return t, err
}

func (u *User) findItem(ctx context.Context, i local.Item) (alias.Target, error) {
	if err := u.checkAliases(); err != nil {
		return alias.Target{}, err
	}
	targets, err := u.aliases.Lookup(ctx, i.Name)
	if errors.Is(err, alias.ErrNotFound) {
		err = local.ErrChanged
	}
	if err != nil {
		return alias.Target{}, fmt.Errorf("alias %s: %w", i.Name, err)
	}
	for _, t := range targets {
		if t.Hash() == i.Hash {
			return t, nil
		}
	}
	return alias.Target{}, fmt.Errorf("alias %s: %w", i.Name, local.ErrChanged)
}

// checkAliases says why an alias file may be somebody else's doing.
func (u *User) checkAliases() error {
	path := u.o.Aliases
	above, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if above.Mode().Perm()&0o022 != 0 && above.Mode()&fs.ModeSticky == 0 && !u.private(above) {
		return fmt.Errorf("others may write in the directory of %s (%s): nothing that it names is run; chmod go-w it", path, disk.ModeText(above.Mode()))
	}
	for _, name := range []string{path, path + ".db"} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if uid := disk.InfoOf(info).UID; uid != 0 && uid != u.o.AliasOwner {
			return fmt.Errorf("%s belongs to uid %d: nothing that it names is run; chown it to root", name, uid)
		}
		if info.Mode().Perm()&0o022 != 0 && !u.private(info) {
			return fmt.Errorf("others may write %s (%s): nothing that it names is run; chmod go-w it", name, disk.ModeText(info.Mode()))
		}
	}
	return nil
}

// private says that only the user, with a group of their own, may write what
// has this mode, and that the alias file is theirs.
func (u *User) private(info fs.FileInfo) bool {
	return info.Mode().Perm()&0o002 == 0 && disk.InfoOf(info).GID == u.o.Account.GID && u.o.AliasOwner == u.o.Account.UID
}
