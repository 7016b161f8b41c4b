package preflight

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/applets/config"
	"postoffice/applets/service"
	"postoffice/internal/testenv"
	"postoffice/spool"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m.Run, nil)) }

// who is a server of ours that delivers to everybody, or to us alone.
func who(many bool) Who {
	return Who{
		Server: service.User{Name: "postoffice", UID: os.Getuid(), GID: os.Getgid()}, Many: many, AsServer: func(f func() error) error { return f() },
		CheckCommand: func(words string) error {
			if strings.Contains(words, "${nothing}") {
				return errors.New("no such word")
			}
			return nil
		},
	}
}

// Each kind of path, in good order and in each way that it can be wrong.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	mkdir := func(mode fs.FileMode, name string) string {
		if err := errors.Join(os.Mkdir(in(name), 0o700), os.Chmod(in(name), mode)); err != nil {
			t.Fatal(err)
		}
		return in(name)
	}
	file := func(mode fs.FileMode, name string) string {
		if err := errors.Join(os.WriteFile(in(name), nil, 0o600), os.Chmod(in(name), mode)); err != nil {
			t.Fatal(err)
		}
		return in(name)
	}
	plain, good := file(0o644, "plain"), mkdir(0o755, "good")
	spooled := mkdir(0o700, "spooled")
	if err := errors.Join(os.Mkdir(spooled+"/queue", 0o700), os.Mkdir(spooled+"/hold", 0o700), os.Chmod(spooled+"/hold", 0o777)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", in("lmtp"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(in("nowhere"), in("link")); err != nil {
		t.Fatal(err)
	}
	fine := Gravity(255)
	for _, tt := range []struct {
		kind config.PathKind
		name string
		many bool
		want Gravity
		says string
	}{
		{config.QueueDir, in("new"), true, fine, ""},
		{config.QueueDir, in("a/b"), true, Stops, "make the queue directory: mkdir " + in("a/b") + ": no such file or directory|mkdir -p " + in("a")},
		{config.QueueDir, plain + "/q", true, Stops, "not a directory|something in its path"},
		{config.QueueDir, plain, true, Stops, "is not a directory"},
		{config.QueueDir, mkdir(0o700, "queue"), true, fine, ""},
		{config.QueueDir, spooled, true, Stops, "hold belongs to uid|chmod 700 " + spooled + "/queue "},
		{config.RunDir, in("run"), true, fine, ""},
		{config.RunDir, in("a/run"), true, Stops, "make the run directory: mkdir " + in("a/run")},
		{config.RunDir, good, false, fine, ""},
		{config.RunDir, mkdir(0o777, "loose"), true, Stops, "is writable by others: chmod 755"},
		{config.RunDir, mkdir(0o700, "private") + "/run", true, Odd, in("private") + " lets not everybody through|chmod a+x " + in("private")},
		{config.RunDir, in("private/run"), false, fine, ""},
		{config.StateDir, in("x/y/z"), true, fine, ""},
		{config.StateDir, plain + "/db", true, Odd, "not a directory|another one at each start"},
		{config.MailDir, mkdir(0o775, "mail"), true, fine, ""},
		{config.MailDir, good, true, Waits, "users have no right to make a mailbox there|chmod 2775 " + good},
		{config.MailDir, good, false, fine, ""},
		{config.MailDir, in("nomail"), true, Waits, "open " + in("nomail") + ": no such file|mkdir -p"},
		{config.MailDir, plain, true, Waits, "not a directory|mail for users waits"},
		{config.AliasFile, plain, true, fine, ""},
		{config.AliasFile, in("noaliases"), true, Waits, "was asked for|mail for names"},
		{config.AliasFile, in("link"), true, Waits, "was asked for"},
		{config.MailboxPlace, "~/Maildir/", true, fine, ""},
		{config.MailboxPlace, "lmtp:" + in("lmtp"), true, fine, ""},
		{config.MailboxPlace, "lmtp:" + in("nolmtp"), true, Waits, "no such file|start the server that makes it"},
		{config.MailboxPlace, "lmtp:" + plain, true, Waits, "is no socket"},
		{config.LoginSource, "dovecot:" + in("lmtp"), true, fine, ""},
		{config.LoginSource, "dovecot:" + in("noauth"), true, Waits, "connect " + in("noauth") + ": no such file|nobody can log in"},
		{config.LoginSource, "virtual", true, fine, ""},
		{config.LoginSource, "system", true, fine, ""},
		{config.LoginSource, "system", false, Waits, "a server of root's|take system out"},
		{config.PasswordFile, plain, true, fine, ""},
		{config.PasswordFile, in("nopasswords"), true, Waits, "open " + in("nopasswords") + ": no such file|make it, with mode 0600"},
		{config.ReadFile, plain, true, fine, ""},
		{config.ReadFile, in("nofile"), true, Waits, "open " + in("nofile") + ": no such file|chmod a+r " + in("nofile")},
		{config.ReadFile, good, true, Waits, "and no file"},
		{config.Command, "/bin/sh -c x", true, fine, ""},
		{config.Command, "/bin/sh ${nothing}", true, Waits, "no such word"},
		{config.Command, in("noprogram") + " -d", true, Waits, "exec " + in("noprogram") + ": no such file"},
		{config.Command, plain, true, Waits, "nobody can run"},
		{config.Command, file(0o700, "mine"), true, Odd, "not every user may run it|chmod a+rx"},
		{config.Command, in("mine"), false, fine, ""},
		{config.ProgramDir, good, true, fine, ""},
		{config.ProgramDir, in("noprograms"), true, Waits, "no such file|link there what may run"},
		{config.LogFile, "syslog", true, fine, ""},
		{config.LogFile, "file:" + in("log"), true, fine, ""},
		{config.LogFile, "file:" + plain, true, fine, ""},
		{config.LogFile, "file:" + good, true, Stops, "is a directory"},
		{config.LogFile, "file:" + in("a/log"), true, Stops, "open the log: open " + in("a/log") + ": no such file|the directory above it must be there: mkdir -p " + in("a")},
	} {
		p := config.Path{Option: "some-option", Where: "cf:3", Kind: tt.kind, Name: tt.name, Named: true}
		all := Paths([]config.Path{p}, who(tt.many))
		got, says := fine, ""
		if len(all) > 0 {
			got, says = all[0].Gravity, all[0].Err.Error()+"|"+all[0].Hint()
		}
		if got != tt.want {
			t.Errorf("kind %d, %s: gravity %d, want %d; %s", tt.kind, tt.name, got, tt.want, says)
		}
		for part := range strings.SplitSeq(tt.says, "|") {
			if !strings.Contains(says, part) {
				t.Errorf("kind %d, %s: said %q, want %q", tt.kind, tt.name, says, part)
			}
		}
		if got != fine && got != Stops && !strings.HasPrefix(says, "cf:3: some-option: ") {
			t.Errorf("kind %d, %s: %q doesn't say where", tt.kind, tt.name, says)
		}
	}
}

