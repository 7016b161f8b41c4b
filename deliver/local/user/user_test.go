package user

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// The user that tests of users' processes run as. Uid and gid differ (R16).
const (
	userUID     = 20001
	userGID     = 20101
	preparedDir = "POSTOFFICE_TEST_AS_USER" // names the directory that root prepared
)

// asUser runs the test again in a process of userUID, since nothing of a
// user's is done by root, and reports whether that was it. In that process it
// returns the directory in which root may have prepared something.
func asUser(t *testing.T, prepare func(dir string)) (dir string, done bool) {
	t.Helper()
	if dir := os.Getenv(preparedDir); dir != "" {
		return dir, false
	}
	testenv.NeedsRoot(t, "starts a process as another user")
	t.Parallel()                             // most of them wait
	dir, err := os.MkdirTemp("", "po-user-") // t.TempDir is closed to others
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) }) // behind what prepare has to end
	must(t, os.Chmod(dir, 0o755))
	if prepare != nil {
		prepare(dir)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.timeout=5m", "-test.v")
	cmd.Env = append(os.Environ(), preparedDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userUID, Gid: userGID, Groups: []uint32{userGID}}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("as uid %d: %v\n%s", userUID, err, out)
	}
	return "", true
}

// person is a User with a home and an alias file of his own.
type fixture struct {
	*User
	t       *testing.T
	home    string
	aliases string
}

