//go:build unix

package disk

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxLinks = 40  // links on one way, as many as Linux follows
	maxSteps = 400 // directories and links on one way
)

// A Step is a directory or a link that a Walk has passed, as it was while it was
// open.
type Step struct {
	Path string // by which it was reached, without links
	Info Info
}

// A Walk is a directory to which we have come step by step: each directory and
// each link was opened in the one before, never by its path, and looked at while
// it was open. Nobody can put another in the place of what was looked at (A86).
type Walk struct {
	Steps []Step // all but the root directory

	dir     int    // the directory that was reached
	path    string // its path, without links
	rest    []string
	links   int
	between func(path string) // for tests: called before each step
}

// WalkTo walks to a directory. Links on the way are read and their texts are
// walked in the same way, 40 at most. After an error the Walk has the
// steps that were made, and needs no Close.
func WalkTo(path string, between func(path string)) (*Walk, error) {
	w := &Walk{Steps: make([]Step, 0, 8), dir: -1, path: "/", between: between}
	err := error(ErrName)
	if filepath.IsAbs(path) {
		err = w.toRoot()
	}
	if err == nil {
		err = w.walk(path)
	}
	if err == nil {
		return w, nil
	}
	if w.dir >= 0 {
		_ = closeFD(&w.dir)
	}
	return w, &fs.PathError{Op: "open", Path: path, Err: err}
}

// Below walks on from the directory. The steps are those below it, and w stays
// as it is.
func (w *Walk) Below(path string) (*Walk, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.FcntlInt(uintptr(w.dir), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	on := &Walk{dir: fd, path: w.path, between: w.between}
	if err == nil {
		err = on.walk(path)
	}
	if err != nil {
		if on.dir >= 0 {
			_ = closeFD(&on.dir)
		}
		return on, &fs.PathError{Op: "open", Path: filepath.Join(w.path, path), Err: err}
	}
	return on, nil
}

func (w *Walk) walk(path string) error {
	w.rest = elements(path)
	for len(w.rest) > 0 {
		if len(w.Steps) == maxSteps {
			return unix.ELOOP
		}
		name := w.rest[0]
		w.rest = w.rest[1:]
		if w.between != nil {
			w.between(below(w.path, name))
		}
		if err := w.step(name); err != nil {
			return err
		}
	}
	return nil
}

// elements are what a path consists of. A ".." stays: what stands above a
// directory is for the directory to say, not for its path.
func elements(path string) []string {
	list := make([]string, 0, strings.Count(path, "/")+1)
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			list = append(list, name)
		}
	}
	return list
}

// below is the path of a name in a directory.
func below(dir, name string) string {
	switch {
	case name == "..":
		return filepath.Dir(dir)
	case dir == "/":
		return dir + name
	}
	return dir + "/" + name
}

// step goes into a directory, or on where a link leads.
func (w *Walk) step(name string) error {
	fd, target, info, err := openStep(w.dir, name)
	if err != nil {
		return err
	}
	at := below(w.path, name)
	w.Steps = append(w.Steps, Step{at, info})
	if fd >= 0 {
		_ = closeFD(&w.dir) // nothing was written
		w.dir, w.path = fd, at
		return nil
	}
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if target == "" {
		return unix.ENOENT
	}
	w.rest = append(elements(target), w.rest...)
	if filepath.IsAbs(target) {
		return w.toRoot()
	}
	return nil
}

// toRoot goes to the root directory.
func (w *Walk) toRoot() error {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Open("/", dirFlags, 0)
		return err
	})
	if err != nil {
		return err
	}
	if w.dir >= 0 {
		_ = closeFD(&w.dir)
	}
	w.dir, w.path = fd, "/"
	return nil
}

// readLink is readlinkat(2).
func readLink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := retry(func() (err error) {
		n, err = readlinkat(dir, name, buf)
		return err
	})
	if err == nil && n == len(buf) {
		err = unix.ENAMETOOLONG
	}
	return string(buf[:max(n, 0)]), err
}

// Lstat tells what a name in the directory is.
func (w *Walk) Lstat(name string) (Info, error) {
	d := osDir{fd: w.dir, path: w.path}
	return d.Lstat(name)
}

// OpenFile opens a file in the directory to be read, whatever kind of file that
// is, but never through a link: that is ELOOP. It waits for nobody.
func (w *Walk) OpenFile(name string) (*os.File, error) {
	d := osDir{fd: w.dir, path: w.path}
	fd, err := d.open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == unix.EMLINK { // FreeBSD's
		err = unix.ELOOP
	}
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(w.path, name)), nil
}

// SearchWay is Search for a path that a user named: the way is walked step by
// step, and check says what is wrong with it. On a model of disks, where nobody
// else is, it is FS.OpenDir.
func SearchWay(fsys FS, path string, check func(way []Step) error) (Dir, error) {
	system, ok := fsys.(osFS)
	if !ok {
		return fsys.OpenDir(path)
	}
	w, err := WalkTo(path, nil)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := check(w.Steps); err != nil {
		return nil, err
	}
	d := &osDir{path: filepath.Clean(path), portable: system.portable}
	err = retry(func() (err error) {
		d.fd, err = unix.Openat(w.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err == unix.EACCES && canBeBlind {
		d.blind = true
		d.fd, err = unix.FcntlInt(uintptr(w.dir), unix.F_DUPFD_CLOEXEC, 3)
	}
	if err != nil {
		return nil, d.fail("open", "", err)
	}
	return d, nil
}

// Close closes the directory.
func (w *Walk) Close() error { return closeFD(&w.dir) }
