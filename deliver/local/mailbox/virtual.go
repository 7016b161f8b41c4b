package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"postoffice/deliver/local/quota"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// Virtual has the mailboxes of virtual domains: Dir/domain/user, all of one account.
// Whether there is such a user is for whoever asks for a delivery to know.
type Virtual struct {
	Dir     string          // "": there are none
	User    account.Account // whose they are; without a Name there is none
	Maildir bool            // each is a Maildir
	Folder  string          // the one folder that each may have; "": none
	Missing string          // why there is no User
}

// account returns the one that a mailbox of a virtual domain belongs to, under the
// name of its user.
func (v *Virtual) account(user, domain string) (a account.Account, o outcome.Outcome, ok bool) {
	var err error
	switch {
	case v.Dir == "":
		err = errors.New("no virtual domain has mailboxes here: option vhost-spool is empty")
	case v.User.Name == "":
		err = errors.New(v.Missing)
	case v.User.UID == 0:
		err = errors.New("option vhost-user names root, which it must not")
	}
	if err != nil {
		return a, outcome.Deferral("4.3.5", "mailbox is not available", err), false
	}
	return account.Account{Name: user, UID: v.User.UID, GID: v.User.GID, Home: filepath.Join(v.Dir, domain)}, o, true
}

// place is where mail of a user of a virtual domain is written.
func (v *Virtual) place(user, domain, folder string) (place, error) {
	if folder != v.Folder && folder != "" {
		return place{}, fmt.Errorf("users of virtual domains have no folder %q: option vhost-folder names the one that there is", folder)
	}
	p := place{top: filepath.Join(v.Dir, domain), foreign: true, name: user, word: "mailbox", check: v.checkWay}
	p.mend = fmt.Sprintf("make it: mkdir %s, then chown %s: and chmod 700 it", p.top, v.User.Name)
	if v.Maildir {
		p.name, p.below = "", []string{user}
	}
	switch {
	case folder == "":
	case v.Maildir: // Maildir++
		p.below, p.folder, p.word = append(p.below, "."+folder), true, "folder"
	default:
		p.name, p.word = user+":"+folder, "folder" // no user has a colon in its name
	}
	return p, errors.Join(account.CheckName(user), account.CheckName(domain), checkLength(user+folder))
}

// Used returns how many octets are in the mailbox of a user of a virtual domain, counted
// by this process. What maildirsize says is believed where it is enough or less. step is
// called at each file and name.
func (v *Virtual) Used(fsys disk.FS, user, domain string, enough int64, step func()) (int64, error) {
	if v.Dir == "" {
		return 0, errors.New("no virtual domain has mailboxes here: option vhost-spool is empty")
	}
	at, err := v.place(user, domain, "")
	if err != nil {
		return 0, err
	}
	dir, err := disk.SearchWay(fsys, at.top, at.check)
	if err != nil {
		return 0, fmt.Errorf("open the directory of a mailbox: %w", err)
	}
	defer dir.Close()
	if !at.isMaildir() {
		return quota.File(dir, at.name)
	}
	below, err := dir.OpenDir(user)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open a mailbox: %w", err)
	}
	defer below.Close()
	if n, ok := quota.Recorded(below); ok && n <= enough {
		return n, nil
	}
	return quota.Maildir(below, step)
}

// Check says why no mailbox of a domain can be written: its directory is missing, or is
// somebody else's.
func (v *Virtual) Check(fsys disk.FS, domain string) error {
	at, err := v.place("postmaster", domain, "")
	if err != nil {
		return err
	}
	dir, err := disk.SearchWay(fsys, at.top, at.check)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %s", err, at.mend)
	}
	if err != nil {
		return fmt.Errorf("mailboxes of %s: %w", domain, err)
	}
	return dir.Close()
}

// checkWay says why a domain's directory may be somebody else's doing: only root and
// the account that has the mailboxes may own what leads there, or write there, and so
// may that account's group.
func (v *Virtual) checkWay(way []disk.Step) error {
	for i, s := range way {
		mode := s.Info.Mode
		switch last := i == len(way)-1; {
		case s.Info.UID != 0 && s.Info.UID != v.User.UID, last && s.Info.UID != v.User.UID:
			return fmt.Errorf("%s belongs to uid %d: chown it to %s", s.Path, s.Info.UID, v.User.Name)
		case mode&fs.ModeSymlink != 0, !last && mode&fs.ModeSticky != 0:
		case mode.Perm()&0o002 != 0, mode.Perm()&0o020 != 0 && s.Info.GID != v.User.GID && s.Info.GID != 0:
			return fmt.Errorf("others than %s may write in %s (%s): chmod go-w it", v.User.Name, s.Path, disk.ModeText(mode))
		}
	}
	return nil
}
