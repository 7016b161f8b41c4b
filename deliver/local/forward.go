package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

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
		if home, err = fsys.OpenDir(a.Home); err == nil {
			return home, nil
		}
	}
	if gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); gone && (a.UID < firstUser || a.Home == noHome) {
		return nil, nil
	}
	return nil, fmt.Errorf("home directory %q of %s (is its file system mounted?): %w", a.Home, a.Name, err)
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
		case !errors.Is(err, fs.ErrNotExist):
			return false, fmt.Errorf("look for %s: %w", name, err)
		}
	}
	return false, nil
}
