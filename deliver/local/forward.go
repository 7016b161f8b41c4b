package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

const (
	forwardFile = ".forward"

	maxExtension = 200  // octets of an extension that may have a file of its own
	firstUser    = 1000 // accounts from this uid on have a home
	noHome       = "/nonexistent"
)

// forwardNames are the files in a home directory that may say where mail goes.
// The first that is there counts.
func forwardNames(extension string) []string {
	names := []string{forwardFile}
	name := forwardFile + "+" + extension
	if extension != "" && len(extension) <= maxExtension && filepath.IsLocal(name) &&
		!strings.ContainsFunc(extension, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
		names = []string{name, forwardFile}
	}
	return names
}

// openHome opens an account's home directory, which takes his ids. nil and no
// error: it is not there, and need not be for a system's account or one whose
// home is /nonexistent. Any other home that is missing may be on a file system
// that is not mounted now (A49).
func openHome(fsys disk.FS, a Account) (disk.Dir, error) {
	err := error(fs.ErrNotExist)
	if filepath.IsAbs(a.Home) {
		var home disk.Dir
		if home, err = disk.Search(fsys, a.Home); err == nil {
			return home, nil
		}
	}
	if gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); gone && (a.UID < firstUser || a.Home == noHome) {
		return nil, nil
	}
	return nil, fmt.Errorf("home directory %q of %s (is its file system mounted? who has none has /nonexistent in passwd): %w", a.Home, a.Name, err)
}

// forwarded says whether mail of an account goes where a file in his home
// directory says, whatever kind of file it is. Only its certain absence is no.
// root's never counts (A43).
func forwarded(home disk.Dir, extension string) (bool, error) {
	for _, name := range forwardNames(extension) {
		_, err := home.Lstat(name)
		switch {
		case err == nil:
			return true, nil
		case !absent(name, err):
			return false, fmt.Errorf("look for %s: %w", name, err)
		}
	}
	return false, nil
}

// absent says whether err means that there is certainly no such file: none that
// has the name of a detail, also where no file can have it, as one that is too
// long for an encrypted directory or has an octet that its file system lacks.
func absent(name string, err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	impossible := errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EILSEQ)
	return impossible && name != forwardFile
}

// forward reads the user's .forward, the one of the extension first. None that
// is there, or an empty one, is no lines.
func (p *Person) forward(extension string) ([]Line, error) {
	a := p.o.Account
	if there, err := p.hasHome(); !there {
		return nil, err
	}
	for _, name := range forwardNames(extension) {
		path := filepath.Join(a.Home, name)
		text, err := readOwn(path, a, noGroup, maxForward)
		if absent(name, err) {
			continue
		}
		if err == nil {
			err = checkHome(a.Home, a)
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

// hasHome says whether the home directory is there. One that is not, though it
// should be, is an error.
func (p *Person) hasHome() (bool, error) {
	home, err := openHome(p.o.FS, p.o.Account)
	if home == nil {
		return false, err
	}
	return true, home.Close()
}

// noLists refuses what only the alias file may have (A50).
func noLists(lines []Line) error {
	for _, l := range lines {
		if l.Kind == alias.Include {
			return fmt.Errorf("%s:%d: :include: stands in the alias file only: write the addresses here, or ask for an alias", l.File, l.Line)
		}
	}
	return nil
}
