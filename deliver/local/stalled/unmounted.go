package stalled

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Tables are what this machine mounts, and what it has mounted. The zero value reads
// the system's own.
type Tables struct {
	Mounts func() string // the text of mountinfo
	Fstab  func() string // that of fstab(5)
	Units  []string      // directories of systemd's units
}

// ownUnits are where systemd has units: root's, those that it makes of partitions at
// each start, and those of packages.
var ownUnits = []string{"/etc/systemd/system", "/run/systemd/generator", "/usr/lib/systemd/system"}

// Unmounted says why a directory that isn't there may be on a file system that isn't
// mounted now: a mount point of this machine's at or above it has nothing mounted, what
// stands above it is mounted on demand, or a link on the way leads to nothing. "": none
// of these. It looks with the caller's rights.
func (s Tables) Unmounted(dir string) string {
	if !path.IsAbs(dir) {
		return ""
	}
	there, missing := path.Clean(dir), ""
	for there != "/" {
		if _, err := os.Stat(there); err == nil {
			break
		}
		if _, err := os.Lstat(there); err == nil {
			return there + " is a link that leads to nothing"
		}
		there, missing = path.Dir(there), path.Join(path.Base(there), missing)
	}
	real, err := filepath.EvalSymlinks(there)
	if err != nil {
		return err.Error()
	}
	t := table{read: s.Mounts}
	if t.read == nil {
		t.read = mountinfo
	}
	t.refresh(time.Now())
	if above := t.above(real); above.kind == "autofs" {
		return fmt.Sprintf("what is in %s is mounted on demand, and it was not", above.point)
	}
	for _, point := range s.wanted(path.Clean(dir), path.Join(real, missing)) {
		if !t.mounted(point) {
			return point + " is a mount point, and nothing is mounted there"
		}
	}
	return ""
}

// wanted returns the mount points at or above a directory that fstab or systemd names,
// by the path that the directory has without links. dir is the path as it was written,
// by which fstab may name one too.
func (s Tables) wanted(dir, real string) (points []string) {
	text := ""
	if s.Fstab != nil {
		text = s.Fstab()
	} else if b, err := os.ReadFile("/etc/fstab"); err == nil {
		text = string(b)
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		switch point := path.Clean(unescape(f[1])); {
		case point == "/" || !path.IsAbs(point):
		case within(real, point):
			points = append(points, point)
		case within(dir, point): // a link is on the way
			if there, err := filepath.EvalSymlinks(point); err == nil {
				point = there
			}
			points = append(points, point)
		}
	}
	units := s.Units
	if units == nil {
		units = ownUnits
	}
	for point := real; point != "/"; point = path.Dir(point) {
		if hasUnit(units, unitName(point)) {
			points = append(points, point)
		}
	}
	return points
}

// hasUnit says whether systemd mounts what a unit says: the first of that name counts,
// and one that is empty, or leads to /dev/null, is masked.
func hasUnit(dirs []string, name string) bool {
	for _, dir := range dirs {
		unit := path.Join(dir, name)
		if _, err := os.Lstat(unit); err != nil {
			continue
		}
		info, err := os.Stat(unit)
		return err != nil || info.Mode().IsRegular() && info.Size() > 0
	}
	return false
}

// within says whether a path is a directory or leads below it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// unitName is what systemd calls the unit of a mount point, systemd.mount(5).
func unitName(point string) string {
	var b strings.Builder
	for i, c := range []byte(point[1:]) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == ':', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + ".mount"
}

// mounted says whether something is mounted at a path without links. Where there is no
// table the device tells, as far as it is another one.
func (t *table) mounted(point string) bool {
	if _, is := t.points[point]; is {
		return true
	}
	here, err := os.Stat(point)
	if err != nil {
		return false
	}
	above, err := os.Stat(path.Dir(point))
	if err != nil {
		return false
	}
	return here.Sys().(*syscall.Stat_t).Dev != above.Sys().(*syscall.Stat_t).Dev
}
