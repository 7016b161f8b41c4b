package account

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// Unowned reports whether a uid that the passwd file lacks is certainly nobody's:
// nsswitch.conf names no source that may have it, or subuid(5) gives it to
// somebody's containers. One person may have any number of those.
func (n Names) Unowned(uid int) bool {
	b, err := os.ReadFile(n.nsswitch())
	if err != nil {
		b = nil // the C library looks into the files then
	}
	sources, _ := sourcesOf("passwd", string(b))
	if !slices.ContainsFunc(sources, hasPeople) {
		return true
	}
	b, err = os.ReadFile(n.subuid())
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		field := strings.Split(strings.TrimSpace(line), ":")
		if len(field) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(field[1])
		count, err2 := strconv.Atoi(field[2])
		if err1 == nil && err2 == nil && first <= uid && uid-first < count {
			return true
		}
	}
	return false
}

// hasPeople says whether a source of nsswitch.conf may have users of its own.
// systemd's are services and containers.
func hasPeople(source string) bool {
	return !slices.Contains([]string{"files", "compat", "systemd"}, source)
}
