package user

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/internal/alias"
)

// lines prints lists for comparison: "file:line target".
func (p *fixture) lines(g local.Listing) (string, error) {
	g.User = "alice"
	if g.Item.Source == local.FromForward {
		g.Item.Name = "alice"
	}
	lines, err := p.List(context.Background(), g)
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s:%d %v\n", strings.TrimPrefix(l.File, p.home+"/"), l.Line, l.Target)
	}
	return b.String(), err
}

var itsForward = local.Listing{Item: local.Item{Source: local.FromForward}}

func TestForward(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	for _, tt := range []struct {
		name, text string
		want       string
		err        string
	}{
		{"many lines", "# mine\n\\alice, bob\n\nbob@b.example\n", ".forward:2 \\alice\n.forward:2 bob\n.forward:4 bob@b.example\n", ""},
		{"programs and files", "\"|IFS=' ' && exec procmail || exit 75 #alice\"\n/tmp/x\r\n", ".forward:1 \"|IFS=' ' && exec procmail || exit 75 #alice\"\n.forward:2 /tmp/x\n", ""},
		{"no newline at the end", "bob", ".forward:1 bob\n", ""},
		{"empty", "", "", ""},
		{"comments", "# nothing\n \n", "", ""},
		{"a list", "bob\n:include:/etc/passwd\n", "", "/.forward:2: :include: stands in the alias file only"},
		{"nonsense", "bob\n\nbob <b", "", "/.forward:3: "},
		{"an octet 0", "a\x00b\n", "", "/.forward:1: a control octet"},
	} {
		p := newUser(t, nil)
		write(t, p.path(".forward"), tt.text)
		got, err := p.lines(itsForward)
		if diff := cmp.Diff(tt.want, got); err == nil && diff != "" || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), p.home+tt.err) {
			t.Errorf("%s: %v, want %q (-want +got):\n%s", tt.name, err, tt.err, diff)
		}
		if tt.name == "nonsense" && (!strings.Contains(err.Error(), "<b") || strings.Contains(local.Public(err).Error(), "<b")) {
			t.Errorf("everybody is told %q of %q: a line is its owner's", local.Public(err), err)
		}
	}
}

func TestForwardOfADetail(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	write(t, p.path(".forward"), "plain")
	write(t, p.path(".forward+lists"), "lists")
	must(t, os.Mkdir(p.path(".forward+d"), 0o755))
	write(t, p.path(".forward+d/e"), "below")
	write(t, filepath.Join(filepath.Dir(p.home), "x"), "above")
	for _, tt := range []struct{ extension, want string }{
		{"", ".forward:1 plain\n"},
		{"lists", ".forward+lists:1 lists\n"},
		{"other", ".forward:1 plain\n"},
		{"d/e", ".forward:1 plain\n"},
		{"/../../x", ".forward:1 plain\n"},
		{"lists\x00", ".forward:1 plain\n"},
		{strings.Repeat("x", 250), ".forward:1 plain\n"},
	} {
		got, err := p.lines(local.Listing{Item: local.Item{Source: local.FromForward}, Extension: tt.extension})
		if got != tt.want || err != nil {
			t.Errorf("%q: %q, %v, want %q", tt.extension, got, err, tt.want)
		}
	}
}

// homesOfOthers makes what only root can.
func homesOfOthers(t *testing.T, dir string) {
	for name, uid := range map[string]int{"root's": 0, "other's": userUID + 1} {
		home := filepath.Join(dir, name)
		must(t, os.Mkdir(home, 0o700))
		write(t, filepath.Join(home, ".forward"), "bob")
		must(t, os.Chown(filepath.Join(home, ".forward"), uid, 0))
		must(t, os.Chown(home, userUID, userGID))
	}
	must(t, os.Mkdir(filepath.Join(dir, "home of others"), 0o755))
	must(t, os.Chown(filepath.Join(dir, "home of others"), userUID+1, 0))
	write(t, filepath.Join(dir, "home of others/.forward"), "bob")
	must(t, os.Mkdir(filepath.Join(dir, "home of root"), 0o755))
	write(t, filepath.Join(dir, "home of root/.forward"), "bob")
}

