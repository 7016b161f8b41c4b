package resolver

import (
	"io"
	"os"
	"sync"
)

const maxFile = 4 << 20 // octets read of resolv.conf or hosts

// watched is a small file whose parsed form is kept until the file changes.
type watched[T any] struct {
	path  string
	parse func(io.Reader) T

	mu    sync.Mutex
	seen  os.FileInfo // nil: never read, or not there
	value T
	read  int // times read
}

// get returns the file's value and how often it was read so far. A file that
// is there but can't be read keeps its last value and says why.
func (w *watched[T]) get() (T, int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	info, err := os.Stat(w.path)
	if err != nil {
		if os.IsNotExist(err) && w.seen != nil {
			var none T
			w.seen, w.value = nil, none
			w.read++
		}
		return w.value, w.read, err
	}
	if w.seen != nil && os.SameFile(w.seen, info) && w.seen.Size() == info.Size() && w.seen.ModTime().Equal(info.ModTime()) {
		return w.value, w.read, nil
	}
	f, err := os.Open(w.path)
	if err != nil {
		return w.value, w.read, err
	}
	defer f.Close()
	w.value = w.parse(io.LimitReader(f, maxFile))
	w.seen = info
	w.read++
	return w.value, w.read, nil
}
