package crashfs

import (
	"errors"
	"io/fs"
	"iter"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"syscall"

	"postoffice/internal/disk"
)

type dir struct{ handle }

func (d *dir) join(name string) string { return path.Join(d.path, name) }

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return disk.ErrName
	}
	return nil
}

// lookup finds a name; ENOENT if there is none.
func (d *dir) lookup(w *world, name string) (int, error) {
	if err := checkName(name); err != nil {
		return none, err
	}
	id, ok := w.disk.nodes[d.id].names[name]
	if !ok {
		return none, syscall.ENOENT
	}
	return id, nil
}

// vacant is EEXIST if name is taken.
func (d *dir) vacant(w *world, name string) error {
	_, err := d.lookup(w, name)
	if err == nil {
		return syscall.EEXIST
	}
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

func (d *dir) move(w *world, sets ...assignment) {
	w.disk.rename(&move{seq: w.next(), home: sets[0].dir, sets: sets})
}

func (d *dir) Create(name string, mode fs.FileMode) (disk.File, error) {
	f := &file{handle: handle{fs: d.fs, path: d.join(name)}, dir: d.id, name: name, writable: true}
	drop := d.fs.w.mutant.hit(Exclusive)
	err := d.do(opCreate, f.path, func(w *world) error {
		if err := d.vacant(w, name); err != nil {
			if drop && errors.Is(err, syscall.EEXIST) {
				return f.empty(w, d)
			}
			return err
		}
		id, err := w.newNode(d.fs, d.id, &node{meta: meta{mode: mode &^ fs.ModeType}})
		if err != nil {
			return err
		}
		d.move(w, assignment{d.id, name, id})
		f.id, f.opened = id, f.info(w, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *dir) Open(name string, access disk.Access) (disk.File, error) {
	f := &file{handle: handle{fs: d.fs, path: d.join(name)}, dir: d.id, name: name, writable: access == disk.ReadWrite}
	err := d.do(opOpen, f.path, func(w *world) error {
		id, err := d.lookup(w, name)
		if err != nil {
			return err
		}
		switch kind := w.disk.nodes[id].kind; {
		case kind == fs.ModeSymlink:
			return syscall.ELOOP
		case kind != 0:
			return disk.ErrNotRegular
		}
		f.id, f.failures, f.opened = id, w.seen(id), f.info(w, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *dir) OpenDir(name string) (disk.Dir, error) {
	sub := &dir{handle{fs: d.fs, path: d.join(name)}}
	err := d.do(opOpenDir, sub.path, func(w *world) error {
		id, err := d.lookup(w, name)
		if err != nil {
			return err
		}
		switch kind := w.disk.nodes[id].kind; kind {
		case fs.ModeSymlink:
			return syscall.ELOOP
		case fs.ModeDir:
		default:
			return syscall.ENOTDIR
		}
		sub.id, sub.failures = id, w.seen(id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sub, nil
}

func (d *dir) Mkdir(name string, mode fs.FileMode) error {
	return d.do(opMkdir, d.join(name), func(w *world) error {
		if err := d.vacant(w, name); err != nil {
			return err
		}
		id, err := w.newNode(d.fs, d.id, &node{kind: fs.ModeDir, meta: meta{mode: mode &^ fs.ModeType}, names: map[string]int{}, synced: map[string]int{}})
		if err != nil {
			return err
		}
		d.move(w, assignment{d.id, name, id})
		return nil
	})
}

func (d *dir) Lstat(name string) (disk.Info, error) {
	var i disk.Info
	lie := d.fs.w.mutant.lies(d, name)
	err := d.do(opStat, d.join(name), func(w *world) error {
		if lie != nil {
			i = d.info(w, lie.id)
			return nil
		}
		id := d.id
		if name != "." {
			var err error
			if id, err = d.lookup(w, name); err != nil {
				return err
			}
		}
		i = d.info(w, id)
		return nil
	})
	return i, err
}

// from finds what a call with two names is about.
func (d *dir) from(w *world, old string, to disk.Dir, name string) (id int, t *dir, err error) {
	t, ok := to.(*dir)
	if !ok || t.fs.w != w {
		return none, nil, syscall.EXDEV
	}
	if t.closed {
		return none, nil, syscall.EBADF
	}
	if err := checkName(name); err != nil {
		return none, nil, err
	}
	id, err = d.lookup(w, old)
	return id, t, err
}

func (d *dir) Rename(old string, to disk.Dir, name string) error {
	return d.do(opRename, d.join(old)+" "+name, func(w *world) error {
		id, t, err := d.from(w, old, to, name)
		if err != nil {
			return err
		}
		return d.replace(w, old, id, t, name)
	})
}

func (d *dir) replace(w *world, old string, id int, t *dir, name string) error {
	there, taken := w.disk.nodes[t.id].names[name]
	if taken && there == id {
		return nil // POSIX: two names of one file, nothing is done
	}
	if taken && (w.disk.nodes[there].kind == fs.ModeDir) != (w.disk.nodes[id].kind == fs.ModeDir) {
		return syscall.EISDIR
	}
	d.move(w, assignment{t.id, name, id}, assignment{d.id, old, none})
	if taken {
		w.release(there)
	}
	return nil
}

func (d *dir) RenameNoReplace(old string, to disk.Dir, name string) error {
	drop := d.fs.w.mutant.hit(Exclusive)
	if d.fs.portable() && !drop {
		return d.renameByLink(old, to, name)
	}
	return d.do(opRename, d.join(old)+" "+name, func(w *world) error {
		id, t, err := d.from(w, old, to, name)
		if err != nil {
			return err
		}
		if err := t.vacant(w, name); err != nil && !drop {
			return err
		}
		return d.replace(w, old, id, t, name)
	})
}

// renameByLink is what disk.Portable does.
func (d *dir) renameByLink(old string, to disk.Dir, name string) error {
	if err := d.link(opLink, old, to, name, false); err != nil {
		return err
	}
	err := to.Sync()
	if err == nil {
		err = d.remove(opUnlink, old)
	}
	if err != nil {
		_ = to.Unlink(name)
	}
	return err
}

func (f *FS) portable() bool {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.portable
}

func (d *dir) Link(old string, to disk.Dir, name string) error {
	return d.link(opLink, old, to, name, d.fs.w.mutant.hit(Exclusive))
}

func (d *dir) link(op Op, old string, to disk.Dir, name string, replace bool) error {
	return d.do(op, d.join(old)+" "+name, func(w *world) error {
		id, t, err := d.from(w, old, to, name)
		if err != nil {
			return err
		}
		if w.disk.nodes[id].kind == fs.ModeDir {
			return syscall.EPERM
		}
		if err := t.vacant(w, name); err != nil && !replace {
			return err
		}
		d.move(w, assignment{t.id, name, id})
		return nil
	})
}

func (d *dir) Unlink(name string) error { return d.remove(opUnlink, name) }

func (d *dir) remove(op Op, name string) error {
	return d.do(op, d.join(name), func(w *world) error {
		id, err := d.lookup(w, name)
		if err != nil {
			return err
		}
		if w.disk.nodes[id].kind == fs.ModeDir {
			return syscall.EISDIR
		}
		d.move(w, assignment{d.id, name, none})
		w.release(id)
		return nil
	})
}

func (d *dir) Names() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var names []string
		err := d.do(opNames, d.path, func(w *world) error {
			names = slices.Sorted(maps.Keys(w.disk.nodes[d.id].names))
			return nil
		})
		if err != nil {
			yield("", err)
			return
		}
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (d *dir) Sync() error {
	drop := d.fs.w.mutant.hit(DirSync)
	return d.try(opSyncDir, d.path, func(w *world, injected *fault) error {
		if drop {
			return nil
		}
		if injected != nil {
			w.disk.loseDir(d.id)
			d.failures = w.seen(d.id)
			return injected.errno
		}
		if err := d.told(w); err != nil {
			return err
		}
		w.disk.syncDir(d.id)
		w.commit()
		return nil
	})
}

// commit is the journal's part of a sync.
func (w *world) commit() {
	if w.journal {
		w.disk.settle(func(*move) bool { return true })
	}
}

func (d *dir) Space() (disk.Space, error) {
	room := disk.Space{Octets: math.MaxInt64, Inodes: math.MaxInt64}
	err := d.do(opSpace, d.path, func(w *world) error {
		if w.room != nil {
			room = *w.room
		}
		return nil
	})
	return room, err
}

func (d *dir) Close() error {
	return d.try(opCloseDir, d.path, func(_ *world, injected *fault) error {
		d.closed = true
		if injected != nil {
			return injected.errno
		}
		return nil
	})
}
