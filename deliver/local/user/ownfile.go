package user

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

const (
	maxForward = 64 << 10 // octets of a .forward or a personal alias file (A49)
	maxList    = 16 << 20 // octets of a file named by :include:
	maxTargets = 60_000   // of one list
)

// A groupCheck says whether a group may write a file.
type groupCheck func(gid int) (bool, error)

// membersOf lets this group write.
func membersOf(group int) groupCheck {
	return func(gid int) (bool, error) { return gid == group, nil }
}

// anyGroup lets all groups write, as that of a mail directory.
func anyGroup(int) (bool, error) { return true, nil }

// itself lets the user's own group write, if nobody else is in it: with a umask
// of 002, as many systems have it, such a group may write all files.
func (u *User) itself(gid int) (bool, error) {
	if gid != u.o.Account.GID {
		return false, nil
	}
	return u.o.Alone(u.o.Account)
}

// readOwn reads a file whole. It must be a's or root's, and nobody may write it
// but its owner and the groups that may. All that is looked at is the open
// file, never its name (B54, A49). fs.ErrNotExist means that it isn't there.
func readOwn(dir *disk.Walk, name, path string, a account.Account, may groupCheck, most int64) (string, error) {
	f, err := dir.OpenFile(name)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return "", fmt.Errorf("%s is a symbolic link: put the file itself there", path)
	case errors.Is(err, syscall.ENXIO): // a socket
		return "", errIrregular(path)
	case err != nil:
		return "", err
	}
	defer f.Close()
	info, err := statOf(f)
	if err == nil {
		err = checkOwn(info, path, a, may, most)
	}
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	after, err := statOf(f)
	if err != nil {
		return "", err
	}
	if int64(len(text)) != info.Size || !after.Unchanged(info) {
		return "", fmt.Errorf("%s changed while it was read", path)
	}
	return string(text), nil
}

func statOf(f *os.File) (disk.Info, error) {
	info, err := f.Stat()
	if err != nil {
		return disk.Info{}, err
	}
	return disk.InfoOf(info), nil
}

func errIrregular(path string) error {
	return fmt.Errorf("%s is no regular file: put one in its place", path)
}

// checkOwn says why what stands in an open file does not count.
func checkOwn(info disk.Info, path string, a account.Account, may groupCheck, most int64) error {
	switch {
	case !info.Mode.IsRegular():
		return errIrregular(path)
	case info.Size > most:
		return fmt.Errorf("%s has %d octets, at most %d are read: make it shorter", path, info.Size, most)
	}
	if err := checkWriters(info, path, a, may); err != nil {
		return err
	}
	if info.Nlink != 1 {
		return fmt.Errorf("%s has %d names, and may be meant for something else by another of them: put a file of its own there", path, info.Nlink)
	}
	return nil
}

// checkWriters says why a file or directory may be somebody else's doing: only
// the user and root may have written it, and the groups that may.
func checkWriters(info disk.Info, path string, a account.Account, may groupCheck) error {
	if info.UID != a.UID && info.UID != 0 {
		return fmt.Errorf("%s belongs to uid %d: chown it to %s", path, info.UID, a.Name)
	}
	mode := info.Mode.Perm()
	foreign := mode&0o002 != 0
	if !foreign && mode&0o020 != 0 {
		ok, err := may(info.GID)
		if err != nil {
			return fmt.Errorf("its group may write %s, and who is in that is not known now (chmod g-w it): %w", path, err)
		}
		foreign = !ok
	}
	if foreign {
		return fmt.Errorf("others may write %s (%s): chmod go-w it", path, disk.ModeText(info.Mode))
	}
	return nil
}

// checkWay says why what a way leads to may be another than what is meant: a
// third person who owns a directory or a link on it, or may write there, leads
// it where they like, so that its reader would show them what they may not read
// themselves (A86). Where the sticky bit is set nobody takes away what others
// have. Groups that may write there are for may to judge.
func (u *User) checkWay(way []disk.Step, what string, may groupCheck) error {
	for _, s := range way {
		kind := "directory"
		if s.Info.Mode&fs.ModeSymlink != 0 {
			kind = "link"
		}
		if uid := s.Info.UID; uid != u.o.Account.UID && uid != 0 {
			return fmt.Errorf("%s is reached through %s, a %s of uid %d, to whom it does not belong: name a path that root or %s alone can change", what, s.Path, kind, uid, u.o.Account.Name)
		}
		if kind == "link" || s.Info.Mode&fs.ModeSticky != 0 {
			continue
		}
		foreign := s.Info.Mode.Perm()&0o002 != 0
		if !foreign && s.Info.Mode.Perm()&0o020 != 0 && s.Info.GID != 0 {
			ok, err := may(s.Info.GID)
			if err != nil {
				return fmt.Errorf("%s is reached through %s, which its group may write, and who is in that is not known now (chmod g-w it): %w", what, s.Path, err)
			}
			foreign = !ok
		}
		if foreign {
			return fmt.Errorf("%s is reached through %s, where others may put something in its place (%s): chmod go-w it, or +t if they are to have files of their own there", what, s.Path, disk.ModeText(s.Info.Mode))
		}
	}
	return nil
}

// parseLines reads the text of a list that stands in the file path.
func parseLines(path, text string) ([]local.Line, error) {
	items, err := alias.ParseList(strings.NewReader(text), maxTargets)
	if err != nil {
		return nil, inFile(path, err)
	}
	lines := make([]local.Line, len(items))
	for i, t := range items {
		lines[i] = local.Line{Target: t.Target, File: path, Line: t.Line}
	}
	return lines, nil
}

// inFile says where a line can't be understood.
func inFile(path string, err error) error {
	if se, ok := errors.AsType[*alias.SyntaxError](err); ok {
		return &local.LineError{File: path, Line: se.Line, Quote: se.Err.Error()}
	}
	return fmt.Errorf("%s: %w", path, err)
}
