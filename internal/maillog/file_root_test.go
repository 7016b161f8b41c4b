//go:build e2e

package maillog

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"postoffice/internal/testenv"
)

// statOf is what a test wants to know of a log file.
func statOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
}

// TestNewFileIsLikeTheOld: mode and owner are those of the file before, and one
// that others made becomes its, but keeps its mode and group.
func TestNewFileIsLikeTheOld(t *testing.T) {
	testenv.NeedsRoot(t, "makes files of other users")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "log")
	_, out := mustNew(t, Options{Sink: "file:" + path, Program: "p", UID: 20001, GID: 20002})
	defer out.Close()
	want := func(text string) {
		t.Helper()
		if err := out.Reopen(); err != nil {
			t.Error(err)
		}
		if got := statOf(t, path); got != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
	want("-rw-r----- 20001:20002")
	for _, err := range []error{os.Chmod(path, 0o604), os.Chown(path, 20001, 20003), os.Rename(path, path+".1")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want("-rw----r-- 20001:20003")
	for _, err := range []error{os.Remove(path), os.WriteFile(path, nil, 0o600), os.Chown(path, 0, 20004)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want("-rw------- 20001:20004")
	for _, err := range []error{os.Remove(path), os.WriteFile(path+".other", nil, 0o600), os.Link(path+".other", path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Reopen(); err == nil {
		t.Error("a file with two names was given away")
	}
	if got := statOf(t, path); got != "-rw------- 0:0" {
		t.Errorf("%s, want it as it was", got)
	}
}
