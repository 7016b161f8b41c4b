package account

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Names says where accounts are found. The zero value is the machine's own.
type Names struct {
	Passwd   string // "": /etc/passwd
	Group    string // "": /etc/group
	NSSwitch string // "": /etc/nsswitch.conf
	Getent   string // "": getent in /usr/bin or /bin
	Subuid   string // "": /etc/subuid
}

func (n Names) passwd() string   { return cmp.Or(n.Passwd, "/etc/passwd") }
func (n Names) group() string    { return cmp.Or(n.Group, "/etc/group") }
func (n Names) nsswitch() string { return cmp.Or(n.NSSwitch, "/etc/nsswitch.conf") }
func (n Names) subuid() string   { return cmp.Or(n.Subuid, "/etc/subuid") }

// moreThanFiles reports whether the file, as nsswitch.conf(5), has a source
// other than files for the first of the databases that it has a line for.
// Without a file or a line there is none.
func moreThanFiles(path string, databases ...string) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, database := range databases {
		if sources, ok := sourcesOf(database, string(b)); ok {
			return slices.ContainsFunc(sources, func(s string) bool { return s != "files" }), nil
		}
	}
	return false, nil
}

// sourcesOf is the line of nsswitch.conf for the database.
func sourcesOf(database, text string) (sources []string, ok bool) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), database+":"); ok {
			return strings.Fields(withoutActions(rest)), true
		}
	}
	return nil, false
}

// withoutActions removes what stands in brackets, [NOTFOUND=return].
func withoutActions(s string) string {
	for {
		before, rest, ok := strings.Cut(s, "[")
		if !ok {
			return s
		}
		_, after, _ := strings.Cut(rest, "]")
		s = before + " " + after
	}
}
