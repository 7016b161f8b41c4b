package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"syscall"

	"postoffice/internal/disk"
)

// maxNames is how many names of a Maildir one look sees: a million names of 60 octets are
// read in a second, and few mailboxes have more.
const maxNames = 1_000_000

// File returns how many octets a file of messages has; 0 where there is none.
func File(dir disk.Dir, name string) (int64, error) {
	info, err := dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case !info.Mode.IsRegular():
		return 0, disk.ErrNotRegular
	}
	return info.Size, nil
}

// count adds up a Maildir.
type count struct {
	step  func()
	names int
	sum   int64
}

// errEnough ends a look that has seen maxNames.
var errEnough = errors.New("more names than are counted")

// Maildir returns how many octets the messages in a Maildir and its folders have
// (Maildir++: directories beside cur whose names begin with a dot). step is called at
// each file and name. What is beyond maxNames is not counted.
func Maildir(dir disk.Dir, step func()) (int64, error) {
	c := count{step: step}
	err := c.messages(dir)
	for name, e := range dir.Names() {
		if err = errors.Join(err, e, c.see()); err != nil {
			break
		}
		if strings.HasPrefix(name, ".") {
			err = c.folder(dir, name)
		}
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c.sum, err
}

// see counts a name.
func (c *count) see() error {
	if c.step(); c.names == maxNames {
		return errEnough
	}
	c.names++
	return nil
}

// folder adds what is in a folder, if name is one.
func (c *count) folder(dir disk.Dir, name string) error {
	folder, err := open(dir, name)
	if folder == nil || err != nil {
		return err
	}
	defer folder.Close()
	return c.messages(folder)
}

// open opens a directory; nil where that is none, or has gone.
func open(dir disk.Dir, name string) (disk.Dir, error) {
	d, err := dir.OpenDir(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("count what is in %q: %w", name, err)
	}
	return d, nil
}

// messages adds what is in cur/ and new/.
func (c *count) messages(dir disk.Dir) error {
	for _, name := range []string{"cur", "new"} {
		d, err := open(dir, name)
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		err = c.files(d)
		d.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *count) files(d disk.Dir) error {
	for name, err := range d.Names() {
		if err = errors.Join(err, c.see()); err != nil {
			return err
		}
		size, ok := named(name)
		if !ok {
			info, err := d.Lstat(name)
			if err != nil || !info.Mode.IsRegular() {
				continue // it has gone, or is no message
			}
			size = info.Size
		}
		if c.sum += min(size, math.MaxInt64-c.sum); c.sum == math.MaxInt64 {
			return errEnough
		}
	}
	return nil
}

// named is the size that the name of a message says, as in 1700000000.M1P2.host,S=345:2,S.
func named(name string) (int64, bool) {
	_, rest, ok := strings.Cut(name, ",S=")
	if !ok {
		return 0, false
	}
	if i := strings.IndexAny(rest, ",:"); i >= 0 {
		rest = rest[:i]
	}
	n, err := strconv.ParseUint(rest, 10, 62)
	return int64(n), err == nil
}
