package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"postoffice/deliver/local/stalled"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

const (
	forwardFile = ".forward"

	maxExtension = 200  // octets of an extension that may have a file of its own
	firstUser    = 1000 // accounts from this uid on have a home
	noHome       = "/nonexistent"
)

// ForwardNames are the files in a home directory that may say where mail goes.
// The first that is there counts.
func ForwardNames(extension string) []string {
	names := []string{forwardFile}
	name := forwardFile + "+" + extension
	if extension != "" && len(extension) <= maxExtension && filepath.IsLocal(name) &&
		!strings.ContainsFunc(extension, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
		names = []string{name, forwardFile}
	}
	return names
}

// Homes says what becomes of mail for an account whose home directory isn't there.
type Homes struct {
	Required  bool                    // it waits (option require-home)
	Unmounted func(dir string) string // as stalled.Tables.Unmounted; nil: as this machine says
}

// Open opens an account's home directory, which takes the account's ids. nil and no
// error: it is not there, and need not be.
func (h Homes) Open(fsys disk.FS, a account.Account) (disk.Dir, error) {
	return OpenHome(h, a, func() (disk.Dir, error) { return disk.Search(fsys, a.Home) })
}

// OpenHome is Homes.Open in another way to open a directory. It looks again for one that
// may be nowhere: it can have been mounted before it was found out that nothing is missing.
func OpenHome[T any](h Homes, a account.Account, open func() (T, error)) (home T, err error) {
	var none T
	for range 2 {
		err = fs.ErrNotExist
		if filepath.IsAbs(a.Home) {
			if home, err = open(); err == nil {
				return home, nil
			}
		}
		if err = h.missing(a, err); err != nil {
			return none, err
		}
	}
	return none, nil
}

// missing explains why an account's home directory can't be opened. nil: it is not
// there, and need not be: the account is a system's or has /nonexistent for a home, or
// nothing says that it may be on a file system that is not mounted now (A49).
func (h Homes) missing(a account.Account, err error) error {
	if gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); gone {
		if a.UID < firstUser || a.Home == noHome {
			return nil
		}
		if !h.Required && filepath.IsAbs(a.Home) {
			look := h.Unmounted
			if look == nil {
				look = stalled.Tables{}.Unmounted
			}
			why := look(a.Home)
			if why == "" {
				return nil
			}
			return fmt.Errorf("home directory %q of %s (%s): %w", a.Home, a.Name, why, err)
		}
	}
	return fmt.Errorf("home directory %q of %s (is its file system mounted? who has none has /nonexistent in passwd): %w", a.Home, a.Name, err)
}

// forwarded says whether mail of an account goes where a file in its home
// directory says, whatever kind of file it is. Only its certain absence is no.
// root's never counts (A43).
func forwarded(home disk.Dir, extension string) (bool, error) {
	for _, name := range ForwardNames(extension) {
		_, err := home.Lstat(name)
		switch {
		case err == nil:
			return true, nil
		case !Absent(name, err):
			return false, fmt.Errorf("look for %s: %w", name, err)
		}
	}
	return false, nil
}

// Absent says whether err means that there is certainly no such file: none that
// has the name of a detail, also where no file can have it, as one that is too
// long for an encrypted directory or has an octet that its file system lacks.
func Absent(name string, err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	impossible := errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EILSEQ)
	return impossible && name != forwardFile
}
