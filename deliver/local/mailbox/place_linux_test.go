package mailbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
)

// kind is one way to say where mail goes.
type kind struct {
	name    string
	mailbox string // option mailbox
	folder  string
	path    string // of the file or Maildir, below the directory of all
}

var kinds = []kind{
	{"mailbox", "", "", "mail/alice"},
	{"~/file", "~/mbox", "", "home/mbox"},
	{"~/dir/file", "~/mail/in/box", "", "home/mail/in/box"},
	{"Maildir", "~/Maildir/", "", "home/Maildir"},
	{"Maildir below", "~/mail/Maildir/", "", "home/mail/Maildir"},
	{"folder at home", "", "~/mail/spam", "home/mail/spam"},
	{"folder beside", "~/Maildir/", "Junk mail", "mail/alice:Junk mail"},
	{"folder, a Maildir", "", "~/Maildir/.Junk/", "home/Maildir/.Junk"},
}

func (k kind) isMaildir() bool {
	return strings.HasSuffix(k.mailbox+k.folder, "/") && (k.folder == "" || strings.HasSuffix(k.folder, "/"))
}

// content is what the place holds, the files of a Maildir one after the other.
func (k kind) content(r *real) string {
	path := filepath.Join(filepath.Dir(r.mail), k.path)
	if !k.isMaildir() {
		b, _ := os.ReadFile(path)
		return string(b)
	}
	all := ""
	entries, _ := os.ReadDir(filepath.Join(path, "new"))
	for _, e := range entries { // in the order of their names
		b, _ := os.ReadFile(filepath.Join(path, "new", e.Name()))
		all += string(b)
	}
	return all
}

// tree lists all there is, links as such.
func tree(t *testing.T, top string) []string {
	t.Helper()
	var all []string
	check(t, filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
		if err == nil {
			info, ierr := e.Info()
			err = ierr
			all = append(all, fmt.Sprint(strings.TrimPrefix(path, top), " ", info.Mode(), " ", info.Sys().(*syscall.Stat_t).Uid))
		}
		return err
	}))
	return all
}

func (r *real) top() string { return filepath.Dir(r.mail) }

// TestEveryPlace: mail gets where option mailbox and folder say, with the
// user's rights; directories are made on the way (A47).
func TestEveryPlace(t *testing.T) {
	for _, k := range kinds {
		r := newReal(t, k.mailbox)
		for i := range 2 {
			text := fmt.Sprintf("From %d\n\n", i)
			if res := r.letter(text, local.Delivery{Folder: k.folder}); res.String() != "delivered" || res.Err != nil {
				t.Errorf("%s: %v, %v", k.name, res.String(), res.Err)
			} else if k.name == "folder beside" && res.Reply.Text != "delivered to a folder of alice" {
				t.Errorf("%s: %q names no folder of alice's", k.name, res.Reply.Text)
			}
		}
		if got := k.content(r); got != "From 0\n\nFrom 1\n\n" {
			t.Errorf("%s: %q", k.name, got)
		}
		for _, line := range tree(t, r.top()) {
			f := strings.Split(line, " ")
			path, mode, uid := f[0], f[len(f)-2], f[len(f)-1]
			if path == "" || path == "/mail" {
				continue
			}
			want := "-rw-------"
			switch {
			case strings.HasPrefix(mode, "d"):
				want = "drwx------"
			case strings.HasPrefix(path, "/mail/"):
				want = "-rw-rw----"
			}
			if mode != want || uid != fmt.Sprint(r.a.UID) {
				t.Errorf("%s: %s, want %s of %d", k.name, line, want, r.a.UID)
			}
		}
	}
}

