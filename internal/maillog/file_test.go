package maillog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRenamedWithoutANewOne: as long as no new file can be made, the renamed one
// takes the lines, and none is lost.
func TestRenamedWithoutANewOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	log, out := mustNew(t, Options{Sink: "file:" + path, Program: "p"})
	log.Info("one")
	wantLine(t, path, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil { // nobody, not even root, makes a file of that name now
		t.Fatal(err)
	}
	log.Info("two")
	wantLine(t, path+".1", "two")
	if err := out.Reopen(); err == nil {
		t.Error("Reopen: nil, want why the file can't be opened")
	}
	log.Info("three")
	wantLine(t, path+".1", "three")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	log.Info("four")
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path + ".1": "one two three", path: "four"} {
		data, err := os.ReadFile(name)
		var got []string
		for line := range strings.Lines(string(data)) {
			got = append(got, line[strings.LastIndexByte(line, ' ')+1:len(line)-1])
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%s: %q, %v, want %s", name, data, err, want)
		}
	}
}

// TestLooksByItself: the new file is there for others also when nothing is
// logged.
func TestLooksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		_, out := mustNew(t, Options{Sink: "file:" + path, Program: "p"})
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		<-time.After(lookPause)
		synctest.Wait()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestCopyTruncate: a file that was emptied begins anew, without a hole.
func TestCopyTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, out := mustNew(t, Options{Sink: "file:" + path, Program: "p"})
	log.Info("before")
	wantLine(t, path, "before")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	log.Info("after")
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(data), "info: after\n") || data[0] != '2' {
		t.Errorf("%q, %v", data, err)
	}
}
