package config

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fileInfo is a file of the test's making.
type fileInfo struct {
	mode     fs.FileMode
	uid, gid uint32
}

func (f fileInfo) Name() string       { return "cf" }
func (f fileInfo) Size() int64        { return 0 }
func (f fileInfo) Mode() fs.FileMode  { return f.mode }
func (f fileInfo) ModTime() time.Time { return time.Time{} }
func (f fileInfo) IsDir() bool        { return f.mode.IsDir() }
func (f fileInfo) Sys() any           { return &syscall.Stat_t{Uid: f.uid, Gid: f.gid} }

func TestWhoseFile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		info    fileInfo
		roots   string // what is wrong with it as the default file
		callers string // and as the -C file of uid 1000
	}{
		{"root's", fileInfo{0o644, 0, 0}, "", ""},
		{"root's, group root", fileInfo{0o664, 0, 0}, "", ""},
		{"root's, group mail", fileInfo{0o664, 0, 8}, "group 8", "group 8"},
		{"root's, open", fileInfo{0o666, 0, 0}, "everybody", "everybody"},
		{"the caller's", fileInfo{0o600, 1000, 1000}, "uid 1000", ""},
		{"the caller's, their group's", fileInfo{0o660, 1000, 1000}, "uid 1000", "group 1000"},
		{"another's", fileInfo{0o644, 1001, 0}, "uid 1001", "uid 1001"},
		{"a FIFO", fileInfo{fs.ModeNamedPipe | 0o600, 0, 0}, "regular", "regular"},
		{"a directory", fileInfo{fs.ModeDir | 0o700, 0, 0}, "regular", "regular"},
	} {
		for _, c := range []struct{ who, got, want string }{
			{"root", notRoots(tt.info), tt.roots},
			{"uid 1000", notMine(tt.info, 1000), tt.callers},
		} {
			if (c.got == "") != (c.want == "") || !strings.Contains(c.got, c.want) {
				t.Errorf("%s for %s: got %q, want %q", tt.name, c.who, c.got, c.want)
			}
		}
	}
}

// A file that some users can't read is told with its mode and what to do.
func TestForFew(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{0o644: "", 0o604: "", 0o600: "-rw-------", 0o640: "-rw-r-----"} {
		got := forFew("/etc/postoffice.cf", mode)
		if (got == "") != (want == "") || !strings.Contains(got, want) || want != "" && !strings.HasSuffix(got, ": chmod go+r /etc/postoffice.cf") {
			t.Errorf("%v: %q", mode, got)
		}
	}
}

// What is no file at all is not to be made safer, but replaced.
func TestNotRegular(t *testing.T) {
	if e := insecure("/etc/postoffice.cf", notRegular); strings.Contains(e.Hint, "chmod") || !strings.Contains(e.Hint, "in its place") {
		t.Errorf("%v, hint %q", e, e.Hint)
	}
}

// TestClosed: where a file can't be read by whoever needs it the hint is to open
// it, not to close it further.
func TestClosed(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrPermission: "chmod go+r /etc/postoffice.cf",
		syscall.EACCES:   "chmod go+r /etc/postoffice.cf",
		syscall.EIO:      insecure(DefaultFile, "").Hint,
	} {
		if e := closed("/etc/postoffice.cf", &fs.PathError{Op: "open", Err: err}); e.Hint != want || e.Kind != ErrInsecure {
			t.Errorf("%v: %v, hint %q, want %q", err, e, e.Hint, want)
		}
	}
	for err, want := range map[error]string{syscall.EACCES: "chmod go+r cf, ", syscall.ENOENT: ""} {
		if e := notOpened("cf", &fs.PathError{Op: "open", Err: err}); !strings.HasPrefix(e.Hint, want) || want == "" && e.Hint != "" || !errors.Is(e, ErrUnreadable) {
			t.Errorf("%v: %v, hint %q, want %q", err, e, e.Hint, want)
		}
	}
}
