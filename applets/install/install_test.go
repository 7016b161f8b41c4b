package install

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/applets/install/plan"
)

// aRoot makes a root of directories, links and files: "name/", "name -> target", "name" or
// "name: text".
func aRoot(t *testing.T, things ...string) root {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, thing := range things {
		name, target, link := strings.Cut(thing, " -> ")
		name, text, _ := strings.Cut(name, ": ")
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, at)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(at, 0o755)
		default:
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root(dir)
}

// TestNamesStayInTheRoot: whatever links there are, no name leads out of the root.
func TestNamesStayInTheRoot(t *testing.T) {
	r := aRoot(t, "usr/bin/", "usr/sbin -> bin", "usr/lib -> /srv/lib", "srv/lib/", "up -> ../../../..", "loop -> loop", "etc/a -> b", "etc/b -> /usr/sbin/c")
	for name, want := range map[string]string{
		"/usr/sbin/sendmail": "/usr/bin/sendmail", "/usr/lib/sendmail": "/srv/lib/sendmail", "/up/etc/x": "/etc/x",
		"/usr/bin/../../x": "/x", "/new/dir/x": "/new/dir/x", "/usr/lib": "/usr/lib",
	} {
		got, err := r.at(name)
		if err != nil || got != string(r)+want {
			t.Errorf("%s is at %s, %v; want %s of the root", name, strings.TrimPrefix(got, string(r)), err, want)
		}
	}
	if got, err := r.followed("/etc/a"); err != nil || got != string(r)+"/usr/bin/c" {
		t.Errorf("/etc/a leads to %s, %v", got, err)
	}
	if got, err := r.at("/loop/x"); err == nil {
		t.Errorf("/loop/x is at %s", got)
	}
}

// TestOwners: whose a file is, by the lists of dpkg and apk.
func TestOwners(t *testing.T) {
	r := aRoot(t, "var/lib/dpkg/info/exim4-daemon-light.list: /.\n/usr/sbin/sendmail\n", "var/lib/dpkg/info/libc6:amd64.list: /lib/x\n",
		"lib/apk/db/installed: C:Q1\nP:ssmtp\nF:usr\nF:usr/sbin\nR:sendmail\n\nP:other\nF:etc\nR:x\n")
	names := []string{"/usr/sbin/sendmail", "/lib/x", "/etc/x", "/none"}
	for packages, want := range map[plan.Packages]map[string]string{
		plan.Dpkg:  {"/usr/sbin/sendmail": "exim4-daemon-light", "/lib/x": "libc6"},
		plan.Apk:   {"/usr/sbin/sendmail": "ssmtp", "/etc/x": "other"},
		plan.Other: {},
	} {
		if diff := cmp.Diff(want, ownersOf(t.Context(), r, packages, names)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", packages, diff)
		}
	}
}

// TestManagers: who starts services, and where the mailwrapper's file is, by what is there.
func TestManagers(t *testing.T) {
	for _, tt := range []struct {
		things  []string
		manager plan.Manager
		conf    string
	}{
		{nil, plan.Nobody, ""},
		{[]string{"usr/lib/systemd/systemd", "etc/rc2.d/"}, plan.Systemd, ""},
		{[]string{"etc/rc2.d/", "etc/init.d/"}, plan.SysV, ""},
		{[]string{"sbin/openrc-run", "etc/init.d/"}, plan.OpenRC, ""},
		{[]string{"etc/init.d/rcS"}, plan.RCS, ""},
		{[]string{"bin/freebsd-version", "etc/rc.subr", "usr/sbin/mailwrapper", "etc/mail/mailer.conf"}, plan.FreeBSD, "/etc/mail/mailer.conf"},
		{[]string{"etc/rc.subr", "usr/sbin/mailwrapper", "etc/mail/", "etc/mailer.conf"}, plan.NetBSD, "/etc/mailer.conf"},
		{[]string{"usr/sbin/rcctl", "usr/sbin/mailwrapper", "etc/mailer.conf"}, plan.OpenBSD, "/etc/mailer.conf"},
	} {
		r := aRoot(t, tt.things...)
		manager, running := managerOf(r)
		if conf := mailerConfOf(r); manager != tt.manager || running || conf != tt.conf {
			t.Errorf("%q: %q, running %v, %q; want %q, %q", tt.things, manager, running, conf, tt.manager, tt.conf)
		}
	}
}

