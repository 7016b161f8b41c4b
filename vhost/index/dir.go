package index

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postoffice/internal/disk"
)

const (
	maxOctets = 1 << 30   // of all files of the directory
	tidyWait  = time.Hour // between two looks for what is to be removed
	othersMay = 0o077     // the mode's bits for group and others
)

// A Dir is the directory that the files are in.
type Dir struct {
	FS   disk.FS
	Path string // absolute
	UID  int    // whose it must be
	Key  Key    // of no other use
	Keep func() (func(name string) bool, error)

	mu      sync.Mutex // guards what follows
	tidied  time.Time
	written int64 // octets since then
}

// Open opens the file of a name, which the Table keeps, if it was made of a file that is
// unchanged. With neither ok nor an error there is none of it.
func (d *Dir) Open(name string, of disk.Info) (t *Table, words string, ok bool, err error) {
	dir, err := d.open()
	if err != nil {
		return nil, "", false, err
	}
	defer dir.Close()
	f, err := dir.Open(name, disk.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", false, nil
	}
	if err != nil {
		return nil, "", false, err
	}
	i, err := f.Stat()
	if err == nil && (i.UID != d.UID || i.Mode.Perm()&othersMay != 0 || i.Nlink > 1) { // 0: another process has just put a file in its place
		err = ErrDamaged
	}
	if err == nil {
		t, words, ok, err = open(f, i.Size, of, d.Key)
	}
	if !ok {
		f.Close() // it was only read
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(d.Path, name), err)
	}
	return t, words, ok, err
}

// open opens the directory. What leads there is the administrator's.
func (d *Dir) open() (disk.Dir, error) {
	parent, err := disk.Search(d.FS, filepath.Dir(d.Path))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	dir, err := parent.OpenDir(filepath.Base(d.Path))
	if err != nil {
		return nil, err
	}
	i, err := dir.Lstat(".")
	if err == nil && (i.UID != d.UID || i.Mode.Perm()&othersMay != 0) {
		err = fmt.Errorf("%s belongs to uid %d (%s): chown it to %d, and chmod 700", d.Path, i.UID, disk.ModeText(i.Mode), d.UID)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// Write puts the entries of a Table in memory into a file in the place of what the name has,
// and returns one that keeps it.
func (d *Dir) Write(name string, made Made, in *Table) (*Table, error) {
	dir, err := d.open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := d.tidy(dir, sizeOf(in.n)); err != nil {
		return nil, err
	}
	t, err := put(dir, name, made, in.all, d.Key)
	if errors.Is(err, fs.ErrNotExist) { // another process has tidied up
		t, err = put(dir, name, made, in.all, d.Key)
	}
	return t, err
}

// put writes a file with a name that nobody else has, so that what is put in place is whole.
func put(dir disk.Dir, name string, made Made, entries []byte, key Key) (*Table, error) {
	tmp := "." + rand.Text()
	f, err := dir.Create(tmp, 0o600)
	if err != nil {
		return nil, err
	}
	t, err := write(f, made, entries, key)
	if err == nil {
		err = dir.Rename(tmp, dir, name)
	}
	if err == nil {
		return t, nil
	}
	f.Close() // what is in it is of no use
	if gone := dir.Unlink(tmp); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return nil, err
}

// tidy removes what isn't to be kept, and what was written first where all of it is too
// much: before the first file is written also what was left by somebody who was killed.
// Whoever writes another file beside us loses that, and writes it again.
func (d *Dir) tidy(dir disk.Dir, more int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.tidied.IsZero()
	d.written += more
	if !first && d.written < maxOctets/8 && time.Since(d.tidied) < tidyWait {
		return nil
	}
	keep, err := d.Keep()
	if err != nil {
		keep = func(string) bool { return true }
	}
	type kept struct {
		name string
		disk.Info
	}
	var all []*kept                // the code that sorts pointers is there already
	octets := int64(maxOctets / 8) // until the next time
	for name, err := range dir.Names() {
		if err != nil {
			return err
		}
		half := strings.HasPrefix(name, ".")
		i, err := dir.Lstat(name)
		switch {
		case err != nil, half && !first:
		case half || !keep(name):
			err = dir.Unlink(name)
		default:
			all = append(all, &kept{name, i})
			octets += i.Size
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	slices.SortFunc(all, func(a, b *kept) int { return a.ModTime.Compare(b.ModTime) })
	for ; octets > maxOctets && len(all) > 0; all = all[1:] {
		if err := dir.Unlink(all[0].name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		octets -= all[0].Size
	}
	d.tidied, d.written = time.Now(), more
	return nil
}