func newUser(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	dir := t.TempDir()
	p := &fixture{t: t, home: filepath.Join(dir, "home"), aliases: filepath.Join(dir, "aliases")}
	must(t, os.Mkdir(p.home, 0o700))
	write(t, filepath.Join(dir, "passwd"), "bob:x:20002:20002::/nonexistent:/bin/sh\n")
	write(t, filepath.Join(dir, "shells"), "# shells\n/bin/sh # the one\n\n")
	o := Options{
		Account:     account.Account{Name: "alice", UID: os.Getuid(), GID: os.Getgid(), Home: p.home, Shell: "/bin/sh"},
		DefaultUser: "alice",
		Aliases:     p.aliases,
		AliasOwner:  os.Getuid(),
		ProgramTime: time.Minute,
		Shells:      filepath.Join(dir, "shells"),
		Accounts:    account.Passwd(filepath.Join(dir, "passwd")),
		Alone:       account.NewSystem(account.Names{Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group"), NSSwitch: "/nonexistent"}).Alone,
		Homes:       mailbox.Homes{Unmounted: func(string) string { return "" }}, // whatever this machine mounts
		FS:          disk.OS(),
	}
	if change != nil {
		change(&o)
	}
	p.User = New(o)
	return p
}

// alias makes the alias "x" stand for text.
func (p *fixture) alias(text string) local.Item {
	p.t.Helper()
	write(p.t, p.aliases, "x: "+text+"\n")
	return local.Item{Source: local.FromAlias, Name: "x", Hash: hashOf(p.t, text)}
}

func (p *fixture) forwardText(text string) local.Item {
	p.t.Helper()
	write(p.t, p.path(".forward"), text+"\n")
	return local.Item{Source: local.FromForward, Name: "alice", Hash: hashOf(p.t, text)}
}

func hashOf(t *testing.T, text string) alias.Hash {
	t.Helper()
	targets, err := alias.ParseValue(text)
	must(t, err)
	return targets[0].Hash()
}

func (p *fixture) path(name string) string { return filepath.Join(p.home, name) }

func (p *fixture) run(i local.Item) local.Result { return p.runBody(i, "From a\n\nx\n") }

func (p *fixture) runBody(i local.Item, body string) local.Result {
	return p.Run(context.Background(), local.Job{User: "alice", Item: i, Body: strings.NewReader(body), Envelope: local.Envelope{
		Sender:    smtp.Path{Local: "sender", Domain: "a.example"},
		Recipient: smtp.Path{Local: "alice+lists", Domain: "b.example"},
		Extension: "lists",
		QueueID:   "3XK9",
	}})
}

// program runs a command as an alias's program.
func (p *fixture) program(text string) local.Result {
	p.t.Helper()
	return p.run(p.alias((alias.Target{Kind: alias.Program, Text: text}).String()))
}

// file is what a program or we left in the home directory.
func (p *fixture) file(name string) string {
	b, _ := os.ReadFile(p.path(name))
	return string(b)
}

// wants checks a result.
func wants(t *testing.T, what string, r local.Result, s string, status, words string) {
	t.Helper()
	said := r.Reply.Text + " | " + fmt.Sprint(r.Err)
	if r.String() != s || (s == "delivered") != (r.Err == nil) || r.Reply.Status != status || !strings.Contains(said, words) {
		t.Errorf("%s: %v %v %v, want %v %s with %q", what, r.String(), r.Reply, r.Err, s, status, words)
	}
	if class := map[string]int{"delivered": 2, "deferred": 4, "bounced": 5}[s]; r.Reply.Class() != class || r.Reply.Status[0] != byte('0'+class) {
		t.Errorf("%s: reply %v does not go with %v", what, r.Reply, s)
	}
}

func TestNothingAsRootA43(t *testing.T) {
	testenv.NeedsRoot(t, "does as root what isn't done")
	p := newUser(t, nil)
	wants(t, "root", p.program("touch "+p.path("ran")), "deferred", "4.3.5", "uid 0")
	p.o.Account.UID = userUID
	wants(t, "a process with root's ids", p.program("touch "+p.path("ran")), "deferred", "4.3.5", "uid 0")
	if _, err := p.List(context.Background(), local.Listing{User: "alice", Item: local.Item{Source: local.FromForward, Name: "alice"}}); err == nil {
		t.Error("a .forward was read")
	}
	if p.file("ran") != "" {
		t.Error("a program ran")
	}
}

// itemCase is an item and what has to run for it.
type itemCase struct {
	name  string
	make  func() local.Item
	ran   string
	words string
}

func (p *fixture) check(cases []itemCase) {
	p.t.Helper()
	for _, tt := range cases {
		os.Remove(p.path("ran"))
		want := "deferred"
		if tt.ran != "" {
			want = "delivered"
		}
		if tt.words == "changed" {
			want = "changed"
		}
		r := p.run(tt.make())
		if r.String() != want || !strings.Contains(r.Reply.Text+fmt.Sprint(r.Err), tt.words) {
			p.t.Errorf("%s: %v %v %v, want %v with %q", tt.name, r.String(), r.Reply, r.Err, want, tt.words)
		}
		if ran := p.file("ran"); ran != tt.ran {
			p.t.Errorf("%s: %q ran, want %q", tt.name, ran, tt.ran)
		}
	}
}

// says is a program that leaves text behind.
func (p *fixture) says(text string) string { return `"|echo ` + text + " > " + p.path("ran") + `"` }

// TestItems: what runs is what the file says now, and only for its user.
func TestItems(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	remove := func(i local.Item, path string) local.Item { must(t, os.Remove(path)); return i }
	changed := func() local.Item { i := p.alias(p.says("b")); p.alias(p.says("c")); return i }
	detail := func(text string) local.Item {
		write(t, p.path(".forward+lists"), text)
		return local.Item{Source: local.FromForward, Name: "alice", Hash: hashOf(t, text)}
	}
	p.check([]itemCase{
		{"an alias", func() local.Item { return p.alias(p.says("a")) }, "a\n", ""},
		{"an alias in other letters", func() local.Item {
			return local.Item{Source: local.FromAlias, Name: "X", Hash: p.alias(p.says("b")).Hash}
		}, "b\n", ""},
		{"a changed alias", changed, "", "changed"},
		{"another alias", func() local.Item {
			return local.Item{Source: local.FromAlias, Name: "y", Hash: p.alias(p.says("b")).Hash}
		}, "", "changed"},
		{"no alias file", func() local.Item { return remove(p.alias(p.says("b")), p.aliases) }, "", "changed"},
		{"an address", func() local.Item { return p.alias("bob@b.example") }, "", "no program"},
		{"a list", func() local.Item { return p.alias(":include:/etc/passwd") }, "", "no program"},
		{"a mailbox", func() local.Item { return p.alias(`\alice`) }, "", "no program"},
		{".forward", func() local.Item { return p.forwardText(p.says("d")) }, "d\n", ""},
		{".forward with a detail", func() local.Item { return detail(p.says("e")) }, "e\n", ""},
		{"a changed .forward", func() local.Item {
			return local.Item{Source: local.FromForward, Name: "alice", Hash: hashOf(t, p.says("d"))}
		}, "", "changed"},
		{"no .forward", func() local.Item {
			return remove(remove(detail(p.says("e")), p.path(".forward")), p.path(".forward+lists"))
		}, "", "changed"},
		{"another's .forward", func() local.Item {
			return local.Item{Source: local.FromForward, Name: "bob", Hash: hashOf(t, p.says("d"))}
		}, "", "does nothing as alice"},
		{"an unknown source", func() local.Item { return local.Item{Source: "passwd", Name: "x", Hash: hashOf(t, p.says("a"))} }, "", "nothing is run"},
	})
	wants(t, "another user", p.Run(t.Context(), local.Job{User: "bob", Item: p.alias(p.says("a"))}), "deferred", "4.3.5", "works for alice")
	p.o.DefaultUser = "nobody"
	wants(t, "an alias in the process of a user", p.run(p.alias(p.says("a"))), "deferred", "4.3.5", "default-user")
}

// TestUsermapItems: programs of option usermap are the default user's, those of
// a personal file its owner's.
func TestUsermapItems(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	p.o.Usermap = []string{"*-bob:nobody", "~-*:~/.alias,~/mail/more,~", "u:" + p.says("u")}
	usermap := func(name, text string) local.Item {
		return local.Item{Source: local.FromUsermap, Name: name, Hash: hashOf(t, text)}
	}
	must(t, os.Mkdir(p.path("mail"), 0o755))
	p.check([]itemCase{
		{"its text", func() local.Item { return usermap("u", p.says("u")) }, "u\n", ""},
		{"a changed text", func() local.Item { return usermap("u", p.says("v")) }, "", "changed"},
		{"a name of no entry", func() local.Item { return usermap("w", p.says("u")) }, "", "no entry"},
		{"a personal file", func() local.Item {
			write(t, p.path(".alias"), "other: bob\nALICE-lists: bob, "+p.says("f")+"\n")
			return usermap("Alice-Lists", p.says("f"))
		}, "f\n", ""},
		{"the second personal file", func() local.Item {
			write(t, p.path("mail/more"), "alice-more: "+p.says("g")+"\n")
			return usermap("alice-more", p.says("g"))
		}, "g\n", ""},
		{"another's personal file", func() local.Item { return usermap("bob-lists", p.says("f")) }, "", "changed"},
	})
	p.o.DefaultUser = "nobody"
	wants(t, "its text in the process of a user", p.run(usermap("u", p.says("u"))), "deferred", "4.3.5", "default-user")
	wants(t, "a personal file in the process of its owner", p.run(usermap("alice-more", p.says("g"))), "delivered", "2.0.0", "")
}

// TestAliasFileOfOthers: a file that somebody else may write runs nothing.
func TestAliasFileOfOthers(t *testing.T) {
	dir, done := asUser(t, func(dir string) {
		write(t, filepath.Join(dir, "root"), "x: \"|true\"\n")
		write(t, filepath.Join(dir, "other"), "x: \"|true\"\n")
		must(t, os.Chown(filepath.Join(dir, "other"), userUID+1, 0))
	})
	if done {
		return
	}
	for _, tt := range []struct {
		name, file string
		mode       os.FileMode
		dirMode    os.FileMode
		want       string
		words      string
	}{
		{"root's", filepath.Join(dir, "root"), 0, 0, "delivered", ""},
		{"another's", filepath.Join(dir, "other"), 0, 0, "deferred", "belongs to uid 20002"},
		{"their own", "", 0o644, 0o755, "delivered", ""},
		{"their own and their group's", "", 0o664, 0o775, "delivered", ""},
		{"everybody's", "", 0o646, 0o755, "deferred", "others may write"},
		{"everybody's directory", "", 0o644, 0o757, "deferred", "others may write in the directory"},
		{"a directory as /tmp", "", 0o644, 0o777 | os.ModeSticky, "delivered", ""},
	} {
		p := newUser(t, nil)
		i := p.alias(`"|true"`)
		if tt.file != "" {
			p = newUser(t, func(o *Options) { o.Aliases = tt.file })
		} else {
			must(t, os.Chmod(p.aliases, tt.mode))
			must(t, os.Chmod(filepath.Dir(p.aliases), tt.dirMode))
		}
		r := p.run(i)
		if r.String() != tt.want || !strings.Contains(fmt.Sprint(r.Err), tt.words) {
			t.Errorf("%s: %v %v, want %v with %q", tt.name, r.String(), r.Err, tt.want, tt.words)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}
