package statedir

import (
	"os"
	"path/filepath"
	"testing"

	"postoffice/internal/disk"
)

// TestWrite: directories that are missing are made, the last one for nobody else, and a
// file is replaced whole, whatever a run that was killed has left.
func TestWrite(t *testing.T) {
	above := filepath.Join(t.TempDir(), "var", "lib")
	d, err := Open(disk.OS(), filepath.Join(above, "mail"), "own")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for dir, want := range map[string]os.FileMode{above: 0o755, above + "/mail": 0o755, above + "/mail/own": 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", dir, info, err, want)
		}
	}
	file := above + "/mail/own/key"
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), ".key"), []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a long one", "short"} {
		if err := Write(d, "key", []byte(text)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v, want mode 0600", info, err)
		}
		if got, err := Read(d, "key", 100); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	if got, err := Read(d, "key", 3); err != nil || string(got) != "sho" {
		t.Errorf("three octets of it: %q, %v", got, err)
	}
	if names, err := os.ReadDir(filepath.Dir(file)); err != nil || len(names) != 1 {
		t.Errorf("%v, %v, want the file alone", names, err)
	}
}