// TestMaildirNamesA47: the form that readers know, with the size, and the
// host's name escaped.
func TestMaildirNamesA47(t *testing.T) {
	r := newReal(t, "~/Maildir/")
	for range 3 {
		r.letter("Subject: x\n\n12345\n", local.Delivery{})
	}
	entries, err := os.ReadDir(filepath.Join(r.home, "Maildir/new"))
	check(t, err)
	form := regexp.MustCompile(`^\d+\.M\d{6}P\d+Q\d+R[0-9a-f]{16}\.host\\057a\\072b,S=18$`)
	for _, e := range entries {
		if !form.MatchString(e.Name()) {
			t.Errorf("name %q", e.Name())
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d files, want 3", len(entries))
	}
}

func TestFolderNames(t *testing.T) {
	r := newReal(t, "")
	before := tree(t, r.top())
	bad := []string{
		"~/", "~/../x", "~/a/../../x", "/tmp/x", "a/b", "../x", ".", "..", "~/a//b", "~/./x", "~bob/x",
		"a\nb", "a\x00b", "~/a\x7fb", "x.lock", "~/x.lock", "~/x.lock/y", strings.Repeat("x", 250), "~/" + strings.Repeat("x", 250),
	}
	for _, folder := range append(bad, "~/.bashrc") {
		res := r.letter("From a\n\n", local.Delivery{Folder: folder})
		if res.String() != "deferred" || res.Err == nil || !strings.Contains(res.Err.Error(), "folder") {
			t.Errorf("%q: %v, %v, want deferred", folder, res.String(), res.Err)
		}
	}
	folders = append(folders, bad...)
	defer func() { folders = folders[:len(folders)-len(bad)] }()
	r.with("") // those at home are named by the configuration now
	for _, folder := range bad {
		res := r.letter("From a\n\n", local.Delivery{Folder: folder})
		if res.String() != "deferred" || res.Err == nil || !strings.Contains(res.Err.Error(), "want ~/path") {
			t.Errorf("%q, configured: %v, %v, want deferred", folder, res.String(), res.Err)
		}
	}
	if after := tree(t, r.top()); !slices.Equal(before, after) {
		t.Errorf("something was made: %q", after)
	}
	r.with("lmtp:/run/lmtp")
	if res := r.letter("From a\n\n", local.Delivery{}); res.String() != "deferred" {
		t.Errorf("an LMTP server is no place for files: %v, %v", res.String(), res.Err)
	}
}

// hostilePlaces are things in the way, in a home directory with a file of the
// user's elsewhere that nothing may touch.
var hostilePlaces = []struct {
	name, words string
	mailbox     string
	make        func(t *testing.T, r *real, home, victim string)
}{
	{"link", "symbolic link", "~/x", func(t *testing.T, r *real, home, victim string) { link(t, r, victim, home+"/x") }},
	{"dangling link", "symbolic link", "~/x", func(t *testing.T, r *real, home, victim string) { link(t, r, victim+".new", home+"/x") }},
	{"hard link", "2 links", "~/x", func(t *testing.T, r *real, home, victim string) { check(t, os.Link(victim, home+"/x")) }},
	{"FIFO", "not a regular file", "~/x", func(t *testing.T, r *real, home, _ string) {
		check(t, unix.Mkfifo(home+"/x", 0o666))
		r.own(t, home+"/x")
	}},
	{"directory", "not a regular file", "~/x", func(t *testing.T, r *real, home, _ string) { mkdir(t, r, home+"/x") }},
	{"link to a device", "symbolic link", "~/x", func(t *testing.T, r *real, home, _ string) { link(t, r, "/dev/null", home+"/x") }},
	{"executable", "executable", "~/x", func(t *testing.T, r *real, home, _ string) { file(t, r, home+"/x", 0o700) }},
	{"closed file", "permission denied", "~/x", func(t *testing.T, r *real, home, _ string) { file(t, r, home+"/x", 0o400) }},
	{"link on the way", "is a link", "~/d/x", func(t *testing.T, r *real, home, victim string) { link(t, r, filepath.Dir(victim), home+"/d") }},
	{"file on the way", "is a link or no directory", "~/d/x", func(t *testing.T, r *real, home, _ string) { file(t, r, home+"/d", 0o600) }},
	{"closed home", "permission denied", "~/d/x", func(t *testing.T, r *real, home, _ string) { check(t, os.Chmod(home, 0o500)) }},
	{"no home", "has no home directory", "~/x", func(t *testing.T, r *real, home, _ string) { check(t, os.Remove(home)) }},

	{"Maildir is a link", "is a link", "~/M/", func(t *testing.T, r *real, home, victim string) { link(t, r, filepath.Dir(victim), home+"/M") }},
	{"Maildir is a file", "is a link or no directory", "~/M/", func(t *testing.T, r *real, home, _ string) { file(t, r, home+"/M", 0o600) }},
	{"Maildir is a FIFO", "is a link or no directory", "~/M/", func(t *testing.T, r *real, home, _ string) { check(t, unix.Mkfifo(home+"/M", 0o666)) }},
	{"new is a link", "is a link", "~/M/", func(t *testing.T, r *real, home, victim string) {
		mkdir(t, r, home+"/M")
		link(t, r, filepath.Dir(victim), home+"/M/new")
	}},
	{"tmp is a FIFO", "is a link or no directory", "~/M/", func(t *testing.T, r *real, home, victim string) {
		mkdir(t, r, home+"/M")
		check(t, unix.Mkfifo(home+"/M/tmp", 0o666))
	}},
	{"closed tmp", "permission denied", "~/M/", func(t *testing.T, r *real, home, victim string) {
		mkdir(t, r, home+"/M")
		mkdir(t, r, home+"/M/tmp")
		check(t, os.Chmod(home+"/M/tmp", 0o500))
	}},
	{"closed new", "permission denied", "~/M/", func(t *testing.T, r *real, home, victim string) {
		mkdir(t, r, home+"/M")
		mkdir(t, r, home+"/M/new")
		check(t, os.Chmod(home+"/M/new", 0o500))
	}},
	{"home closed to a Maildir", "permission denied", "~/M/", func(t *testing.T, r *real, home, _ string) { check(t, os.Chmod(home, 0o500)) }},
	{"no home for the Maildir", "has no home directory", "~/M/", func(t *testing.T, r *real, home, _ string) { check(t, os.Remove(home)) }},

	{"mail directory closed", "permission denied", "", func(t *testing.T, r *real, _, _ string) { check(t, os.Chmod(r.mail, 0o555)) }},
	{"mail directory missing", "mail directory", "", func(t *testing.T, r *real, _, _ string) { check(t, os.Remove(r.mail)) }},
}

// TestHostilePlacesA44A47: what is no file or directory of the user's is not
// touched; the message is deferred with the reason.
func TestHostilePlacesA44A47(t *testing.T) {
	const secret = "secret\n"
	for _, tt := range hostilePlaces {
		r := newReal(t, tt.mailbox)
		victims := filepath.Join(r.top(), "victims")
		victim := filepath.Join(victims, "victim")
		mkdir(t, r, victims)
		check(t, os.WriteFile(victim, []byte(secret), 0o600))
		r.own(t, victim)
		tt.make(t, r, r.home, victim)
		if res := r.letter("From a\n\n", local.Delivery{}); res.String() != "deferred" || !strings.Contains(fmt.Sprint(res.Err), tt.words) {
			t.Errorf("%s: %v, %v, want it deferred with %q", tt.name, res.String(), res.Err, tt.words)
		}
		got, err := os.ReadFile(victim)
		if files, _ := os.ReadDir(victims); string(got) != secret || err != nil || len(files) != 1 {
			t.Errorf("%s: the victim was changed: %q, %v, %v", tt.name, got, err, files)
		}
		for _, path := range tree(t, r.top()) {
			if strings.Contains(path, ".lock") || strings.Contains(path, "/M/tmp/") {
				t.Errorf("%s: left behind: %s", tt.name, path)
			}
		}
	}
}

func link(t *testing.T, r *real, to, path string) {
	t.Helper()
	check(t, os.Symlink(to, path))
	r.own(t, path)
}

func mkdir(t *testing.T, r *real, path string) {
	t.Helper()
	check(t, os.Mkdir(path, 0o700))
	r.own(t, path)
}

func file(t *testing.T, r *real, path string, mode os.FileMode) {
	t.Helper()
	check(t, os.WriteFile(path, nil, 0o600), os.Chmod(path, mode))
	r.own(t, path)
}

// TestForeignPlacesA44: files and directories of somebody else's are left
// alone, those of root's directories excepted. Needs two users.
func TestForeignPlacesA44(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("run by a user, there is nobody else")
		return
	}
	for _, tt := range []struct{ mailbox, make, foreign string }{
		{"~/x", "x", "x"}, {"~/closed", "closed", "closed"}, {"~/d/x", "d/", "d"}, {"~/d/e/x", "d/e/", "d/e"},
		{"~/M/", "M/", "M"}, {"~/M/", "M/tmp/", "M/tmp"}, {"~/M/", "M/new/", "M/new"}, {"~/M/", "M/cur/", "M/cur"},
	} {
		r := newReal(t, tt.mailbox)
		path := r.home
		for elem := range strings.SplitSeq(strings.TrimSuffix(tt.make, "/"), "/") {
			if path = filepath.Join(path, elem); path == filepath.Join(r.home, tt.make) && !strings.HasSuffix(tt.make, "/") {
				mode := os.FileMode(0o666)
				if tt.make == "closed" {
					mode = 0o600
				}
				file(t, r, path, mode)
			} else {
				mkdir(t, r, path)
				check(t, os.Chmod(path, 0o777))
			}
		}
		check(t, os.Chown(filepath.Join(r.home, tt.foreign), realUID+1, -1))
		res := r.letter("From a\n\n", local.Delivery{})
		if res.String() != "deferred" || !strings.Contains(fmt.Sprint(res.Err), fmt.Sprint("belongs to uid ", realUID+1)) {
			t.Errorf("%s with a foreign %s: %v, %v", tt.mailbox, tt.foreign, res.String(), res.Err)
		}
	}
}

