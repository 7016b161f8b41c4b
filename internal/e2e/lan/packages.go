//go:build e2e

package lan

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/testenv/roots"
)

// Peers is the directory of what is unpacked, which all tests of a machine share,
// those of other processes too: they wait until done is called.
func Peers(t *testing.T) (dir string, done func()) {
	t.Helper()
	dir = filepath.Join(os.TempDir(), "postoffice-peers")
	if err := roots.OwnDir(dir); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return dir, func() { lock.Close() }
}

// UnpackAll unpacks a package and those that it needs and the machine lacks, in
// one download; it returns the root of the package and what LD_LIBRARY_PATH
// must be for its programs. Nothing is installed.
func UnpackAll(t *testing.T, pkg string) (root, libraries string) {
	t.Helper()
	base, done := Peers(t)
	defer done()
	pkgs := needed(t, pkg, filepath.Join(base, pkg+".needs"))
	download(t, base, pkgs)
	var dirs []string
	for _, p := range pkgs {
		found, _ := filepath.Glob(filepath.Join(base, p, "usr/lib/*-linux-gnu*"))
		dirs = append(append(dirs, found...), filepath.Join(base, p, "usr/lib"), filepath.Join(base, p, "usr/lib/dovecot"))
	}
	return filepath.Join(base, pkg), strings.Join(dirs, ":")
}

// needed lists a package, and the programs and libraries that would be
// installed with it; the list is kept in a file beside the trees.
func needed(t *testing.T, pkg, file string) []string {
	t.Helper()
	if list, err := os.ReadFile(file); err == nil {
		return strings.Fields(string(list))
	}
	out, err := exec.Command("apt-get", "-s", "-q", "--no-install-recommends", "install", pkg).Output()
	if err != nil {
		t.Fatalf("what does %s need: %v (is the package index there? run apt-get update)", pkg, err)
	}
	pkgs := []string{pkg}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "Inst "), " ")
		if strings.HasPrefix(line, "Inst ") && name != pkg && !strings.HasSuffix(name, "-common") && !strings.HasSuffix(name, "-data") {
			pkgs = append(pkgs, name)
		}
	}
	WriteFile(t, file, strings.Join(pkgs, "\n")+"\n")
	return pkgs
}

// download fetches those packages that are not there yet and unpacks each into
// a directory of its name.
func download(t *testing.T, base string, pkgs []string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(pkgs), func(pkg string) bool {
		_, err := os.Stat(filepath.Join(base, pkg, "usr"))
		return err == nil
	})
	if len(missing) == 0 {
		return
	}
	tmp, err := os.MkdirTemp(base, ".deb-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	get := exec.Command("apt-get", append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, missing...)...)
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("download %v: %v (is the package index there? run apt-get update)\n%s", missing, err, out)
	}
	for _, pkg := range missing {
		debs, _ := filepath.Glob(filepath.Join(tmp, pkg+"_*.deb"))
		if len(debs) != 1 {
			t.Fatalf("download %s: want one file, got %v", pkg, debs)
		}
		tree := filepath.Join(tmp, pkg)
		Sh(t, "dpkg", "-x", debs[0], tree)
		os.Chmod(tree, 0o755)
		if err := os.Rename(tree, filepath.Join(base, pkg)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}

// PostfixTool is the command line of one of Postfix's programs, unpacked.
func PostfixTool(t *testing.T, name string, args ...string) []string {
	t.Helper()
	root := Unpack(t, "postfix")
	return append([]string{"env", "LD_LIBRARY_PATH=" + filepath.Join(root, "usr/lib/postfix"), filepath.Join(root, "usr/sbin", name)}, args...)
}

// Unpack unpacks a package alone and returns the root of its tree. Nothing is
// installed.
func Unpack(t *testing.T, pkg string) string {
	t.Helper()
	base, done := Peers(t)
	defer done()
	download(t, base, []string{pkg})
	return filepath.Join(base, pkg)
}

// Lay lays a package, and those that it needs and the machine lacks, over /usr on this
// host alone.
func (h *Host) Lay(pkg string) {
	h.T.Helper()
	base, done := Peers(h.T)
	defer done()
	pkgs := needed(h.T, pkg, filepath.Join(base, pkg+".needs"))
	download(h.T, base, pkgs)
	var layers []string
	for _, p := range pkgs {
		if dir := filepath.Join(base, p, "usr"); isDir(dir) {
			layers = append(layers, dir)
		}
	}
	h.Run("mount", "-t", "overlay", "-o", "lowerdir="+strings.Join(append(layers, "/usr"), ":"), "none", "/usr")
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}
