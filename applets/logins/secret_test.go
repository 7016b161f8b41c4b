package logins

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// TestSecret: it is made once, for nobody else to read, is the same at the next start, and
// is made anew where it is broken; where it can't be kept there is one all the same.
func TestSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	file := filepath.Join(dir, secretDir, secretFile)
	first, err := Secret(disk.OS(), dir)
	testenv.Must(t, err)
	again, err := Secret(disk.OS(), dir)
	testenv.Must(t, err)
	if len(first) != secretSize || !bytes.Equal(first, again) {
		t.Errorf("%x, then %x", first, again)
	}
	for name, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		testenv.Must(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has %v, want %v", name, info.Mode(), mode)
		}
	}
	for _, broken := range []string{"", "short", string(make([]byte, secretSize+1))} {
		testenv.Must(t, os.WriteFile(file, []byte(broken), 0o600))
		fresh, err := Secret(disk.OS(), dir)
		testenv.Must(t, err)
		if again, _ := Secret(disk.OS(), dir); len(fresh) != secretSize || bytes.Equal(fresh, first) || !bytes.Equal(fresh, again) {
			t.Errorf("behind %q: %x, then %x", broken, fresh, again)
		}
	}
	testenv.Must(t, os.RemoveAll(filepath.Dir(file)))
	testenv.Must(t, os.WriteFile(filepath.Dir(file), nil, 0o600)) // no directory
	if one, err := Secret(disk.OS(), dir); len(one) != secretSize || err == nil {
		t.Errorf("where there is no directory: %d octets, %v", len(one), err)
	}
}