// TestProgramInItsPlace: a program that is installed from its own place is not copied.
func TestProgramInItsPlace(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(self))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(self)
	if err := root(dir).copyProgram(&plan.Step{Path: "/" + name, Mode: before.Mode().Perm()}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(self); err != nil || !os.SameFile(before, after) {
		t.Errorf("it is another file now: %v", err)
	}
	r := aRoot(t, "usr/")
	if err := r.copyProgram(&plan.Step{Path: "/usr/" + name, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	copied, err := os.Stat(filepath.Join(string(r), "usr", name))
	if err != nil || os.SameFile(before, copied) || copied.Size() != before.Size() || copied.Mode().Perm() != 0o755 {
		t.Errorf("elsewhere it is %v, %v", copied, err)
	}
}

// TestRecordOfOthers: a record that others could have written is not believed.
func TestRecordOfOthers(t *testing.T) {
	r := aRoot(t, "var/lib/postoffice/")
	if err := writeRecord(r, []*plan.Step{{Do: plan.Copy, Path: "/usr/sbin/postoffice"}}); err != nil {
		t.Fatal(err)
	}
	if all, err := readRecord(r); err != nil || len(all) != 1 || all[0].Path != "/usr/sbin/postoffice" {
		t.Errorf("read back: %v, %v", all, err)
	}
	for _, name := range []string{plan.Record, plan.StateDir} {
		at := filepath.Join(string(r), name)
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at, 0o777); err != nil {
			t.Fatal(err)
		}
		if all, err := readRecord(r); err == nil || !strings.Contains(err.Error(), "not believed") {
			t.Errorf("%s is everybody's: %v, %v", name, all, err)
		}
		if err := os.Chmod(at, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMailerConf: the old file is kept, and comes back.
func TestMailerConf(t *testing.T) {
	r := aRoot(t, "etc/passwd: root:x:0:0::/:\n", "etc/mailer.conf: theirs\n", "usr/sbin/mailwrapper", "usr/sbin/sendmail -> mailwrapper")
	f, err := look(t.Context(), wish{root: r, prefix: "/usr/pkg"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	steps, refused := plan.Install(f)
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	steps = only(steps, "/etc/mailer.conf")
	for _, s := range steps {
		if err := r.carry(t.Context(), s, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := r.read("/etc/mailer.conf"); err != nil || !strings.Contains(string(text), "\nsendmail\t/usr/pkg/sbin/postoffice\n") {
		t.Errorf("mailer.conf: %q, %v", text, err)
	}
	if text, err := r.read("/etc/mailer.conf.before-postoffice"); err != nil || string(text) != "theirs\n" {
		t.Errorf("the one before: %q, %v", text, err)
	}
	if to, err := os.Readlink(string(r) + "/usr/sbin/sendmail"); to != "mailwrapper" {
		t.Errorf("sendmail leads to %q, %v", to, err)
	}
	undo, _ := plan.Uninstall(steps)
	for _, s := range undo {
		if err := r.undo(t.Context(), s, placed{}); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := r.read("/etc/mailer.conf"); err != nil || string(text) != "theirs\n" {
		t.Errorf("back again: %q, %v", text, err)
	}
}

// only are the steps about a name.
func only(steps []*plan.Step, name string) (some []*plan.Step) {
	for _, s := range steps {
		if s.Path == name {
			some = append(some, s)
		}
	}
	return some
}

// TestHalfDiverted: where dpkg-divert finds its note already, as after one that was killed
// behind it, it renames nothing; what stands there is kept all the same, and nothing takes
// the place of what is kept.
func TestHalfDiverted(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "dpkg-divert"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	r := aRoot(t, "usr/sbin/sendmail: exim's")
	s := &plan.Step{Do: plan.Divert, Path: "/usr/sbin/sendmail", To: "/usr/sbin/sendmail.distrib"}
	if err := r.carry(t.Context(), s, io.Discard); err != nil {
		t.Fatal(err)
	}
	if text, err := r.read(s.To); err != nil || string(text) != "exim's" || r.has(s.Path) {
		t.Errorf("kept: %q, %v; still there: %v", text, err, r.has(s.Path))
	}
	if err := os.WriteFile(string(r)+s.Path, []byte("an administrator's"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.carry(t.Context(), s, io.Discard); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("where something is kept already: %v", err)
	}
	for name, want := range map[string]string{s.To: "exim's", s.Path: "an administrator's"} {
		if text, err := r.read(name); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
}

// TestUndoneTwice: what a step had run is not missed once it is gone.
func TestUndoneTwice(t *testing.T) {
	r := aRoot(t, "usr/")
	s := &plan.Step{Do: plan.Run, Argv: []string{"/usr/sbin/postoffice", "restart"}, Back: []string{"/usr/sbin/postoffice", "stop"}}
	if err := r.undo(t.Context(), s, placed{path: "/usr/sbin/postoffice"}); err != nil {
		t.Errorf("a server whose program has gone: %v", err)
	}
}

// TestAccountsInterrupted: who was killed between two files of accounts leaves no line that
// would come twice.
func TestAccountsInterrupted(t *testing.T) {
	r := aRoot(t, "etc/passwd: root:x:0:0::/:\n", "etc/group: root:x:0:\n", "etc/gshadow: postoffice:!::\n", "etc/shadow: root:*:1::::::\npostoffice:!:::::::\n")
	if err := r.addGroup(t.Context(), "postoffice"); err != nil {
		t.Fatal(err)
	}
	if err := r.addUser(t.Context(), person{name: "postoffice", group: "postoffice", home: "/q", shell: "/bin/false"}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"passwd", "group", "shadow", "gshadow"} {
		text, err := r.read("/etc/" + file)
		if n := strings.Count("\n"+string(text), "\npostoffice:"); err != nil || n != 1 {
			t.Errorf("%s has %d lines of it, %v:\n%s", file, n, err, text)
		}
	}
}

// TestRecordWouldBeOthers: nothing is installed where its record would not be believed, nor
// is a line believed that is no step.
func TestRecordWouldBeOthers(t *testing.T) {
	r := aRoot(t, "var/lib/")
	if err := recordable(r); err != nil {
		t.Errorf("without a directory: %v", err)
	}
	at := filepath.Join(string(r), plan.StateDir)
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := recordable(r); err != nil {
		t.Errorf("with one of ours: %v", err)
	}
	if err := r.write(plan.Record, []byte("null\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if all, err := readRecord(r); err == nil {
		t.Errorf("null is %v", all)
	}
	if err := os.Chmod(at, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := recordable(r); err == nil {
		t.Error("with everybody's: no error")
	}
}

// TestAccountsElsewhere: what getent knows of this machine's accounts is there, as LDAP's;
// another root has its own files alone.
func TestAccountsElsewhere(t *testing.T) {
	const name = "postoffice-of-ldap"
	bin := t.TempDir()
	script := "#!/bin/sh\n[ $2 = " + name + " ] || exit 2\n[ $1 = passwd ] && echo $2:x:70001:70002::/:/bin/false || echo $2:x:70002:\n"
	if err := os.WriteFile(filepath.Join(bin, "getent"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	live, other := root(""), aRoot(t, "etc/passwd: root:x:0:0::/:\n", "etc/group: root:x:0:\n")
	for _, database := range []string{"passwd", "group"} {
		want := map[string]bool{"root": true, name: true, "nobody-at-all": false}
		if diff := cmp.Diff(want, live.hasNames(t.Context(), database, "root", name, "nobody-at-all")); diff != "" {
			t.Errorf("%s of this machine (-want +got):\n%s", database, diff)
		}
		if other.hasNames(t.Context(), database, name)[name] {
			t.Errorf("%s of another root has %s", database, name)
		}
	}
	if uid, gid, err := live.ids(t.Context(), name, name); uid != 70001 || gid != 70002 || err != nil {
		t.Errorf("%d, %d, %v", uid, gid, err)
	}
	if _, _, err := other.ids(t.Context(), name, name); err == nil {
		t.Error("another root knows it")
	}
}
