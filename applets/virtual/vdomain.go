package virtual

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/vhost"
)

// Domains is vdomain.
var Domains = cmdline.Applet{
	Name:  "vdomain",
	Usage: "add|del|enable|disable|list [--owner user] [--comment text] [domain ...]",
	Short: "look after the list of virtual domains",
	Run: func(_ context.Context, env *cmdline.Env) error {
		v := vdomain{env: env}
		env.Flags.StringVar(&v.owner, "owner", "root", "`user` the account that looks after a new domain")
		env.Flags.StringVar(&v.comment, "comment", "", "`text` what stands beside a new domain in the list")
		if err := env.Parse(); err != nil {
			return err
		}
		conf, err := configOf(env)
		if err != nil {
			return err
		}
		v.conf, v.list = conf, filepath.Join(conf.VHostDir, vhost.DomainsFile)
		return run(env, &v, []verb[*vdomain]{
			{"add", (*vdomain).add, false}, {"del", (*vdomain).del, false},
			{"enable", func(v *vdomain, d string) error { return v.set(d, true) }, false},
			{"disable", func(v *vdomain, d string) error { return v.set(d, false) }, false},
			{"list", (*vdomain).show, true},
		}, "domain")
	},
}

// vdomain is one call.
type vdomain struct {
	env            *cmdline.Env
	conf           *config.Config
	list           string // domains.cf
	owner, comment string
}

// edited is the error of a change to the list.
func (v *vdomain) edited(domain string, err error) error {
	switch {
	case errors.Is(err, vhost.ErrExists):
		return cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("%s stands in %s already", domain, v.list), "postoffice vdomain enable "+domain+" serves it again if it is disabled")
	case errors.Is(err, vhost.ErrMissing):
		return cmdline.ExitWith(sysexits.NoHost, fmt.Errorf("%s: not a known virtual domain", domain), v.list+" lists them")
	}
	return withCode(err)
}

// add makes the files of a domain and puts it into the list. What is there already stays
// as it is.
func (v *vdomain) add(name string) error {
	domain, err := vhost.Key(name)
	if err != nil {
		return cmdline.ExitWith(sysexits.Usage, err)
	}
	owner, err := account.Machine().Lookup(context.Background(), v.owner)
	if err != nil {
		return cmdline.ExitWith(sysexits.NoUser, fmt.Errorf("owner %s: %w", v.owner, err), "flag --owner names the account that looks after the domain")
	}
	boxes, err := account.Machine().Lookup(context.Background(), v.conf.VHostUser)
	switch {
	case err != nil:
		return cmdline.ExitWith(sysexits.Config, vhost.NoOwner(v.conf.VHostUser))
	case boxes.UID == 0 && os.Getuid() == 0:
		return cmdline.ExitWith(sysexits.Config, errors.New("option vhost-user names root, which it must not"))
	}
	owner.GID = boxes.GID // the vhost-user reads what the owner writes
	for _, make := range []func() error{
		func() error {
			return makeDir(v.conf.VHostDir, domain, 0o750|fs.ModeSetgid, owner, "# users of "+domain+", see vhosts(7)\n")
		},
		func() error { return makeDir(v.conf.VHostSpool, domain, 0o700, boxes, "") },
		func() error { return makeList(v.list) },
		func() error { return vhost.AddDomain(v.list, v.owner, domain, v.comment) },
	} {
		if err := make(); err != nil {
			return v.edited(domain, err)
		}
	}
	return nil
}

// makeDir makes the directory of a domain below another, with a passwd file if there
// is a text for it, and gives it away.
func makeDir(above, domain string, mode fs.FileMode, to account.Account, passwd string) error {
	if above == "" {
		return errors.New("option vhost-spool is empty: it says where the mailboxes are")
	}
	if err := os.MkdirAll(above, 0o755); err != nil {
		return err
	}
	top, err := disk.OS().OpenDir(above)
	if err != nil {
		return err
	}
	defer top.Close()
	if err := top.Mkdir(domain, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	dir, err := top.OpenDir(domain)
	if err != nil {
		return err
	}
	defer dir.Close()
	if passwd != "" {
		if err := makeFile(dir, vhost.PasswdFile, passwd, 0o640, to); err != nil {
			return err
		}
	}
	if os.Getuid() == 0 {
		err = dir.Chown(to.UID, to.GID)
	}
	return errors.Join(err, dir.Chmod(mode), dir.Sync(), top.Sync())
}

func makeFile(dir disk.Dir, name, text string, mode fs.FileMode, to account.Account) error {
	f, err := dir.Create(name, 0o600)
	if err != nil {
		return err
	}
	if os.Getuid() == 0 {
		err = f.Chown(to.UID, to.GID)
	}
	_, writeErr := f.Write([]byte(text))
	return errors.Join(err, writeErr, f.Chmod(mode), f.Sync(), f.Close())
}

// makeList makes an empty list where there is none.
func makeList(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("# owner:domain:active:comment, see domains.cf(5)\n")
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

// del takes a domain out of the list, and tells what stays.
func (v *vdomain) del(name string) error {
	domain, err := vhost.Key(name)
	if err != nil {
		return cmdline.ExitWith(sysexits.Usage, err)
	}
	if err := vhost.DeleteDomain(v.list, domain); err != nil {
		return v.edited(domain, err)
	}
	var left []string
	for _, dir := range []string{v.conf.VHostDir, v.conf.VHostSpool} {
		if path := filepath.Join(dir, domain); dir != "" && !disk.Absent(path) {
			left = append(left, path)
		}
	}
	if len(left) > 0 {
		v.env.Say(domain + " is no virtual domain any more; its files stay: " + strings.Join(left, " "))
	}
	return nil
}

// set says whether a domain is served.
func (v *vdomain) set(name string, active bool) error {
	domain, err := vhost.Key(name)
	if err != nil {
		return cmdline.ExitWith(sysexits.Usage, err)
	}
	if err := vhost.SetActive(v.list, domain, active); err != nil {
		return v.edited(domain, err)
	}
	return nil
}

// show prints the domains, or one of them: name, owner and whether it is served. A line
// that can't be understood is told on standard error.
func (v *vdomain) show(name string) error {
	text, err := readWhole(v.list)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return withCode(err)
	}
	if name != "" {
		if _, _, err := Find(v.conf, name); err != nil {
			return err
		}
		name, _ = vhost.Key(name)
	}
	bad := 0
	vhost.EachDomain(text, func(d vhost.Domain) {
		switch {
		case name != "" && name != d.Name:
		case d.Err != nil:
			bad++
			v.env.Say(fmt.Sprintf("%s:%d: %v", v.list, d.Line, d.Err))
		default:
			state := "disabled"
			if d.Active {
				state = "active"
			}
			fmt.Fprintf(v.env.Stdout, "%s\t%s\t%s\n", d.Name, d.Owner, state)
		}
	})
	if bad > 0 {
		return cmdline.ExitWith(sysexits.DataErr, cmdline.ErrAnswered)
	}
	return nil
}
