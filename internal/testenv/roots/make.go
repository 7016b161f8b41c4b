package roots

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Tree is the file of a tar archive: a minimal Debian of this machine's release with some
// packages, and what they depend on. The tests of a machine share it, those of other
// processes too, which wait while it is made.
func Tree(t testing.TB, packages ...string) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "postoffice-roots")
	if err := OwnDir(dir); err != nil {
		t.Fatal(err)
	}
	packages = slices.Sorted(slices.Values(packages))
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	name := filepath.Join(dir, fmt.Sprintf("debian-%x.tar", sum[:6]))
	lock, err := os.Create(name + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err == nil {
		return name
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := makeTree(name+".new", packages); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
	return name
}

// OwnDir makes a directory, or refuses one that somebody else may have put where all may
// write, as below /tmp: what tests keep there they run, as root too.
func OwnDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not ours alone: see what it is, and rm -r %[1]s", dir)
	}
	return nil
}

// makeTree writes the archive. Its packages come from where this machine has its own.
func makeTree(name string, packages []string) error {
	sources, err := exec.Command("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian").Output()
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("where does this machine get its packages? (run apt-get update): %w", err)
	}
	release, err := exec.Command("sh", "-c", `. /etc/os-release && echo "$VERSION_CODENAME"`).Output()
	if err != nil {
		return err
	}
	args := []string{"--mode=root", "--variant=minbase", "--format=tar", "--quiet", "--dpkgopt=force-unsafe-io"}
	if len(packages) > 0 {
		args = append(args, "--include="+strings.Join(packages, ","))
	}
	make := exec.Command("mmdebstrap", append(args, strings.TrimSpace(string(release)), name, "-")...)
	make.Stdin = strings.NewReader(string(sources))
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, out)
	}
	return nil
}
