package stalled

import (
	"os"
	"path"
	"strings"
	"time"
)

// maxLinks bounds the links that are followed in one path.
const maxLinks = 40

// tableAge is how long what was read of the mounts is believed, in which nobody
// who mounts something new waits for long.
const tableAge = time.Second

// ownDisks are the types of file systems that lie on disks of this machine or
// in its memory, and ask nobody else.
const ownDisks = " ext2 ext3 ext4 xfs btrfs zfs f2fs bcachefs jfs nilfs2 reiserfs tmpfs ramfs rootfs overlay squashfs erofs ufs "

// A mount is one line of mountinfo, see proc_pid_mountinfo(5).
type mount struct {
	dev   string // major:minor
	point string
	kind  string // "" not known
	own   bool   // on a disk of this machine
}

// table finds the file system of a path without a call that it would have to
// answer.
type table struct {
	read     func() string // mountinfo
	readLink func(path string) (string, error)
	at       time.Time
	points   map[string]mount
}

func mountinfo() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "" // every directory of homes is taken for a file system
	}
	return string(b)
}

// refresh reads the mounts again.
func (t *table) refresh(now time.Time) {
	if t.points != nil && now.Sub(t.at) < tableAge {
		return
	}
	t.at, t.points = now, map[string]mount{}
	for line := range strings.Lines(t.read()) {
		f := strings.Fields(line)
		_, behind, ok := strings.Cut(line, " - ")
		kind := strings.Fields(behind)
		if !ok || len(f) < 5 || len(kind) == 0 {
			continue
		}
		point := unescape(f[4])
		t.points[point] = mount{f[2], point, kind[0], strings.Contains(ownDisks, " "+kind[0]+" ")} // the last one lies over the others
	}
}

// unescape reads a path in mountinfo or fstab(5).
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// of returns the file system of a path. Links are followed on disks of this
// machine alone, and only where ok says that they answer.
func (t *table) of(name string, ok func(mount) bool) mount {
	at, rest := "/", split(name)
	for links := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		if _, is := t.points[next]; !is && links < maxLinks {
			if here := t.above(at); here.own && ok(here) {
				if target, err := t.readLink(next); err == nil {
					links++
					rest = append(split(target), rest...)
					if path.IsAbs(target) {
						at = "/"
					}
					continue
				}
			}
		}
		at = next
	}
	return t.above(at)
}

func split(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// above is the mount in which a path without links lies.
func (t *table) above(name string) mount {
	for dir := name; ; dir = path.Dir(dir) {
		if m, ok := t.points[dir]; ok {
			return m
		}
		if dir == "/" || dir == "." {
			return mount{dev: path.Dir(name), point: path.Dir(name)}
		}
	}
}
