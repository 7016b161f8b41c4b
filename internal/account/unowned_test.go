package account

import (
	"os"
	"path/filepath"
	"testing"
)

// A81: what no source can have is nobody's, and so is what subuid(5) gives away.
func TestUnowned(t *testing.T) {
	dir := t.TempDir()
	n := Names{NSSwitch: filepath.Join(dir, "nsswitch.conf"), Subuid: filepath.Join(dir, "subuid")}
	if err := os.WriteFile(n.Subuid, []byte("joe:100000:65536\nbad\namy:300000:x\n1000:400000:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		passwd string // its line in nsswitch.conf
		uid    int
		want   bool
	}{
		{"", 5000, true},
		{"passwd: files systemd [NOTFOUND=return] compat", 5000, true},
		{"passwd: files sss", 5000, false},
		{"passwd: files sss", 99_999, false},
		{"passwd: files sss", 100_000, true},
		{"passwd: files sss", 165_535, true},
		{"passwd: files sss", 165_536, false},
		{"passwd: files sss", 300_000, false},
		{"passwd: files sss", 400_000, true},
	} {
		if err := os.WriteFile(n.NSSwitch, []byte(tt.passwd+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := n.Unowned(tt.uid); got != tt.want {
			t.Errorf("%q: uid %d is nobody's: %v, want %v", tt.passwd, tt.uid, got, tt.want)
		}
	}
	n.Subuid = filepath.Join(dir, "none")
	if n.Unowned(100_000) {
		t.Error("without subuid(5) a uid that sss may have is nobody's")
	}
}
