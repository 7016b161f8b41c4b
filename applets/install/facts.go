package install

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"postoffice/applets/install/plan"
)

// dialWait is how long whoever has port 25 may take to be noticed.
const dialWait = 2 * time.Second

// maxSummed is how large a file may be that is compared with ours, in octets.
const maxSummed = 1 << 20

// wish is what was asked for.
type wish struct {
	root       root
	prefix     string
	hard       bool
	mailerConf string // "" is the system's
	ours       bool   // a server of ours runs
}

// look finds the facts for a plan.
func look(ctx context.Context, w wish, record []*plan.Step) (*plan.Facts, error) {
	r := w.root
	f := &plan.Facts{
		Prefix: w.prefix, Hard: w.hard, Live: r == "", Record: record,
		Bare:     !r.has("/etc/passwd"),
		Packages: packagesOf(r), MailerConf: w.mailerConf,
		Users: r.hasNames(ctx, "passwd", plan.ServerUser, plan.AliasUser), Groups: r.hasNames(ctx, "group", plan.ServerUser, plan.AliasUser, "mail"),
		NoLogin: cmp.Or(r.first("/usr/sbin/nologin", "/sbin/nologin"), "/bin/false"),
	}
	f.Manager, f.Running = managerOf(r)
	if f.MailerConf == "" {
		f.MailerConf = mailerConfOf(r)
	}
	if f.Packages == plan.RPM {
		f.Alternatives = r.first("/usr/sbin/alternatives", "/usr/bin/alternatives")
	}
	if f.Manager == plan.SysV {
		f.Insserv = r.first("/sbin/insserv", "/usr/sbin/insserv", "/usr/lib/insserv/insserv")
	}
	if f.Live && !w.ours {
		f.Listens = listens(ctx)
	}
	f.Entries = map[string]plan.Entry{}
	var owned []string // what may be a package's
	for _, name := range plan.Paths(f) {
		e, err := entryAt(r, name, f)
		if err != nil {
			return f, err
		}
		f.Entries[name] = e
		if e.Kind != plan.Missing && e.Kind != plan.Directory {
			owned = append(owned, name)
		}
	}
	for name, owner := range ownersOf(ctx, r, f.Packages, owned) {
		e := f.Entries[name]
		e.Owner = owner
		f.Entries[name] = e
	}
	return f, nil
}

// entryAt is what stands at a name.
func entryAt(r root, name string, f *plan.Facts) (plan.Entry, error) {
	at, err := r.at(name)
	if err != nil {
		return plan.Entry{}, err
	}
	info, err := os.Lstat(at)
	if err != nil {
		return plan.Entry{}, ignoreMissing(err)
	}
	var e plan.Entry
	switch {
	case info.IsDir():
		e.Kind = plan.Directory
		return e, nil
	case info.Mode()&os.ModeSymlink != 0:
		e.Kind = plan.Symlink
		if e.Target, err = os.Readlink(at); err != nil {
			return e, err
		}
		if where, err := r.followed(name); err == nil {
			if to, err := os.Stat(where); err == nil && to.IsDir() {
				e.Kind = plan.Directory // as good as one
				return e, nil
			}
		}
		e.Ours = filepath.Base(e.Target) == "postoffice"
	case info.Mode().IsRegular():
		e.Kind = plan.File
		e.Ours = isProgram(r, info, f.Program())
		if info.Size() <= maxSummed {
			text, err := os.ReadFile(at)
			if err != nil {
				return e, err
			}
			e.Sum = plan.Sum(string(text))
		}
	default:
		e.Kind = plan.Special
	}
	return e, nil
}

// isProgram reports whether a file is the installed program itself, by another name.
func isProgram(r root, info os.FileInfo, program string) bool {
	at, err := r.followed(program)
	if err != nil {
		return false
	}
	ours, err := os.Stat(at)
	return err == nil && os.SameFile(info, ours)
}

// sumOf is the Sum of a file of any size.
func sumOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// packagesOf is who keeps the list of a root's files.
func packagesOf(r root) plan.Packages {
	for _, p := range []struct {
		file string
		is   plan.Packages
	}{
		{"/var/lib/dpkg/status", plan.Dpkg}, {"/lib/apk/db/installed", plan.Apk},
		{"/var/lib/rpm", plan.RPM}, {"/usr/lib/sysimage/rpm", plan.RPM},
	} {
		if r.has(p.file) {
			return p.is
		}
	}
	return plan.Other
}

// managerOf is who starts services at a root's boot, and whether that runs here and now.
func managerOf(r root) (is plan.Manager, running bool) {
	live := func(file string) bool { return r == "" && r.has(file) }
	for _, m := range []struct {
		is      plan.Manager
		there   []string // any of them
		running string
	}{
		{plan.FreeBSD, []string{"/bin/freebsd-version", "/usr/sbin/dfinfo"}, ""},
		{plan.OpenBSD, []string{"/usr/sbin/rcctl"}, ""},
		{plan.NetBSD, []string{"/etc/rc.subr"}, ""},
		{plan.Systemd, []string{"/run/systemd/system", "/usr/lib/systemd/systemd", "/lib/systemd/systemd"}, "/run/systemd/system"},
		{plan.OpenRC, []string{"/sbin/openrc-run", "/usr/sbin/openrc-run", "/usr/bin/openrc-run"}, "/run/openrc/softlevel"},
		{plan.SysV, []string{"/etc/rc2.d"}, ""},
		{plan.RCS, []string{"/etc/init.d/rcS"}, ""},
	} {
		for _, file := range m.there {
			if r.has(file) {
				return m.is, m.running != "" && live(m.running)
			}
		}
	}
	if runtime.GOOS == "dragonfly" && r == "" {
		return plan.FreeBSD, false
	}
	return plan.Nobody, false
}

// mailerConfOf is where a root's mailwrapper reads which mail server is meant; "" without
// one. FreeBSD and DragonFly have it in a directory of mail's.
func mailerConfOf(r root) string {
	switch {
	case !r.has("/usr/sbin/mailwrapper"):
		return ""
	case r.has("/etc/mail/mailer.conf"), !r.has("/etc/mailer.conf") && r.has("/etc/mail"):
		return "/etc/mail/mailer.conf"
	}
	return "/etc/mailer.conf"
}

// listens reports whether anybody answers at this machine's port 25.
func listens(ctx context.Context) bool {
	for _, address := range []string{"127.0.0.1:25", "[::1]:25"} {
		d := net.Dialer{Timeout: dialWait}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// linesOf calls each with the lines of a file.
func linesOf(file string, each func(line string)) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		each(in.Text())
	}
}
