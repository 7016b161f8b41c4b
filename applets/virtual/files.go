package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/sysexits"
	"postoffice/internal/account"
	"postoffice/vhost"
)

// maxVirtualFile is the largest passwd file or list of domains that a command shows, in
// octets.
const maxVirtualFile = 1 << 30

// verb is one command of vdomain or vpasswd.
type verb[T any] struct {
	name string
	do   func(T, string) error // with its operand, "" for none
	bare bool                  // it needs no operand
}

// run runs the command that the arguments name for each of its operands, and ends
// with the error of the last that failed.
func run[T any](env *cmdline.Env, on T, verbs []verb[T], operand string) error {
	name := ""
	if len(env.Args) > 0 {
		name = env.Args[0]
	}
	for _, v := range verbs {
		if v.name != name {
			continue
		}
		operands := env.Args[1:]
		switch {
		case len(operands) == 0 && v.bare:
			return v.do(on, "")
		case len(operands) == 0:
			return cmdline.Usagef("%s needs a %s", name, operand)
		}
		var last error
		for _, o := range operands {
			if err := v.do(on, o); err != nil {
				if last != nil {
					env.Say(last.Error())
				}
				last = err
			}
		}
		return last
	}
	words := ""
	for _, v := range verbs {
		words += " " + v.name
	}
	return cmdline.Usagef("no command %.40q, want one of%s", name, words)
}

// configOf reads the configuration of a command about virtual domains.
func configOf(env *cmdline.Env) (*config.Config, error) {
	conf, err := env.Config()
	if err != nil {
		return nil, err
	}
	if conf.VHostDir == "" {
		return nil, cmdline.ExitWith(sysexits.Config, errors.New("there are no virtual domains: option vhost-dir is empty"), "vhost-dir=/etc/virtual in postoffice.cf is the default")
	}
	return conf, nil
}

// AsOwner does something in the directory of a virtual domain with the rights of its
// owner, who may have put anything there: as root would do what the owner wants.
func AsOwner(conf *config.Config, domain string, do func(dir string) error) error {
	d, dir, err := Find(conf, domain)
	if err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return withCode(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if os.Getuid() != 0 || st.Uid == 0 {
		return withCode(do(dir))
	}
	owner, err := account.Machine().Lookup(context.Background(), d.Owner)
	if err == nil && owner.UID != int(st.Uid) {
		err = cmdline.ExitWith(sysexits.NoPerm, fmt.Errorf("%s belongs to uid %d, and domains.cf names %s", dir, st.Uid, d.Owner), "chown it, or mend domains.cf")
	}
	if err != nil {
		return err
	}
	return withCode(creds.As(owner, int(st.Gid), func() error { return do(dir) }))
}

// Find finds a domain, also one that is not active, and its directory.
func Find(conf *config.Config, domain string) (d vhost.Domain, dir string, err error) {
	key, err := vhost.Key(domain)
	if err != nil {
		return d, "", cmdline.ExitWith(sysexits.Usage, err)
	}
	list := filepath.Join(conf.VHostDir, vhost.DomainsFile)
	text, err := readWhole(list)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, "", withCode(err)
	}
	vhost.EachDomain(text, func(is vhost.Domain) {
		if is.Name == key && d.Name == "" {
			d = is
		}
	})
	switch {
	case d.Name == "":
		return d, "", cmdline.ExitWith(sysexits.NoHost, fmt.Errorf("%s: not a known virtual domain", domain), list+" lists them; postoffice vdomain add "+key+" makes one")
	case d.Err != nil:
		return d, "", cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("%s:%d: %w", list, d.Line, d.Err))
	}
	return d, filepath.Join(conf.VHostDir, key), nil
}

// readWhole reads a regular file, behind the byte order mark that some editors put there.
func readWhole(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxVirtualFile) {
		err = fmt.Errorf("%s is no regular file of at most %d octets", path, maxVirtualFile)
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	return bytes.TrimPrefix(text, []byte("\ufeff")), err
}

// withCode gives an error of a file the exit code that it means.
func withCode(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return cmdline.ExitWith(sysexits.NoPerm, err, "do it as root, or as the domain's owner")
	case errors.Is(err, fs.ErrNotExist):
		return cmdline.ExitWith(sysexits.NoInput, err, "vhosts(7) says which files a domain has; postoffice vdomain add makes them")
	}
	return err
}
