package privsep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"postoffice/deliver/local"
)

// Names says where accounts are found. The zero value is the machine's own.
type Names struct {
	Passwd   string // "": /etc/passwd
	Group    string // "": /etc/group
	NSSwitch string // "": /etc/nsswitch.conf
	Getent   string // "": getent in /usr/bin or /bin
}

// Accounts finds local users for a process that may run getent itself.
func (n Names) Accounts() local.Accounts { return n.accounts(newGetent(n).Lookup) }

// accounts finds users in the passwd file first. Those that it lacks are asked
// for with ask, where nsswitch.conf names more sources than files (A76).
func (n Names) accounts(ask func(ctx context.Context, name string) (local.Account, error)) local.Accounts {
	return &accounts{
		files:    local.Passwd(cmp.Or(n.Passwd, "/etc/passwd")),
		nsswitch: cmp.Or(n.NSSwitch, "/etc/nsswitch.conf"),
		ask:      ask,
	}
}

// NameOf returns the account with this uid, "" if none is known.
func (n Names) NameOf(uid int) string {
	number := strconv.Itoa(uid)
	b, err := os.ReadFile(cmp.Or(n.Passwd, "/etc/passwd"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, ":"+number+":") {
			continue
		}
		if a, err := local.ParseEntry(strings.TrimSuffix(line, "\n")); err == nil && a.UID == uid {
			return a.Name
		}
	}
	if more, err := moreThanFiles(cmp.Or(n.NSSwitch, "/etc/nsswitch.conf"), "passwd"); err != nil || !more {
		return ""
	}
	out, err := newGetent(n).command(context.Background(), "passwd", number)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if a, err := local.ParseEntry(line); err == nil && a.UID == uid && local.CheckName(a.Name) == nil {
		return a.Name
	}
	return ""
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
	more, nssErr := moreThanFiles(a.nsswitch, "passwd")
	if nssErr != nil {
		return found, fmt.Errorf("look for local users: %w", nssErr)
	}
	if !more {
		return found, err
	}
	return a.ask(ctx, name)
}

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
