package disk_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// TestModelAgrees runs the same random calls on the model and on real disks:
// each must return the same, error for error and octet for octet. What crashfs
// shows to be safe is worth no more than this.
func TestModelAgrees(t *testing.T) {
	const runs, calls, synced = 60, 150, 8 // the first few on the slow disk too
	for seed := range uint64(runs) {
		var transcripts []string
		all := places(t)
		if seed >= synced {
			all = slices.DeleteFunc(all, func(p place) bool { return p.real && !strings.HasPrefix(p.path, "/dev/shm") })
		}
		for _, p := range all {
			transcripts = append(transcripts, transcript(t, p, seed, calls))
		}
		for i, got := range transcripts[1:] {
			if want := transcripts[0]; got != want {
				t.Fatalf("seed %d: %s differs from the model:\n%s", seed, all[i+1].name, difference(want, got))
			}
		}
	}
}

// difference is the first line that differs, with those before it.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("%s\nmodel: %s\ndisk:  %s", strings.Join(w[:i], "\n"), w[i], g[min(i, len(g)-1)])
		}
	}
	return got
}

// walker makes random calls and writes down what they return.
type walker struct {
	r     *rand.Rand
	dirs  []disk.Dir
	files []disk.File
	inos  map[uint64]int // real inode numbers, by order of appearance
	out   strings.Builder
}

func transcript(t *testing.T, p place, seed uint64, calls int) string {
	w := &walker{r: rand.New(rand.NewPCG(seed, 0)), inos: map[uint64]int{}}
	d := must[disk.Dir](t)(p.fs.OpenDir(p.path))
	wantErr(t, "mkdir", errors.Join(d.Mkdir("x", 0o700), d.Mkdir("y", 0o700)), nil)
	w.dirs = []disk.Dir{must[disk.Dir](t)(d.OpenDir("x")), must[disk.Dir](t)(d.OpenDir("y"))}
	for range calls {
		w.call()
	}
	for _, f := range w.files {
		_ = f.Close()
	}
	for _, d := range append(w.dirs, d) {
		wantErr(t, "close", d.Close(), nil)
	}
	return w.out.String()
}

func (w *walker) dir() disk.Dir { return w.dirs[w.r.IntN(len(w.dirs))] }
func (w *walker) name() string  { return string(rune('a' + w.r.IntN(5))) }

// note writes a line; of errors the part that all systems share.
func (w *walker) note(what string, err error, values ...any) {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		err = errno
	case errors.Is(err, disk.ErrNotRegular):
		err = disk.ErrNotRegular
	}
	fmt.Fprintln(&w.out, append([]any{what, err}, values...)...)
}

func (w *walker) info(i disk.Info, err error) []any {
	if err != nil {
		return nil
	}
	if _, ok := w.inos[i.Ino]; !ok {
		w.inos[i.Ino] = len(w.inos)
	}
	size := i.Size
	if i.Mode.IsDir() {
		size, i.Nlink = 0, 0 // each file system counts its own way
	}
	return []any{i.Mode, size, i.Nlink}
}

func (w *walker) call() {
	if len(w.files) > 0 && w.r.IntN(2) == 0 {
		w.fileCall()
		return
	}
	d, to, a, b := w.dir(), w.dir(), w.name(), w.name()
	switch w.r.IntN(9) {
	case 0, 1:
		f, err := d.Create(a, 0o600)
		w.keep("create "+a, f, err)
	case 2:
		f, err := d.Open(a, disk.Access(w.r.IntN(2)))
		w.keep("open "+a, f, err)
	case 3:
		w.note("rename "+a+" "+b, d.Rename(a, to, b))
	case 4:
		w.note("move "+a+" "+b, d.RenameNoReplace(a, to, b))
	case 5:
		w.note("link "+a+" "+b, d.Link(a, to, b))
	case 6:
		w.note("unlink "+a, d.Unlink(a))
	case 7:
		i, err := d.Lstat(a)
		w.note("stat "+a, err, w.info(i, err)...)
	case 8:
		all := map[string]bool{}
		var err error
		for name, e := range d.Names() {
			all[name], err = true, errors.Join(err, e)
		}
		w.note("list", err, all)
	}
}

func (w *walker) keep(what string, f disk.File, err error) {
	w.note(what, err)
	if err == nil {
		w.files = append(w.files, f)
	}
}

func (w *walker) fileCall() {
	k := w.r.IntN(len(w.files))
	f := w.files[k]
	p := []byte("abcdefghijklmnopqrstuvwxyz")[w.r.IntN(20):][:w.r.IntN(6)]
	switch w.r.IntN(10) {
	case 0, 1:
		n, err := f.Write(p)
		w.note("append", err, n)
	case 2:
		n, err := f.WriteAt(p, int64(w.r.IntN(12)))
		w.note("overwrite", err, n)
	case 3:
		w.note("truncate", f.Truncate(int64(w.r.IntN(12))))
	case 4:
		w.note("sync", f.Sync())
	case 5:
		got, err := f.TryLock()
		w.note("lock", err, got)
	case 6:
		w.note("chmod", f.Chmod(fs.FileMode(0o600+w.r.IntN(64))))
	case 7:
		i, err := f.Stat()
		w.note("fstat", err, w.info(i, err)...)
	case 8:
		w.note("close", f.Close())
		w.files = append(w.files[:k], w.files[k+1:]...)
	case 9:
		data, err := io.ReadAll(io.NewSectionReader(f, int64(w.r.IntN(4)), 100))
		w.note("read", err, string(data))
	}
}

var _ disk.FS = (*crashfs.FS)(nil)
