package roots

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOwnDir: what is run as root is kept where nobody else can have put it.
func TestOwnDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "roots")
	for range 2 {
		if err := OwnDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir, dir+".link"); err != nil {
		t.Fatal(err)
	}
	if err := OwnDir(dir + ".link"); err == nil {
		t.Error("a link is believed")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := OwnDir(dir); err == nil {
		t.Error("everybody's directory is believed")
	}
}
