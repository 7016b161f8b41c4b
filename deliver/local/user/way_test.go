//go:build linux

package user

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// chown gives a file away, and makes its mode exact.
func chown(t *testing.T, path string, uid, gid int, mode os.FileMode) {
	t.Helper()
	must(t, os.Lchown(path, uid, gid))
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSymlink == 0 {
		must(t, os.Chmod(path, mode))
	}
}

const (
	thirdUID    = userUID + 2
	privateText = "secret\n"
)

// thirdsWay makes a list in a directory of a third person's, who has a link to
// the user's private directory beside it.
func thirdsWay(t *testing.T, dir string) {
	for _, name := range []string{"third", "third/lists", "private"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	write(t, filepath.Join(dir, "third/lists/list"), "bob\n")
	write(t, filepath.Join(dir, "private/list"), privateText)
	must(t, os.Symlink(filepath.Join(dir, "private"), filepath.Join(dir, "third/link")))
	chown(t, filepath.Join(dir, "private/list"), userUID, userGID, 0o600)
	chown(t, filepath.Join(dir, "private"), userUID, userGID, 0o700)
	for _, name := range []string{"third/link", "third/lists", "third"} {
		chown(t, filepath.Join(dir, name), thirdUID, thirdUID, 0o755)
	}
}

func exchanged(one, other string) error {
	return unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
}

// TestA86ExchangedDirectory: while another process exchanges a directory for a
// link as fast as it can, nothing of the file behind the link is ever read.
func TestA86ExchangedDirectory(t *testing.T) {
	const reads = 20_000
	var stop atomic.Bool
	stopped := make(chan struct{})
	dir, done := asUser(t, func(dir string) {
		thirdsWay(t, dir)
		go func() {
			defer close(stopped)
			for err := error(nil); err == nil && !stop.Load(); {
				err = exchanged(dir+"/third/lists", dir+"/third/link")
			}
		}()
		t.Cleanup(func() {
			stop.Store(true)
			<-stopped
		})
	})
	if done {
		return
	}
	p := newUser(t, nil)
	g := local.Listing{Item: p.alias(":include:" + dir + "/third/lists/list")}
	refused := 0
	for n := range reads {
		got, err := p.lines(g)
		if strings.Contains(got, "secret") {
			t.Fatalf("read %d: %q: of another file", n, got)
		}
		if err != nil && strings.Contains(err.Error(), "of uid 20003") {
			refused++
		}
	}
	if refused != reads {
		t.Errorf("%d of %d reads refused: a way that a third person can change was taken", refused, reads)
	}
}

// TestA86LookedAtIsOpened: at each step of the way to a list, and before it is
// opened, its directory is exchanged for a link to another. What is read is the
// one that was looked at, or nothing.
func TestA86LookedAtIsOpened(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	base := t.TempDir()
	for _, name := range []string{"lists", "other"} {
		must(t, os.Mkdir(filepath.Join(base, name), 0o755))
		write(t, filepath.Join(base, name, "list"), name+"\n")
	}
	must(t, os.Symlink("other", filepath.Join(base, "link")))
	path := base + "/lists/list"
	steps := strings.Count(path, "/")
	for at := 1; at <= steps; at++ {
		n := 0
		p := newUser(t, func(o *Options) {
			o.between = func(string) {
				if n++; n == at {
					must(t, exchanged(base+"/lists", base+"/link"))
				}
			}
		})
		got, err := p.lines(local.Listing{Item: p.alias(":include:" + path)})
		want := "other" // the exchange was made before its directory was opened
		if at == steps {
			want = "lists"
		}
		if got != path+":1 "+want+"\n" || err != nil {
			t.Errorf("exchanged at step %d of %d: %q, %v, want %s", at, steps, got, err, want)
		}
		must(t, exchanged(base+"/lists", base+"/link"))
	}
}

// waysOfOthers makes a list behind each kind of way.
func waysOfOthers(t *testing.T, dir string) {
	for _, d := range []struct {
		name     string
		uid, gid int
		mode     os.FileMode
	}{
		{"root's", 0, 0, 0o755},
		{"own", userUID, userGID, 0o755},
		{"own group", userUID, userGID, 0o775},
		{"root's group", 0, 0, 0o775},
		{"third's", thirdUID, 0, 0o755},
		{"third's sticky", thirdUID, 0, 0o777 | os.ModeSticky},
		{"sticky", 0, 0, 0o777 | os.ModeSticky},
		{"for all", 0, 0, 0o777},
		{"for a group", 0, thirdUID, 0o775},
	} {
		deep := filepath.Join(dir, d.name, "deep")
		must(t, os.MkdirAll(deep, 0o755))
		write(t, filepath.Join(deep, "list"), "bob\n")
		write(t, filepath.Join(deep, ".forward"), "bob\n")
		for _, own := range []string{deep, deep + "/.forward"} {
			chown(t, own, userUID, userGID, 0o755)
		}
		chown(t, filepath.Join(dir, d.name), d.uid, d.gid, d.mode)
	}
	for name, target := range map[string]string{"link": "root's/../root's", "loop": "loop", "far": dir + "/link"} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	must(t, os.Symlink("root's", filepath.Join(dir, "thirds link")))
	must(t, os.Lchown(filepath.Join(dir, "thirds link"), thirdUID, 0))
	write(t, dir+"/twice", "bob\n")
	must(t, os.Link(dir+"/twice", dir+"/once more"))
}

// TestA86Ways: who owns a directory or a link on the way to a list, a .forward or
// a file counts, and who may write there; a file has one name.
func TestA86Ways(t *testing.T) {
	dir, done := asUser(t, func(dir string) { waysOfOthers(t, dir) })
	if done {
		return
	}
	const third, others = "of uid 20003, to whom it does not belong", "others may put something in its place"
	for _, tt := range []struct{ way, want string }{
		{"root's", ""}, {"own", ""}, {"own group", ""}, {"root's group", ""}, {"sticky", ""}, {"link", ""}, {"far", ""},
		{"third's", third}, {"third's sticky", third}, {"thirds link", third},
		{"for all", others}, {"for a group", others},
		{"loop", "too many levels of symbolic links"},
	} {
		home := filepath.Join(dir, tt.way, "deep")
		p := newUser(t, func(o *Options) { o.Account.Home = home })
		forward, forwardErr := p.lines(itsForward)
		list, listErr := p.lines(local.Listing{Item: p.alias(`":include:` + home + `/list"`)})
		for _, got := range []struct {
			lines string
			err   error
		}{{forward, forwardErr}, {list, listErr}} {
			if got.err == nil && (tt.want != "" || !strings.HasSuffix(got.lines, ":1 bob\n")) || got.err != nil && (tt.want == "" || !strings.Contains(got.err.Error(), tt.want)) {
				t.Errorf("%s: %q, %v, want %q", tt.way, got.lines, got.err, tt.want)
			}
		}
		res := p.run(p.alias(`"` + home + `/mbox"`))
		if want := tt.want; want == "" || tt.way == "for a group" { // as a mail directory of mode 2775
			wants(t, tt.way, res, "delivered", "2.0.0", "")
		} else {
			wants(t, tt.way, res, "deferred", "4.2.0", want)
		}
	}
	p := newUser(t, nil)
	if _, err := p.lines(local.Listing{Item: p.alias(":include:" + dir + "/twice")}); err == nil || !strings.Contains(err.Error(), "has 2 names") {
		t.Errorf("a list with two names: %v", err)
	}
	write(t, p.path(".forward"), "bob\n")
	must(t, os.Link(p.path(".forward"), p.path("other")))
	if _, err := p.lines(itsForward); err == nil || !strings.Contains(err.Error(), "has 2 names") {
		t.Errorf("a .forward with two names: %v", err)
	}
}

// TestWalkEnds: links are followed 40 times, and a way has an end.
func TestWalkEnds(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "0"), 0o755))
	for n := range 41 {
		must(t, os.Symlink(string(rune('0'+n)), filepath.Join(dir, string(rune('0'+n+1)))))
	}
	for links, want := range map[int]error{40: nil, 41: unix.ELOOP} {
		w, err := disk.WalkTo(filepath.Join(dir, string(rune('0'+links))), nil)
		if !errors.Is(err, want) {
			t.Errorf("%d links: %v, want %v", links, err, want)
		}
		if err == nil {
			must(t, w.Close())
		}
	}
	if _, err := disk.WalkTo(dir+strings.Repeat("/0/..", 250), nil); !errors.Is(err, unix.ELOOP) {
		t.Errorf("500 steps: %v", err)
	}
}

// BenchmarkForward reads a .forward of one line.
func BenchmarkForward(b *testing.B) {
	home := b.TempDir()
	if err := os.WriteFile(home+"/.forward", []byte("bob\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	u := New(Options{Account: account.Account{Name: "alice", UID: os.Getuid(), GID: os.Getgid(), Home: home}, FS: disk.OS()})
	for b.Loop() {
		if lines, err := u.forward(""); len(lines) != 1 || err != nil {
			b.Fatalf("%v, %v", lines, err)
		}
	}
}
