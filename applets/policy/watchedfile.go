package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"postoffice/internal/disk"
)

// hostsFileWait is how long a file is taken as it was before it is looked at again.
const hostsFileWait = 2 * time.Second

// watchedFile is a small file that is read again when it has changed, or one that
// it names. A fault leaves what was read in force, since without its rules a client
// would be let in whom they deny, and is told once. The resolver's watched keeps its
// value too, but looks each time and has no second file.
type watchedFile struct {
	path   string
	most   int64  // octets
	missed string // what becomes of sessions while nothing is known of it

	mu       sync.Mutex // guards what follows, and what is made of the text
	looked   time.Time
	versions map[string]disk.Version // of the file, and of those that it names
	failed   string                  // what was told of a file that can't be read
	known    bool                    // it was read, or was not there
}

// refresh calls use with the text where it may be another one than before, of a file
// that isn't there with none, and tell with the error of one that can't be read,
// once. The caller holds mu.
func (w *watchedFile) refresh(use func(text string), tell func(err error)) {
	if now := time.Now(); !w.looked.IsZero() && now.Sub(w.looked) < hostsFileWait {
		return
	}
	w.looked = time.Now()
	if w.same() {
		return
	}
	text, version, err := readSmall(w.path, w.most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.versions, w.failed, w.known = nil, "", true
		use("")
	case err != nil:
		if w.failed != err.Error() {
			w.failed = err.Error()
			tell(err)
		}
	default:
		w.versions, w.failed, w.known = map[string]disk.Version{w.path: version}, "", true
		use(text)
	}
}

// named reads a file that the text names, which is watched too.
func (w *watchedFile) named(path string) (string, error) {
	text, version, err := readSmall(path, w.most)
	w.versions[path] = version
	return text, err
}

// same reports whether what was read is what is there.
func (w *watchedFile) same() bool {
	for path, version := range w.versions {
		if info, err := os.Stat(path); err != nil || !version.Is(disk.InfoOf(info)) {
			return false
		}
	}
	return len(w.versions) > 0
}

// advice says what becomes of sessions while the file can't be read, and what to do.
func (w *watchedFile) advice(err error) string {
	if w.known {
		return "what it said before goes on" + remedy(w.path, err)
	}
	return w.missed + remedy(w.path, err)
}

// remedy says what to do about a file that can't be read, behind other words.
func remedy(path string, err error) string {
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return "; a directory above it is closed to the server: namei -l " + path + " shows which, chmod a+x opens it"
	}
	return "; the server may not read it: chmod a+r " + path + ", or give it to the server's group"
}

// checked reads a file for who asks whether it is in order; one that isn't there is
// empty.
func checked(path string, most int64, missed string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, _, err := readSmall(path, most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: %s%s", err, missed, remedy(path, err))
	}
	return text, nil
}

// readSmall reads a file of at most so many octets, with what tells whether it has
// changed since.
func readSmall(path string, most int64) (string, disk.Version, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO keeps nobody waiting
	if err != nil {
		return "", disk.Version{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", disk.Version{}, err
	}
	if !info.Mode().IsRegular() {
		return "", disk.Version{}, fmt.Errorf("%s is no regular file", path)
	}
	version := disk.VersionOf(disk.InfoOf(info))
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d octets", path, most)
	}
	return string(text), version, err
}