// TestForwardA49B54: only what the user and nobody else wrote counts, and only
// its certain absence is none.
func TestForwardA49B54(t *testing.T) {
	dir, done := asUser(t, func(dir string) { homesOfOthers(t, dir) })
	if done {
		return
	}
	huge := func(size int64) func(*fixture) {
		return func(p *fixture) { must(t, os.Truncate(p.path(".forward"), size)) }
	}
	groupMay := func(groups string) func(*fixture) {
		return func(p *fixture) {
			must(t, os.Chmod(p.path(".forward"), 0o664))
			if groups != "" {
				write(t, filepath.Join(filepath.Dir(p.home), "group"), groups)
			}
		}
	}
	for _, tt := range []struct {
		name string
		make func(p *fixture) // .forward says bob and belongs to alice
		want string           // "": bob
	}{
		{"as it should be", func(*fixture) {}, ""},
		{"none", func(p *fixture) { must(t, os.Remove(p.path(".forward"))) }, "none"},
		{"a home of their group", func(p *fixture) { must(t, os.Chmod(p.home, 0o770)) }, ""},
		{"root's file", func(p *fixture) { p.o.Account.Home = filepath.Join(dir, "root's") }, ""},
		{"root's home", func(p *fixture) { p.o.Account.Home = filepath.Join(dir, "home of root") }, ""},
		{"another's file", func(p *fixture) { p.o.Account.Home = filepath.Join(dir, "other's") }, "belongs to uid 20002: chown it to alice"},
		{"another's home", func(p *fixture) { p.o.Account.Home = filepath.Join(dir, "home of others") }, "belongs to uid 20002: chown it to alice"},
		{"mode 666", func(p *fixture) { must(t, os.Chmod(p.path(".forward"), 0o666)) }, "others may write"},
		{"mode 664 and their own group", groupMay("alice:x:20101:alice\n"), ""},
		{"mode 664 and a group of the user alone", groupMay("staff:x:20101:\n"), ""},
		{"mode 664 and a group with others", groupMay("staff:x:20101:alice,bob\n"), "others may write"},
		{"mode 664 and their own group with others", groupMay("alice:x:20101:bob\n"), "others may write"},
		{"mode 664 and another group", func(p *fixture) { groupMay("")(p); p.o.Account.GID++ }, "others may write"},
		{"mode 664 and groups that can't be read", func(p *fixture) {
			groupMay("")(p)
			must(t, os.Mkdir(filepath.Join(filepath.Dir(p.home), "group"), 0o700))
		}, "not known now"},
		{"mode 666 and their own group", func(p *fixture) { groupMay("")(p); must(t, os.Chmod(p.path(".forward"), 0o666)) }, "others may write"},
		{"home 777", func(p *fixture) { must(t, os.Chmod(p.home, 0o777)) }, "others may write"},
		{"home 1777", func(p *fixture) { must(t, os.Chmod(p.home, 0o777|os.ModeSticky)) }, "others may write"},
		{"1 GB", huge(1 << 30), "at most 65536"},
		{"too large", huge(maxForward + 1), "at most 65536"},
		{"zeros", huge(maxForward), "control octet"},
		{"FIFO", func(p *fixture) { p.instead(func(path string) error { return syscall.Mkfifo(path, 0o600) }) }, "no regular file"},
		{"directory", func(p *fixture) { p.instead(func(path string) error { return os.Mkdir(path, 0o700) }) }, "no regular file"},
		{"link", func(p *fixture) { p.instead(func(path string) error { return os.Symlink("/etc/passwd", path) }) }, "is a symbolic link"},
		{"link to nothing", func(p *fixture) { p.instead(func(path string) error { return os.Symlink("x", path) }) }, "is a symbolic link"},
		{"link to itself", func(p *fixture) { p.instead(func(path string) error { return os.Symlink(".forward", path) }) }, "is a symbolic link"},
		{"no right to read", func(p *fixture) { must(t, os.Chmod(p.path(".forward"), 0)) }, "permission denied"},
		{"no right to enter the home", func(p *fixture) { must(t, os.Chmod(p.home, 0)) }, "permission denied"},
		{"no home", func(p *fixture) { must(t, os.RemoveAll(p.home)) }, "none"},
		{"no home, and one is required", func(p *fixture) { must(t, os.RemoveAll(p.home)); p.o.Homes.Required = true }, "no such file"},
		{"no home, which may not be mounted", func(p *fixture) {
			must(t, os.RemoveAll(p.home))
			p.o.Homes.Unmounted = func(string) string { return "/home is not mounted" }
		}, "/home is not mounted"},
		{"a home mounted while that is found out", func(p *fixture) {
			home, away := p.home, p.home+".away"
			must(t, os.Rename(home, away))
			p.o.Homes.Unmounted = func(string) string {
				must(t, os.Rename(away, home))
				return ""
			}
		}, ""},
		{"a home on no file system", func(p *fixture) { p.o.Account.Home = "/nonexistent/alice" }, "none"},
		{"an account without a home", func(p *fixture) { p.o.Account.Home = "/nonexistent" }, "none"},
	} {
		p := newUser(t, nil)
		home := p.home
		write(t, p.path(".forward"), "bob")
		tt.make(p)
		got, err := p.lines(itsForward)
		if e := os.Chmod(home, 0o700); e != nil && !errors.Is(e, os.ErrNotExist) {
			t.Error(e)
		}
		switch {
		case tt.want == "none" && (got != "" || err != nil),
			tt.want == "" && (!strings.HasSuffix(got, ".forward:1 bob\n") || err != nil),
			tt.want != "" && tt.want != "none" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %q, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

// instead puts something else in the place of the .forward.
func (p *fixture) instead(f func(path string) error) {
	p.t.Helper()
	must(p.t, os.Remove(p.path(".forward")))
	must(p.t, f(p.path(".forward")))
}

// TestPersonalFileB55: a file of option usermap's in a home directory, read as
// a .forward is.
func TestPersonalFileB55(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	const text = "# mine\nother: x\nAlice-Lists: bob,\n  \\alice\ntwice: a\ntwice: b\nalice-bad: (\nalice-list: :include:/x\n"
	for _, tt := range []struct {
		name, ask, want, err string
		make                 func(p *fixture)
	}{
		{"listed", "alice-lists", ".alias:3 bob\n.alias:3 \\alice\n", "", nil},
		{"in other letters", "ALICE-LISTS", ".alias:3 bob\n.alias:3 \\alice\n", "", nil},
		{"not listed", "alice-nothing", "", "", nil},
		{"another's", "bob-lists", "", "", nil},
		{"a bad line", "alice-bad", "", "/.alias:7: a comment", nil},
		{"a list", "alice-list", "", "/.alias:8: :include: stands", nil},
		{"no file", "alice-lists", "", "", func(p *fixture) { must(t, os.Remove(p.path(".alias"))) }},
		{"others' file", "alice-lists", "", "/.alias (-rw-rw-rw-)", func(p *fixture) { must(t, os.Chmod(p.path(".alias"), 0o666)) }},
		{"others' home", "alice-lists", "", " (drwxrwxrwx)", func(p *fixture) { must(t, os.Chmod(p.home, 0o777)) }},
		{"a line without a name", "alice-nothing", "", "/.alias:1: want name", func(p *fixture) { write(t, p.path(".alias"), "nonsense\n") }},
		{"a directory", "alice-sub", "mail/list:1 bob\n", "", func(p *fixture) {
			must(t, os.Mkdir(p.path("mail"), 0o755))
			write(t, p.path("mail/list"), "alice-sub: bob\n")
		}},
		{"a link on the way", "alice-sub", "", "/mail is no directory", func(p *fixture) {
			must(t, os.Mkdir(p.path("other"), 0o755))
			write(t, p.path("other/list"), "alice-sub: bob\n")
			must(t, os.Symlink("other", p.path("mail")))
		}},
		{"others' directory", "alice-sub", "", "/mail (drwxrwxrwx)", func(p *fixture) {
			must(t, os.Mkdir(p.path("mail"), 0o755))
			must(t, os.Chmod(p.path("mail"), 0o777))
			write(t, p.path("mail/list"), "alice-sub: bob\n")
		}},
	} {
		p := newUser(t, func(o *Options) { o.Usermap = []string{"~-*:~/.alias,~/mail/list,~"} })
		write(t, p.path(".alias"), text)
		if tt.make != nil {
			tt.make(p)
		}
		got, err := p.lines(local.Listing{Item: local.Item{Source: local.FromUsermap, Name: tt.ask}})
		if err == nil && got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), p.home+tt.err) {
			t.Errorf("%s: %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// listsOfOthers makes what only root can.
func listsOfOthers(t *testing.T, dir string) {
	write(t, filepath.Join(dir, "root's"), "# list\nbob, \\alice\n\nbob@b.example\n")
	write(t, filepath.Join(dir, "other's"), "secret\n")
	must(t, os.Chmod(filepath.Join(dir, "other's"), 0o600))
	must(t, os.Chown(filepath.Join(dir, "other's"), userUID+1, 0))
	must(t, os.Mkdir(filepath.Join(dir, "home"), 0o700))
	must(t, os.Chown(filepath.Join(dir, "home"), userUID+1, 0))
	write(t, filepath.Join(dir, "root's own"), "secret\n")
	must(t, os.Chmod(filepath.Join(dir, "root's own"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "open"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "open"), 0o777))
	write(t, filepath.Join(dir, "open/list"), "bob\n")
	for name, mode := range map[string]os.FileMode{"staff": os.ModeSetgid, "sticky": os.ModeSetgid | os.ModeSticky} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		must(t, os.Chown(filepath.Join(dir, name), 0, 1))
		must(t, os.Chmod(filepath.Join(dir, name), 0o775|mode))
		write(t, filepath.Join(dir, name, "list"), "bob\n")
	}
	must(t, os.Symlink("root's", filepath.Join(dir, "link")))
	write(t, filepath.Join(dir, "list"), "bob\n")
	for name, uid := range map[string]int{"root's way": 0, "third's way": userUID + 2} {
		must(t, os.Symlink(".", filepath.Join(dir, name)))
		must(t, os.Lchown(filepath.Join(dir, name), uid, uid))
	}
	write(t, filepath.Join(dir, "root's group's"), "bob\n")
	must(t, os.Chown(filepath.Join(dir, "root's group's"), 0, 1))
	must(t, os.Chmod(filepath.Join(dir, "root's group's"), 0o664))
	write(t, filepath.Join(dir, "root's, the user's group's"), "bob\n")
	must(t, os.Chown(filepath.Join(dir, "root's, the user's group's"), 0, userGID))
	must(t, os.Chmod(filepath.Join(dir, "root's, the user's group's"), 0o664))
}

// TestListsB56: a list is read by the one whose it is, and by everybody if it
// is root's.
func TestListsB56(t *testing.T) {
	dir, done := asUser(t, func(dir string) { listsOfOthers(t, dir) })
	if done {
		return
	}
	own := filepath.Join(t.TempDir(), "list")
	for _, tt := range []struct {
		file, text string // text and mode of the user's own list
		mode       os.FileMode
		want, err  string
		owner      bool
	}{
		{file: dir + "/root's", want: dir + "/root's:2 bob\n" + dir + "/root's:2 \\alice\n" + dir + "/root's:4 bob@b.example\n"},
		{file: dir + "/other's", owner: true},
		{file: dir + "/home/list", owner: true},
		{file: dir + "/home/lists/list", owner: true},
		{file: dir + "/root's own", err: "permission denied"},
		{file: dir + "/closed/list", err: "permission denied"},
		{file: dir + "/open/list", err: "where others may put something in its place (drwxrwxrwx): chmod go-w it, or +t"},
		{file: dir + "/staff/list", err: "(drwxrwsr-x): chmod go-w it, or +t"},
		{file: dir + "/sticky/list", want: dir + "/sticky/list:1 bob\n"}, // so the advice helps
		{file: dir + "/link", err: "symbolic link"},
		{file: dir + "/root's way/list", want: dir + "/root's way/list:1 bob\n"},
		{file: dir + "/third's way/list", err: "a link of uid 20003"},
		{file: dir + "/root's group's", err: "others may write"},
		{file: dir + "/root's, the user's group's", err: "others may write"},
		{file: dir + "/nothing", err: "no such file"},
		{file: dir, err: "no regular file"},
		{file: "relative", err: "absolute path"},
		{file: own, mode: 0o600, text: "bob\n", want: own + ":1 bob\n"},
		{file: own, mode: 0o660, text: "bob\n", want: own + ":1 bob\n"},
		{file: own, mode: 0o662, text: "bob\n", err: "others may write"},
		{file: own, mode: 0o600, text: "bob\n|id\n", err: own + ":2: \"|id\": a program stands in the alias file only"},
		{file: own, mode: 0o600, text: "/tmp/x\n", err: own + ":1: /tmp/x: a file stands in the alias file only"},
		{file: own, mode: 0o600, text: ":include:/x\n", err: own + ":1: :include:/x: a list in a file stands in the alias file only"},
		{file: own, mode: 0o600, text: "a b\n", err: own + ":1: "},
		{file: own, mode: 0o600, text: strings.Repeat("a,b,c,d,e,f\n", 10_001), err: own + ":10001: more than 60000 targets"},
		{file: own, mode: 0o600, text: strings.Repeat("# \n", maxList/3+1), err: "at most 16777216"},
		{file: own, mode: 0o600, text: ""},
	} {
		p := newUser(t, func(o *Options) {
			o.NameOf = func(uid int) string { return map[int]string{userUID + 1: "carol"}[uid] }
		})
		if tt.file == own {
			write(t, own, tt.text)
			must(t, os.Chmod(own, tt.mode))
		}
		got, err := p.lines(local.Listing{Item: p.alias(`":include:` + tt.file + `"`)})
		var owner *local.OwnerError
		switch {
		case tt.owner:
			if !errors.As(err, &owner) || *owner != (local.OwnerError{File: tt.file, User: "carol", UID: userUID + 1}) {
				t.Errorf("%s: %v, want its owner", tt.file, err)
			}
		case err == nil && got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || errors.As(err, &owner):
			t.Errorf("%s with %.40q: %q, %v, want %q, %q", tt.file, tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestNoLists(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	for name, g := range map[string]local.Listing{
		"no list":         {Item: p.alias("bob")},
		"changed":         {Item: local.Item{Source: local.FromAlias, Name: "x", Hash: hashOf(t, ":include:/x")}},
		"unknown":         {Item: local.Item{Source: "x"}},
		"mailer":          {Item: local.Item{Source: local.FromMailer, Name: "alice"}},
		"usermap of none": {Item: local.Item{Source: local.FromUsermap, Name: "x"}},
	} {
		if got, err := p.lines(g); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestLongList: 50,000 members.
func TestLongList(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	var b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&b, "member%d@host%d.example\n", i, i%100)
	}
	write(t, p.path("list"), b.String())
	g := local.Listing{User: "alice", Item: p.alias(":include:" + p.path("list"))}
	lines, err := p.List(t.Context(), g)
	if len(lines) != 50_000 || err != nil || lines[49_999].Line != 50_000 || lines[49_999].String() != "member49999@host99.example" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

// TestA39HungListsOfAliases: lists on a file system that does not answer are answered
// with words, and those on others are read meanwhile. No more of them is begun than
// one file system may have.
func TestA39HungListsOfAliases(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	dir, release := t.TempDir(), make(chan struct{})
	dead := filepath.Join(dir, "dead")
	must(t, os.Mkdir(dead, 0o755))
	var begun atomic.Int32
	p := newUser(t, func(o *Options) {
		o.Mounts = func() string { return "1 1 0:9 / " + dead + " rw - nfs server:/ rw\n2 1 0:1 / / rw - ext4 /dev/x rw\n" }
		o.between = func(path string) {
			if path == dead {
				begun.Add(1)
				<-release
			}
		}
	})
	defer close(release)
	write(t, filepath.Join(dir, "list"), "bob\n")
	lists := map[string]string{"good": filepath.Join(dir, "list")}
	const hung = 3 * maxQuietLists
	for i := range hung {
		lists[fmt.Sprint("hung", i)] = fmt.Sprintf("%s/list%d", dead, i)
	}
	text, hashes := "", map[string]alias.Hash{}
	for name, path := range lists {
		text += name + ": :include:" + path + "\n"
		hashes[name] = hashOf(t, ":include:"+path)
	}
	write(t, p.aliases, text)
	list := func(name string) error {
		_, err := p.List(context.Background(), local.Listing{User: "alice", Item: local.Item{Source: local.FromAlias, Name: name, Hash: hashes[name]}})
		return err
	}
	answers := make(chan error, hung)
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			go func() { answers <- list(fmt.Sprint("hung", i)) }()
		}
	}
	refused := func() {
		t.Helper()
		if err := <-answers; !errors.Is(err, stalled.ErrStalled) {
			t.Fatalf("%v, want %v", err, stalled.ErrStalled)
		}
		must(t, list("good"))
	}
	ask(0, maxQuietLists)
	refused()
	ask(maxQuietLists, hung)
	for range hung - maxQuietLists { // fewer are in nobody's way
		refused()
	}
	if n := begun.Load(); n != maxQuietLists {
		t.Errorf("%d readers hang, want %d", n, maxQuietLists)
	}
}
