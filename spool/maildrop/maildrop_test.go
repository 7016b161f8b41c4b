package maildrop

import (
	"os"
	"path/filepath"
	"testing"

	"postoffice/spool"
)

// TestMaildropModes: maildrop/ and the way to it get their modes, also in a
// spool that was there before, and a spool without it keeps its own.
func TestMaildropModes(t *testing.T) {
	dir := t.TempDir() + "/q"
	q, err := spool.Open(spool.Options{Dir: dir})
	must(t, err)
	defer q.Close()
	modeOf := func(name string) os.FileMode {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		return info.Mode()
	}
	if got := modeOf("."); got != os.ModeDir|0o700 {
		t.Errorf("without a maildrop/ the spool has mode %v", got)
	}
	for _, spoilt := range []os.FileMode{0o700, 0o777} {
		reopened(t, dir)
		if got, want := modeOf(Dir), os.ModeDir|0o733|os.ModeSetgid|os.ModeSticky; got != want {
			t.Errorf("maildrop/ has mode %v, want %v", got, want)
		}
		if got := modeOf("."); got != os.ModeDir|0o711 {
			t.Errorf("the spool has mode %v, want 0711", got)
		}
		for _, name := range []string{"queue", "tmp", "hold", "corrupt"} {
			if got := modeOf(name); got != os.ModeDir|0o700 {
				t.Errorf("%s has mode %v", name, got)
			}
		}
		must(t, os.Chmod(filepath.Join(dir, Dir), spoilt))
	}
	must(t, os.Chmod(filepath.Join(dir, Dir), 0o755))
	again, err := spool.Open(spool.Options{Dir: dir}) // what isn't its own, it leaves alone
	must(t, err)
	defer again.Close()
	if got := modeOf(Dir); got != os.ModeDir|0o755 {
		t.Errorf("mode %v was changed", got)
	}
}

func reopened(t *testing.T, dir string) {
	t.Helper()
	m, err := Open(Options{Spool: dir})
	must(t, err)
	must(t, m.Close())
}