// Where mail goes elsewhere nobody misses the mail directory.
func TestMailElsewhere(t *testing.T) {
	mail := config.Path{Option: "mail-dir", Kind: config.MailDir, Name: filepath.Join(t.TempDir(), "none")}
	for _, other := range []config.Path{{Kind: config.MailboxPlace, Name: "~/Maildir/"}, {Kind: config.Command, Name: "/bin/sh"}} {
		if all := Paths([]config.Path{mail, other}, who(true)); len(all) > 0 {
			t.Errorf("with %s: %v", other.Name, all)
		}
	}
	if all := Paths([]config.Path{mail}, who(true)); len(all) != 1 || !errors.Is(all[0].Err, syscall.ENOENT) {
		t.Errorf("alone: %v, want %v", all, syscall.ENOENT)
	}
}

// Every kind of path has its look.
func TestKinds(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	conf, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: []string{
		"mailbox=~/mbox", "mailer=/bin/sh", "av=|/bin/sh -c", "program-dir=/bin", "auth=dovecot:/run/auth", "routes=/etc/routes", "log=stderr,file:/x/y",
	}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[config.PathKind]bool{}
	for _, p := range conf.Paths() {
		seen[p.Kind] = true
		if int(p.Kind) >= len(looks) || looks[p.Kind] == nil {
			t.Errorf("%s has kind %d, for which there is no look", p.Option, p.Kind)
		}
	}
	for kind := config.NoPath + 1; int(kind) < len(looks); kind++ {
		if !seen[kind] {
			t.Errorf("no option has a path of kind %d", kind)
		}
	}
}

// A queue in which nothing can be written takes no mail: for want of room, or of rights.
func TestTakesMail(t *testing.T) {
	dir := t.TempDir()
	if err := takesMail(dir, 0); err != nil {
		t.Errorf("a directory of ours: %v", err)
	}
	want := spool.ErrFull // /proc has no room at all
	if os.Getuid() != 0 {
		want = fs.ErrPermission
	}
	if err := takesMail("/proc", 1); !errors.Is(err, want) {
		t.Errorf("/proc: %v, want %v", err, want)
	}
	if err := takesMail(filepath.Join(dir, "none"), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

// TestEmptyQueue: an empty queue directory that is the server's is looked at as any other is.
func TestEmptyQueue(t *testing.T) {
	w := who(true)
	w.AsServer = func(func() error) error { return spool.ErrFull }
	f := queueDir(config.Path{Option: "queue-dir", Name: t.TempDir(), Kind: config.QueueDir}, w)
	if f == nil || !errors.Is(f.Err, spool.ErrFull) {
		t.Errorf("%+v, want what the server finds there", f)
	}
}
