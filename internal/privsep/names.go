package privsep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"postoffice/deliver/local"
)

// Names says where accounts are found. The zero value is the machine's own.
type Names struct {
	Passwd   string // "": /etc/passwd
	NSSwitch string // "": /etc/nsswitch.conf
	Getent   string // "": getent in /usr/bin or /bin
}

// accounts finds users in the passwd file first. Those that it lacks are asked
// for with ask, where nsswitch.conf names more sources than files (A76).
func (n Names) accounts(ask func(ctx context.Context, name string) (local.Account, error)) local.Accounts {
	return &accounts{
		files:    local.Passwd(cmp.Or(n.Passwd, "/etc/passwd")),
		nsswitch: cmp.Or(n.NSSwitch, "/etc/nsswitch.conf"),
		ask:      ask,
	}
}

type accounts struct {
	files    local.Accounts
	nsswitch string
	ask      func(ctx context.Context, name string) (local.Account, error)
}

func (a *accounts) Lookup(ctx context.Context, name string) (local.Account, error) {
	found, err := a.files.Lookup(ctx, name)
	if err == nil || !errors.Is(err, local.ErrNoUser) || local.CheckName(name) != nil {
		return found, err
	}
	more, nssErr := moreThanFiles(a.nsswitch)
	if nssErr != nil {
		return found, fmt.Errorf("look for local users: %w", nssErr)
	}
	if !more {
		return found, err
	}
	return a.ask(ctx, name)
}

// moreThanFiles reports whether the file, as nsswitch.conf(5), has a source
// for passwd other than files. Without a file or a line there is none.
func moreThanFiles(path string) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(b)) {
		text, _, _ := strings.Cut(line, "#")
		sources, ok := strings.CutPrefix(strings.TrimSpace(text), "passwd:")
		if !ok {
			continue
		}
		for _, s := range strings.Fields(withoutActions(sources)) {
			if s != "files" {
				return true, nil
			}
		}
		return false, nil
	}
	return false, nil
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