// TestFileLimitA45: RLIMIT_FSIZE is a full disk, for all kinds.
func TestFileLimitA45(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	for _, k := range kinds {
		r := newReal(t, k.mailbox)
		r.letter("From 0\n\n", local.Delivery{Folder: k.folder})
		var old unix.Rlimit
		check(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old), unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100_000, Max: old.Max}))
		res := r.letter("From 1\n\n"+strings.Repeat("x", 200_000), local.Delivery{Folder: k.folder})
		check(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
		if res.String() != "deferred" || res.Reply.Status != "4.2.2" || !errors.Is(res.Err, syscall.EFBIG) {
			t.Errorf("%s: %v, %v, %v", k.name, res.String(), res.Reply, res.Err)
		}
		r.letter("From 2\n\n", local.Delivery{Folder: k.folder})
		if got := k.content(r); got != "From 0\n\nFrom 2\n\n" {
			t.Errorf("%s: %.200q", k.name, got)
		}
		for _, path := range tree(t, r.top()) {
			if strings.Contains(path, "/tmp/") {
				t.Errorf("%s: left behind: %s", k.name, path)
			}
		}
	}
}

// TestLockedForEverA46: a mailbox that somebody never gives up defers.
func TestLockedForEverA46(t *testing.T) {
	for _, k := range kinds {
		if k.isMaildir() { // has no locks
			continue
		}
		r := newReal(t, k.mailbox)
		r.letter("From 0\n\n", local.Delivery{Folder: k.folder})
		path := filepath.Join(r.top(), k.path)
		file(t, r, path+".lock", 0o600)
		res := r.letter("From 1\n\n", local.Delivery{Folder: k.folder})
		if res.String() != "deferred" || !strings.Contains(fmt.Sprint(res.Err), "locked") {
			t.Errorf("%s: %v, %v", k.name, res.String(), res.Err)
		}
		check(t, os.Remove(path+".lock"))
		if res := r.letter("From 2\n\n", local.Delivery{Folder: k.folder}); res.String() != "delivered" || k.content(r) != "From 0\n\nFrom 2\n\n" {
			t.Errorf("%s: unlocked: %v, %v, %q", k.name, res.String(), res.Err, k.content(r))
		}
	}
}
