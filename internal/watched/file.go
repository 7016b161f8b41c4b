package watched

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"postoffice/internal/disk"
)

// LookWait is how long a file is taken as it was before it is looked at again.
const LookWait = 2 * time.Second

// A File is one file, and those that it names, parsed to a T. Its methods may be called
// by any number of goroutines. The resolver's watched keeps its value too, but looks each
// time and has no second file.
type File[T any] struct {
	Path   string
	Most   int64  // octets
	Missed string // what becomes of who asks while nothing is known of it
	Must   bool   // it has to be there; else one that isn't is empty

	mu       sync.Mutex // guards what follows
	value    T
	looked   time.Time
	versions map[string]disk.Version // of the file, and of those that it names
	failed   string                  // what was told of a file that can't be read
	known    bool                    // it was read, or was not there
}

// Get returns what the file says. parse gets its text where it may be another one than
// before, of a file that isn't there none; what it names is read by Named. tell gets the
// error of one that can't be read, once, with Advice's words. known says that the value
// is one that was read, now or before.
func (f *File[T]) Get(parse func(text string) T, tell func(err error, advice string)) (value T, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); !f.looked.IsZero() && now.Sub(f.looked) < LookWait {
		return f.value, f.known
	}
	f.looked = time.Now()
	if f.same() {
		return f.value, f.known
	}
	text, version, err := read(f.Path, f.Most)
	switch {
	case isEmpty(err, f.Path, f.Must):
		f.versions, f.failed, f.known = nil, "", true
		f.value = parse("")
	case err != nil:
		if f.failed != err.Error() {
			f.failed = err.Error()
			tell(err, f.advice(err))
		}
	default:
		f.versions, f.failed, f.known = map[string]disk.Version{f.Path: version}, "", true
		f.value = parse(text)
	}
	return f.value, f.known
}

// Named reads a file that the text names, for the function parse of Get, and watches it
// too.
func (f *File[T]) Named(path string) (string, error) {
	text, version, err := read(path, f.Most)
	f.versions[path] = version
	return text, err
}

// same reports whether what was read is what is there.
func (f *File[T]) same() bool {
	for path, version := range f.versions {
		if info, err := os.Stat(path); err != nil || !version.Is(disk.InfoOf(info)) {
			return false
		}
	}
	return len(f.versions) > 0
}

// advice says what becomes of who asks while the file can't be read, and what to do.
func (f *File[T]) advice(err error) string {
	if f.known {
		return "what it said before goes on" + remedy(f.Path, err)
	}
	return f.Missed + remedy(f.Path, err)
}

// remedy says what to do about a file that can't be read, behind other words.
func remedy(path string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "; make it, if only by touch " + path + ", or mount it"
	}
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return "; a directory above it is closed to the server: namei -l " + path + " shows which, chmod a+x opens it"
	}
	return "; the server may not read it: chmod a+r " + path + ", or give it to the server's group"
}

// isEmpty reports whether the error of a file means that it says nothing: it isn't there,
// and need not be. A link that leads to nothing was meant to lead to something.
func isEmpty(err error, path string, must bool) bool {
	return errors.Is(err, fs.ErrNotExist) && !must && disk.Absent(path)
}

// Check reads a file for who asks whether it is in order; one that isn't there, and need
// not be, or has no name, is empty. missed and must are as in File.
func Check(path string, most int64, missed string, must bool) (text string, err error) {
	if path == "" {
		return "", nil
	}
	text, _, err = read(path, most)
	switch {
	case isEmpty(err, path, must):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: %s%s", err, missed, remedy(path, err))
	}
	return text, nil
}

// Read reads a file of at most so many octets.
func Read(path string, most int64) (string, error) {
	text, _, err := read(path, most)
	return text, err
}

// read is Read with what tells whether the file has changed since.
func read(path string, most int64) (string, disk.Version, error) {
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
	return strings.TrimPrefix(string(text), "\ufeff"), version, err // which some editors put there
}
