package crashfs

import (
	"io/fs"
	"syscall"

	"postoffice/internal/disk"
)

// device is the one disk's number in every Info.
const device = 1

type handle struct {
	fs       *FS
	id       int
	path     string
	closed   bool
	failures int // of the node's syncs, told to this handle
}

func (h *handle) do(op Op, what string, change func(*world) error) error {
	return h.try(op, what, func(w *world, injected *fault) error {
		if injected != nil {
			return injected.errno
		}
		return change(w)
	})
}

func (h *handle) try(op Op, what string, change func(*world, *fault) error) error {
	return h.fs.try(op, what, func(w *world, injected *fault) error {
		if h.closed {
			return syscall.EBADF
		}
		return change(w, injected)
	})
}

// told returns EIO once for each failed sync that this handle was open for.
func (h *handle) told(w *world) error {
	if n := w.disk.nodes[h.id].failures; n != h.failures {
		h.failures = n
		return syscall.EIO
	}
	return nil
}

func (h *handle) info(w *world, id int) disk.Info {
	n := w.disk.nodes[id]
	return disk.Info{
		Mode: n.kind | n.meta.mode, Size: int64(len(n.data)), Allocated: max(int64(len(n.data)), n.reserved),
		Nlink: uint64(n.links), UID: n.meta.uid, GID: n.meta.gid, Dev: device, Ino: uint64(id) + 1,
		ModTime: n.meta.modified, ChangeTime: n.meta.modified,
	}
}

func (h *handle) Chmod(mode fs.FileMode) error {
	return h.do(opChmod, h.path, func(w *world) error {
		w.disk.edit(h.id).meta.mode = mode &^ fs.ModeType
		return nil
	})
}

func (h *handle) Chown(uid, gid int) error {
	return h.do(opChown, h.path, func(w *world) error {
		m := &w.disk.edit(h.id).meta
		if uid >= 0 {
			m.uid = uid
		}
		if gid >= 0 {
			m.gid = gid
		}
		return nil
	})
}
