//go:build e2e

package packages

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/e2e/lan"
)

// files are what stands below a directory: each name with its mode and content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.Type() == fs.ModeSymlink {
			to, err := os.Readlink(name)
			all[rel] = "-> " + to
			return err
		}
		text, err := os.ReadFile(name)
		all[rel] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// debAlone are the deb's files that an apk has not, or has its own of.
var debAlone = regexp.MustCompile(`^(usr/lib/(systemd|sysusers\.d|tmpfiles\.d)/|etc/(apparmor\.d/|init\.d/|postoffice\.cf)|usr/share/(doc/postoffice/changelog\.Debian\.gz|lintian/|zsh/))`)

// TestAPK: the apk, unpacked, has the files of the deb, but for what the system differs in.
func TestAPK(t *testing.T) {
	deb, apk := t.TempDir(), t.TempDir()
	lan.Sh(t, "dpkg-deb", "-x", pack(t, older, "deb"), deb)
	lan.Sh(t, "tar", "-C", apk, "--ignore-zeros", "--warning=no-unknown-keyword", "-xzf", pack(t, older, "apk"))
	d, a := files(t, deb), files(t, apk)
	for _, own := range []string{"etc/postoffice.cf", "etc/init.d/postoffice", "usr/share/zsh/site-functions/_postoffice", ".PKGINFO", ".pre-install", ".post-install", ".pre-deinstall"} {
		if a[own] == "" {
			t.Errorf("the apk lacks %s", own)
		}
		delete(a, own)
	}
	maps.DeleteFunc(d, func(name, _ string) bool { return debAlone.MatchString(name) })
	if diff := cmp.Diff(d, a); diff != "" {
		t.Errorf("the deb's files and the apk's (-deb +apk):\n%s", diff)
	}
	if len(d) < 40 {
		t.Errorf("only %d files: %q", len(d), slices.Sorted(maps.Keys(d)))
	}
	const doc = "usr/share/doc/postoffice/"
	readme, err := os.ReadFile(filepath.Join(deb, doc, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\((docs/[^)]*)\)`).FindAllStringSubmatch(string(readme), -1)
	for _, link := range links {
		if _, err := os.Stat(filepath.Join(deb, doc, link[1])); err != nil {
			t.Errorf("README.md leads to nothing: %v", err)
		}
	}
	if len(links) < 10 {
		t.Errorf("README.md has %d links", len(links))
	}
}

// TestSameOctets: the same tree gives the same packages.
func TestSameOctets(t *testing.T) {
	again := t.TempDir()
	build(t, again, older, "deb", "rpm", "apk")
	for _, format := range []string{"deb", "rpm", "apk"} {
		first, err := os.ReadFile(pack(t, older, format))
		if err != nil {
			t.Fatal(err)
		}
		found, _ := filepath.Glob(filepath.Join(again, "*."+format))
		if len(found) != 1 {
			t.Fatalf("made %v", found)
		}
		if second, err := os.ReadFile(found[0]); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: %d and %d octets, not the same, %v", format, len(first), len(second), err)
		}
	}
}

// TestLint: lintian and rpmlint have nothing to say but what packaging has a reason for.
func TestLint(t *testing.T) {
	t.Run("lintian", func(t *testing.T) {
		out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", pack(t, older, "deb")).CombinedOutput()
		if text := strings.TrimSpace(string(out)); err != nil || strings.Contains(text, ": postoffice") {
			t.Errorf("%v\n%s", err, text)
		}
	})
	t.Run("rpmlint", func(t *testing.T) {
		// The names in an rpm of nfpm's begin with a slash, which cpio must not take for
		// the machine's own.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "cpio"), []byte("#!/bin/sh\nexec /usr/bin/cpio --no-absolute-filenames \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("rpmlint", "--config", "../../../packaging/rpm/rpmlint.toml", pack(t, older, "rpm"))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(" 0 errors, 0 warnings")) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("AppArmor", func(t *testing.T) {
		if out, err := exec.Command("apparmor_parser", "-Q", "-K", "../../../packaging/apparmor/usr.sbin.postoffice").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// TestTmpfiles: systemd-tmpfiles makes a queue that is missing, for the server's account; at
// the next boot it leaves whatever is there as it is, and gives db-dir, which is root's, to
// nobody.
func TestTmpfiles(t *testing.T) {
	conf, err := filepath.Abs("../../../packaging/tmpfiles/postoffice.conf")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	queue, state := filepath.Join(root, "var/spool/postoffice"), filepath.Join(root, "var/lib/postoffice")
	for _, dir := range []string{filepath.Join(root, "etc"), state} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lan.WriteFile(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\npostoffice:x:900:900::/:/bin/false\n")
	lan.WriteFile(t, filepath.Join(root, "etc/group"), "root:x:0:\npostoffice:x:900:\n")
	for _, want := range []string{"700 900 900", "711 20001 20001"} { // missing; another server-user's
		lan.Sh(t, "systemd-tmpfiles", "--create", "--root="+root, conf)
		for dir, want := range map[string]string{queue: want, state: "755 0 0"} {
			if got := strings.TrimSpace(lan.Sh(t, "stat", "-c", "%a %u %g", dir)); got != want {
				t.Errorf("%s: %s, want %s", dir, got, want)
			}
		}
		lan.Sh(t, "chown", "20001:20001", queue)
		lan.Sh(t, "chmod", "711", queue)
	}
}
