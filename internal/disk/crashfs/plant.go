package crashfs

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// What follows is for tests to set up a disk and to look at it: it does not
// count as calls, never fails by injection and is durable at once.

// MkdirAll makes a directory and those above it.
func (f *FS) MkdirAll(name string, mode fs.FileMode) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	dir := "/"
	for part := range strings.SplitSeq(strings.Trim(path.Clean(name), "/"), "/") {
		dir = path.Join(dir, part)
		if _, err := f.w.find(dir, 0); err == nil {
			continue
		}
		f.plant(dir, &node{kind: fs.ModeDir, meta: meta{mode: mode &^ fs.ModeType}, names: map[string]int{}, synced: map[string]int{}})
	}
}

// Plant makes what a test wants to be found at name, below an existing
// directory: a file with data, or, by mode's type bits, a link to data, a FIFO
// or a socket.
func (f *FS) Plant(name string, mode fs.FileMode, data []byte) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	data = slices.Clone(data)
	f.plant(name, &node{kind: mode.Type(), meta: meta{mode: mode &^ fs.ModeType}, data: data, base: data})
}

func (f *FS) plant(name string, n *node) {
	w := f.w
	parent, err := w.find(path.Dir(name), 0)
	if err != nil {
		panic(fmt.Sprintf("crashfs: plant %s: %v", name, err))
	}
	n.data, n.base = slices.Clip(n.data), slices.Clip(n.base)
	n.meta.uid, n.meta.gid, n.meta.modified = f.uid, f.gid, w.now()
	n.durable = n.meta
	m := &move{seq: w.next(), home: parent, sets: []assignment{{parent, path.Base(name), w.disk.add(n)}}}
	w.disk.rename(m)
	w.disk.settle(func(o *move) bool { return o == m })
}

// ReadFile returns what a process would read.
func (f *FS) ReadFile(name string) ([]byte, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	id, err := f.w.find(name, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return slices.Clone(f.w.disk.nodes[id].data), nil
}

// Tree lists every path with type, links and length, one a line.
func (f *FS) Tree() string {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	var b strings.Builder
	f.tree(&b, 0, "/")
	return b.String()
}

func (f *FS) tree(b *strings.Builder, id int, at string) {
	for _, name := range slices.Sorted(maps.Keys(f.w.disk.nodes[id].names)) {
		child := f.w.disk.nodes[id].names[name]
		n := f.w.disk.nodes[child]
		fmt.Fprintf(b, "%v %d %6d %s\n", n.kind|n.meta.mode, n.links, len(n.data), path.Join(at, name))
		if n.kind == fs.ModeDir {
			f.tree(b, child, path.Join(at, name))
		}
	}
}
