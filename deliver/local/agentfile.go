package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"postoffice/internal/alias"
)

const (
	maxForward = 64 << 10 // octets of a .forward or a personal alias file (A49)
	maxList    = 16 << 20 // octets of a file named by :include:
	maxTargets = 60_000   // of one list
)

// noGroup in place of a group says that no group may write.
const noGroup = -1

// readOwn reads a file whole. It must be a's or root's, and nobody may write it
// but its owner and the group, which may be noGroup. All that is looked at is
// the open file, never its name (B54, A49). fs.ErrNotExist means that it isn't
// there.
func readOwn(path string, a Account, group int, most int64) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EMLINK): // FreeBSD's
		return "", fmt.Errorf("%s is a symbolic link: put the file itself there", path)
	case errors.Is(err, syscall.ENXIO): // a socket
		return "", errIrregular(path)
	case err != nil:
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = checkOwn(info, path, a, group, most)
	}
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	after, err := f.Stat()
	if err != nil {
		return "", err
	}
	if int64(len(text)) != info.Size() || after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime()) {
		return "", fmt.Errorf("%s changed while it was read", path)
	}
	return string(text), nil
}

func errIrregular(path string) error {
	return fmt.Errorf("%s is no regular file: put one there, or nothing", path)
}

// checkOwn says why what stands in an open file does not count.
func checkOwn(info fs.FileInfo, path string, a Account, group int, most int64) error {
	switch {
	case !info.Mode().IsRegular():
		return errIrregular(path)
	case info.Size() > most:
		return fmt.Errorf("%s has %d octets, at most %d are read: make it shorter", path, info.Size(), most)
	}
	return checkWriters(info, path, a, group)
}

// checkWriters says why a file or directory may be somebody else's doing: only
// the user and root may have written it, and the group.
func checkWriters(info fs.FileInfo, path string, a Account, group int) error {
	if uid := uidOf(info); uid != a.UID && uid != 0 {
		return fmt.Errorf("%s belongs to uid %d: chown it to %s", path, uid, a.Name)
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 || mode&0o020 != 0 && gidOf(info) != group {
		return fmt.Errorf("others may write %s (%v): chmod go-w it", path, info.Mode())
	}
	return nil
}

func uidOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
func gidOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Gid) }

// checkHome says why a file in this directory, the home directory or one below
// it, may be somebody else's doing. The user's own group may write there.
func checkHome(dir string, a Account) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return checkWriters(info, dir, a, a.GID)
}

// parseLines reads the text of a list that stands in the file path.
func parseLines(path, text string) ([]Line, error) {
	items, err := alias.ParseList(strings.NewReader(text), maxTargets)
	if err != nil {
		return nil, inFile(path, err)
	}
	lines := make([]Line, len(items))
	for i, t := range items {
		lines[i] = Line{Target: t.Target, File: path, Line: t.Line}
	}
	return lines, nil
}

// inFile says where a line can't be understood.
func inFile(path string, err error) error {
	if se, ok := errors.AsType[*alias.SyntaxError](err); ok {
		return fmt.Errorf("%s:%d: %w", path, se.Line, se.Err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
