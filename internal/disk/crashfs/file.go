package crashfs

import (
	"io"
	"syscall"

	"postoffice/internal/disk"
)

type file struct {
	handle
	dir      int // where and as what it was opened
	name     string
	writable bool
	opened   disk.Info // what it was then
}

func (f *file) Write(p []byte) (int, error) { return f.write(opWrite, p, -1) }

func (f *file) WriteAt(p []byte, off int64) (int, error) { return f.write(opWriteAt, p, off) }

// write puts p at off, at the end if that is negative.
func (f *file) write(op Op, p []byte, off int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = f.try(op, f.path, func(w *world, injected *fault) error {
		if !f.writable {
			return syscall.EBADF
		}
		size := int64(len(w.disk.nodes[f.id].data))
		if off < 0 {
			off = size
		}
		var fail error
		n = len(p)
		if injected != nil {
			fail = injected.errno
			n = injected.length(len(p))
		}
		grow := off + int64(n) - max(size, w.disk.nodes[f.id].reserved)
		if short := grow - w.grow(grow); short > 0 {
			n, fail = n-int(short), syscall.ENOSPC
		}
		if n = max(n, 0); n > 0 {
			w.disk.edit(f.id).write(w.next(), off, p[:n], w.now())
		}
		return fail
	})
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do(opRead, f.path, func(w *world) error {
		if data := w.disk.nodes[f.id].data; off < int64(len(data)) {
			n = copy(p, data[off:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *file) Truncate(size int64) error {
	return f.do(opTruncate, f.path, func(w *world) error {
		if !f.writable || size < 0 {
			return syscall.EINVAL
		}
		have := int64(len(w.disk.nodes[f.id].data))
		if w.room != nil {
			w.room.Octets += max(have-size, 0)
		}
		w.disk.edit(f.id).truncate(w.next(), size, w.now())
		return nil
	})
}

func (f *file) Allocate(off, size int64) error {
	return f.do(opAllocate, f.path, func(w *world) error {
		n := w.disk.nodes[f.id]
		end := off + size
		grow := end - max(int64(len(n.data)), n.reserved)
		if got := w.grow(grow); got < grow {
			w.room.Octets += got
			return syscall.ENOSPC
		}
		if grow > 0 {
			w.disk.edit(f.id).reserved = end
		}
		return nil
	})
}

func (f *file) Sync() error { return f.sync(opSync, false) }

func (f *file) Datasync() error { return f.sync(opDatasync, true) }

func (f *file) sync(op Op, dataOnly bool) error {
	drop := f.fs.w.mutant.hit(Sync)
	return f.try(op, f.path, func(w *world, injected *fault) error {
		if drop {
			return nil
		}
		if injected != nil {
			w.disk.loseFile(f.id)
			f.failures = w.seen(f.id)
			return injected.errno
		}
		if err := f.told(w); err != nil {
			return err
		}
		w.disk.syncFile(f.id, dataOnly)
		w.commit()
		return nil
	})
}

func (f *file) TryLock() (bool, error) {
	return f.lock(opLock, func(w *world) map[int]*file { return w.flock })
}

func (f *file) TryLockRecord() (bool, error) {
	return f.lock(opLockRecord, func(w *world) map[int]*file { return w.fcntl })
}

func (f *file) lock(op Op, locks func(*world) map[int]*file) (got bool, err error) {
	drop := f.fs.w.mutant.hit(Lock)
	err = f.do(op, f.path, func(w *world) error {
		holder := locks(w)[f.id]
		if got = holder == nil || holder == f || drop || w.lockless; got && holder == nil {
			locks(w)[f.id] = f
		}
		return nil
	})
	return got, err
}

func (f *file) locked(w *world) bool { return w.flock[f.id] == f || w.fcntl[f.id] == f }

func (f *file) Stat() (i disk.Info, err error) {
	lie := f.fs.w.mutant.stale(f)
	err = f.do(opStat, f.path, func(w *world) error {
		if i = f.info(w, f.id); lie {
			i = f.opened
		}
		return nil
	})
	return i, err
}

func (f *file) Close() error {
	return f.try(opClose, f.path, func(w *world, injected *fault) error {
		f.closed = true
		for _, locks := range []map[int]*file{w.flock, w.fcntl} {
			if locks[f.id] == f {
				delete(locks, f.id)
			}
		}
		if injected != nil {
			return injected.errno
		}
		return nil
	})
}

// empty is what creating a file does that is there, without O_EXCL.
func (f *file) empty(w *world, d *dir) error {
	id, err := d.lookup(w, f.name)
	if err != nil {
		return err
	}
	if !w.disk.nodes[id].kind.IsRegular() {
		return syscall.EISDIR
	}
	f.id = id
	w.disk.edit(id).truncate(w.next(), 0, w.now())
	f.opened = f.info(w, id)
	return nil
}
