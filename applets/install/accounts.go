package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// person is an account to be made, for a service.
type person struct{ name, group, home, shell string }

// gecos is what an account is for.
const gecos = "postoffice mail server"

// addGroup makes a group of the system's: by the machine's own program, or in the files of
// another root and of a machine that has no such program.
func (r root) addGroup(ctx context.Context, name string) error {
	switch tool := r.tool(); tool {
	case "":
		return r.editAccounts(func(a *accountFiles) error { return a.addGroup(name) })
	case "pw":
		return r.run(ctx, []string{"pw", "groupadd", name})
	case "addgroup":
		return r.run(ctx, []string{"addgroup", "-S", name})
	}
	if runtime.GOOS != "linux" {
		return r.run(ctx, []string{"groupadd", name})
	}
	return r.run(ctx, []string{"groupadd", "--system", name})
}

// addUser makes an account of the system's in a group that there is.
func (r root) addUser(ctx context.Context, p person) error {
	switch r.tool() {
	case "":
		return r.editAccounts(func(a *accountFiles) error { return a.addUser(p) })
	case "pw":
		return r.run(ctx, []string{"pw", "useradd", p.name, "-g", p.group, "-d", p.home, "-s", p.shell, "-c", gecos})
	case "addgroup":
		return r.run(ctx, []string{"adduser", "-S", "-D", "-H", "-G", p.group, "-h", p.home, "-s", p.shell, "-g", gecos, p.name})
	}
	if runtime.GOOS != "linux" {
		return r.run(ctx, []string{"useradd", "-g", p.group, "-d", p.home, "-s", p.shell, "-c", gecos, p.name})
	}
	return r.run(ctx, []string{"useradd", "--system", "--gid", p.group, "--no-create-home", "--home-dir", p.home, "--shell", p.shell, "--comment", gecos, p.name})
}

// tool is what makes accounts on this machine: "groupadd", FreeBSD's "pw", or "addgroup",
// which is busybox's where there is no groupadd. "" is nothing.
func (r root) tool() string {
	if r != "" {
		return ""
	}
	for _, tool := range []string{"groupadd", "pw", "addgroup"} {
		if _, err := exec.LookPath(tool); err == nil {
			return tool
		}
	}
	return ""
}

// ids are those of an owner and a group of the root's; "" is root.
func (r root) ids(ctx context.Context, owner, group string) (uid, gid int, err error) {
	for _, w := range []struct {
		name, database string
		id             *int
	}{{owner, "passwd", &uid}, {group, "group", &gid}} {
		if w.name == "" {
			continue
		}
		text, err := r.read("/etc/" + w.database)
		if err != nil {
			return 0, 0, err
		}
		if *w.id = idOf(text, w.name); *w.id < 0 {
			*w.id = r.idElsewhere(ctx, w.database, w.name)
		}
		if *w.id < 0 {
			return 0, 0, fmt.Errorf("there is no %s in /etc/%s", w.name, w.database)
		}
	}
	return uid, gid, nil
}

// getentWait is how long getent may take, which may ask another machine.
const getentWait = 10 * time.Second

// idElsewhere is the id of a name that this machine has from elsewhere than its own files, as
// from LDAP; -1 of one that it hasn't, and in another root. The programs that make accounts
// refuse such a name.
func (r root) idElsewhere(ctx context.Context, database, name string) int {
	if r != "" {
		return -1
	}
	ctx, cancel := context.WithTimeout(ctx, getentWait)
	defer cancel()
	line, err := exec.CommandContext(ctx, "getent", database, name).Output()
	if err != nil {
		return -1
	}
	return idOf(line, name)
}

// hasNames reports which of some names a database of the root's accounts has.
func (r root) hasNames(ctx context.Context, database string, names ...string) map[string]bool {
	text, err := r.read("/etc/" + database)
	has := map[string]bool{}
	for _, name := range names {
		has[name] = err == nil && (idOf(text, name) >= 0 || r.idElsewhere(ctx, database, name) >= 0)
	}
	return has
}

// idOf is the third field of the line that begins with a name, -1 without one.
func idOf(text []byte, name string) int {
	for line := range bytes.Lines(text) {
		f := strings.Split(string(line), ":")
		if len(f) > 2 && f[0] == name {
			if id, err := strconv.Atoi(f[2]); err == nil {
				return id
			}
		}
	}
	return -1
}

