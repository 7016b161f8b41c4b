package resolver

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"postoffice/internal/disk"
)

const maxFile = 16 << 20 // octets read of resolv.conf or hosts

// watched is a small file whose parsed form is kept until the file changes. A fault
// leaves it as it was, the best guess at servers and names there is; without the file
// it is empty. Each get looks, and who gets a value learns whether it is another one
// than before: the cache goes with the servers.
type watched[T any] struct {
	path  string
	parse func(io.Reader) T

	mu    sync.Mutex
	seen  disk.Version // of none: never read, or not there
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
		if os.IsNotExist(err) && !w.seen.IsZero() {
			var none T
			w.seen, w.value = disk.Version{}, none
			w.read++
		}
		return w.value, w.read, err
	}
	if w.seen.Is(disk.InfoOf(info)) {
		return w.value, w.read, nil
	}
	f, err := os.Open(w.path)
	if err != nil {
		return w.value, w.read, err
	}
	defer f.Close()
	w.seen = disk.VersionOf(disk.InfoOf(info))
	w.value = w.parse(io.LimitReader(f, maxFile))
	w.read++
	return w.value, w.read, nil
}

// known is the file's value, of a file that isn't there the zero one. The error
// says that it was never read, and can't be now.
func (w *watched[T]) known() (T, error) {
	v, read, err := w.get()
	if read > 0 || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return v, err
}
