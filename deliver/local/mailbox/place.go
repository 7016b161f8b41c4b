package mailbox

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// A place is where mail of an account is written.
type place struct {
	top     string // the mail directory, the home directory, or that of a file
	inHome  bool   // top is the home directory
	foreign bool   // top is for the account to open, not for us
	below   []string
	name    string // the file; "" for a Maildir, the last directory of all
	folder  bool   // that is a folder of the Maildir above it (Maildir++)
	word    string // what people call it

	check func(way []disk.Step) error // what is wrong with the way to top, where that is a file's
	mend  string                      // what to do where top is missing; ""
}

// place finds where mail for a goes: into the folder, or else as option mailbox
// says.
func (m *Mailboxes) place(a account.Account, folder string) (place, error) {
	if user, domain, ok := account.SplitVirtual(a.Name); ok {
		return m.o.Virtual.place(user, domain, folder)
	}
	switch spec := cmp.Or(folder, m.o.Mailbox); {
	case spec == "":
		return place{top: m.o.Dir, name: a.Name, word: "mailbox"}, nil
	case strings.HasPrefix(spec, local.HomePrefix) && (folder == "" || slices.Contains(m.o.Folders, folder)):
		return homePlace(a, spec)
	case strings.HasPrefix(spec, local.HomePrefix):
		return place{}, fmt.Errorf("folder %q is not one that the configuration names", folder)
	case folder == "":
		return place{}, fmt.Errorf("option mailbox is %q, which is no place for files", m.o.Mailbox)
	}
	name := a.Name + ":" + folder // no account has a colon in its name
	if err := checkElement(folder); err != nil {
		return place{}, badFolder(folder, err)
	}
	if err := checkLength(name); err != nil {
		return place{}, badFolder(folder, err)
	}
	return place{top: m.o.Dir, name: name, word: "folder"}, nil
}

// homePlace is ~/file, or ~/directory/ for a Maildir.
func homePlace(a account.Account, spec string) (place, error) {
	path, isDir := strings.CutSuffix(strings.TrimPrefix(spec, local.HomePrefix), "/")
	p := place{top: a.Home, inHome: true, foreign: true, below: strings.Split(path, "/"), word: "mailbox"}
	for _, e := range p.below {
		if err := checkElement(e); err != nil {
			return place{}, badFolder(spec, err)
		}
	}
	if !isDir {
		last := len(p.below) - 1
		p.name, p.below = p.below[last], p.below[:last]
		if err := checkLength(p.name); err != nil {
			return place{}, badFolder(spec, err)
		}
	}
	return p, nil
}

// filePlace is the file with that path, which a chose; with a slash behind it a
// Maildir.
func filePlace(path string) (place, error) {
	p := place{top: filepath.Dir(path), foreign: true, name: filepath.Base(path), word: "file"}
	if !filepath.IsAbs(path) {
		return p, fmt.Errorf("%q is not an absolute path", path)
	}
	name := p.name
	if trimmed, isDir := strings.CutSuffix(path, "/"); isDir {
		p = place{top: filepath.Dir(trimmed), foreign: true, below: []string{name}, word: "Maildir"}
	}
	return p, errors.Join(checkElement(name), checkLength(name))
}

// checkElement says why a name can't be one of a path that is written to.
func checkElement(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no name of a file", name)
	case strings.HasSuffix(name, account.LockSuffix):
		return fmt.Errorf("name ends in %q, which is kept for locks", account.LockSuffix)
	}
	for _, c := range []byte(name) {
		if c == '/' || c < ' ' || c == 0x7f {
			return fmt.Errorf("name has the octet %q", c)
		}
	}
	return nil
}

// checkLength leaves room for the dot lock's name.
func checkLength(name string) error {
	if len(name) > account.MaxName {
		return fmt.Errorf("name of %d octets, at most %d are possible", len(name), account.MaxName)
	}
	return nil
}

func badFolder(name string, err error) error {
	return fmt.Errorf("folder %q (want ~/path, or a name without a slash): %w", name, err)
}

func (p place) isMaildir() bool { return p.name == "" }

// path is for messages, and tells places apart.
func (p place) path() string {
	elem := append([]string{p.top}, p.below...)
	return filepath.Join(append(elem, p.name)...)
}

func (p place) full() string        { return "no room for the message in this " + p.word }
func (p place) unwritable() string  { return p.word + " can't be written" }
func (p place) unavailable() string { return p.word + " is not available" }

// closed is the result where the place could not be had.
func (p place) closed(err error) outcome.Outcome {
	if disk.Full(err) {
		return outcome.Deferral("4.2.2", p.full(), err)
	}
	return outcome.Deferral("4.2.0", p.unavailable(), err)
}

// stalled is the result where its file system, or that of the home directory,
// does not answer.
func (p place) stalled(err error) outcome.Outcome {
	return outcome.Deferral("4.2.0", "the file system of this "+p.word+" or of its user's home directory does not answer", err)
}

// delivered is the result of success. A file's path is nobody's business.
func (p place) delivered(a account.Account) outcome.Outcome {
	if p.foreign && p.word != "mailbox" {
		return outcome.Success("delivered to a " + p.word)
	}
	if p.word == "folder" {
		return outcome.Success("delivered to a folder of " + a.Name)
	}
	return outcome.Success("delivered to " + p.word + " " + a.Name)
}
