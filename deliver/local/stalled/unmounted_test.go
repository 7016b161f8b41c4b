package stalled

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnmounted: a home directory that isn't there may be on a file system that isn't
// mounted where fstab, systemd or an automounter has one above it, and a link that leads
// to nothing; else it is nowhere.
func TestUnmounted(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(top, name) }
	for _, dir := range []string{"home", "disk/home", "disk/with blank", "auto", "units"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "disk/home", "broken": "disk/none"} {
		if err := os.Symlink(target, in(name)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(point, kind string) string { return "40 22 0:50 / " + point + " rw - " + kind + " x rw\n" }
	for _, tt := range []struct {
		name, dir, fstab, mounts, unit string
		want                           string // in the words; "" nothing may be missing
	}{
		{"no mount point", "home/bob", "# /dev/x HOME ext4\n/dev/y / ext4\nnone none swap\nx\n", "", "", ""},
		{"a mount point beside it", "home/bob", "/dev/x HOME/alice ext4\n/dev/x HOMES ext4\n", "", "", ""},
		{"one above it", "home/bob", "/dev/x HOME ext4 defaults 0 2\n", "", "", "home is a mount point"},
		{"the home itself", "home/bob", "a:/bob HOME/bob nfs noauto\n", "", "", "home/bob is a mount point"},
		{"one far above it", "home/staff/bob", "a:/bob HOME/staff nfs\n", "", "", "home/staff is a mount point"},
		{"it is mounted", "home/bob", "/dev/x HOME ext4\n", at("HOME", "ext4"), "", ""},
		{"mounted, the next is not", "home/staff/bob", "/dev/x HOME ext4\na:/ HOME/staff nfs\n", at("HOME", "ext4"), "", "home/staff is"},
		{"a blank in its name", "disk/with blank/bob", `/dev/x TOP/disk/with\040blank ext4` + "\n", "", "", "blank is a mount point"},
		{"through a link", "link/bob", "/dev/x TOP/disk ext4\n", "", "", "disk is a mount point"},
		{"the link is what fstab has", "link/bob", "/dev/x TOP/link ext4\n", "", "", "disk/home is a mount point"},
		{"the same, mounted", "link/bob", "/dev/x TOP/link ext4\n", at("TOP/disk/home", "ext4"), "", ""},
		{"a link to nothing", "broken/bob", "", "", "", "broken is a link"},
		{"an automounter's", "auto/bob", "", at("TOP/auto", "autofs"), "", "mounted on demand"},
		{"what it has mounted", "auto/bob", "", at("TOP/auto", "autofs") + at("TOP/auto", "nfs4"), "", ""},
		{"a unit of systemd's", "home/bob", "", "", "home", "home is a mount point"},
		{"the same, mounted", "home/bob", "", at("HOME", "ext4"), "home", ""},
		{"no path", "", "/dev/x HOME ext4\n", "", "", ""},
	} {
		full := strings.NewReplacer("HOME", in("home"), "TOP", top)
		s := Tables{
			Mounts: func() string { return at("/", "ext4") + full.Replace(tt.mounts) },
			Fstab:  func() string { return full.Replace(tt.fstab) },
			Units:  []string{in("none"), in("units")},
		}
		unit := filepath.Join(in("units"), unitName(in(tt.unit)))
		if tt.unit != "" {
			if err := os.WriteFile(unit, []byte("[Mount]\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		dir := in(tt.dir)
		if tt.dir == "" {
			dir = ""
		}
		got := s.Unmounted(dir)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q in it", tt.name, got, tt.want)
		}
		if tt.unit != "" {
			if err := os.Remove(unit); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestMaskedUnit: the first unit of a name counts, and a masked one mounts nothing.
func TestMaskedUnit(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	unit := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, target string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(first, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"null.mount", "empty.mount", "linked.mount", "vendor.mount"} {
		unit(second, name, "[Mount]\n")
	}
	unit(first, "empty.mount", "")
	link("null.mount", os.DevNull)
	link("linked.mount", filepath.Join(second, "linked.mount"))
	link("away.mount", "/nonexistent/away.mount") // that may be what isn't mounted
	for name, want := range map[string]bool{
		"null.mount": false, "empty.mount": false, "linked.mount": true, "vendor.mount": true, "away.mount": true, "none.mount": false,
	} {
		if got := hasUnit([]string{first, second}, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestUnitName: systemd.mount(5) says how a unit is called.
func TestUnitName(t *testing.T) {
	for point, want := range map[string]string{
		"/home": "home.mount", "/srv/home": "srv-home.mount", "/a-b/.c d": `a\x2db-.c\x20d.mount`, "/.x": `\x2ex.mount`,
	} {
		if got := unitName(point); got != want {
			t.Errorf("%s: %s, want %s", point, got, want)
		}
	}
}

// TestMountedByDevice: without a table of mounts the device says that something is
// mounted.
func TestMountedByDevice(t *testing.T) {
	none := table{points: map[string]mount{}}
	if !none.mounted("/proc") {
		t.Error("/proc is another device than /")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, filepath.Join(dir, "none")} {
		if none.mounted(name) {
			t.Errorf("%s is no mount point", name)
		}
	}
}