// The ids of accounts of the system's, as login.defs(5) has them.
const (
	firstID = 100
	lastID  = 999
)

// accountFiles are a root's files of accounts, while nobody else may change them.
type accountFiles struct {
	root           root
	passwd, shadow []byte // shadow: nil where there is none
	group, gshadow []byte
}

// lockWait is how long whoever changes accounts may take, as lckpwdf(3) has it.
const lockWait = 15 * time.Second

// lockPause is how long to wait between two tries.
const lockPause = 50 * time.Millisecond

// editAccounts has change change the files of accounts, under the lock that useradd(8) and
// passwd(1) take.
func (r root) editAccounts(change func(*accountFiles) error) error {
	at, err := r.at("/etc/.pwd.lock")
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(at, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // and the lock with it
	for end := time.Now().Add(lockWait); ; time.Sleep(lockPause) {
		err := syscall.FcntlFlock(lock.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("lock the files of accounts: somebody else changes them: %w", err)
		}
	}
	a := &accountFiles{root: r}
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{"passwd", &a.passwd}, {"group", &a.group}, {"shadow", &a.shadow}, {"gshadow", &a.gshadow}} {
		*f.to, err = r.read("/etc/" + f.name)
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && f.name != "passwd") {
			return err
		}
	}
	return change(a)
}

// free is an id that no account has, and no group either, from above as useradd --system
// takes them.
func (a *accountFiles) free() (int, error) {
	used := map[string]bool{}
	for _, text := range [][]byte{a.passwd, a.group} {
		for line := range bytes.Lines(text) {
			if f := strings.Split(string(line), ":"); len(f) > 3 {
				used[f[2]] = true
				used[f[3]] = used[f[3]] || len(f) > 4 // the group of an account
			} else if len(f) > 2 {
				used[f[2]] = true
			}
		}
	}
	for id := lastID; id >= firstID; id-- {
		if !used[strconv.Itoa(id)] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("no id from %d to %d is free", firstID, lastID)
}

func (a *accountFiles) addGroup(name string) error {
	id, err := a.free()
	if err != nil {
		return err
	}
	if a.gshadow != nil {
		if err := a.add("gshadow", a.gshadow, name+":!::"); err != nil {
			return err
		}
	}
	return a.add("group", a.group, fmt.Sprintf("%s:x:%d:", name, id))
}

func (a *accountFiles) addUser(p person) error {
	gid := idOf(a.group, p.group)
	if gid < 0 {
		return fmt.Errorf("there is no group %s", p.group)
	}
	uid := gid // which is free for an account, where addGroup chose it
	for line := range bytes.Lines(a.passwd) {
		if f := strings.Split(string(line), ":"); len(f) > 2 && f[2] == strconv.Itoa(gid) {
			var err error
			if uid, err = a.free(); err != nil {
				return err
			}
			break
		}
	}
	password := "*"
	if a.shadow != nil {
		password = "x"
		if err := a.add("shadow", a.shadow, p.name+":!:::::::"); err != nil {
			return err
		}
	}
	return a.add("passwd", a.passwd, fmt.Sprintf("%s:%s:%d:%d:%s:%s:%s", p.name, password, uid, gid, gecos, p.home, p.shell))
}

// add writes a file anew with one more line, for the same owner in the same mode. A line of
// that name is of one who was interrupted here, and stays.
func (a *accountFiles) add(file string, text []byte, line string) error {
	name, _, _ := strings.Cut(line, ":")
	if bytes.Contains(append([]byte("\n"), text...), []byte("\n"+name+":")) {
		return nil
	}
	at, err := a.root.followed("/etc/" + file)
	if err != nil {
		return err
	}
	mode, uid, gid := fs.FileMode(0o644), 0, 0
	if info, err := os.Stat(at); err == nil {
		st := info.Sys().(*syscall.Stat_t)
		mode, uid, gid = info.Mode().Perm(), int(st.Uid), int(st.Gid)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	there := "/" + strings.TrimPrefix(strings.TrimPrefix(at, string(a.root)), "/")
	return a.root.appearAs(there, bytes.NewReader(append(bytes.Clone(text), line+"\n"...)), mode, uid, gid)
}
