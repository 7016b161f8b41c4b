package vhost

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/vhost/index"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// owners are accounts: ours is "owner", and "other" is somebody else's.
type owners struct{}

func (owners) Lookup(_ context.Context, name string) (account.Account, error) {
	switch name {
	case "owner":
		return account.Account{Name: name, UID: os.Getuid()}, nil
	case "other":
		return account.Account{Name: name, UID: os.Getuid() + 4711}, nil
	}
	return account.Account{}, account.ErrNoUser
}

// newDir has a domains.cf, and v.example with a passwd file.
func newDir(t testing.TB, domains, passwd string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, DomainsFile), []byte(domains), 0o644), os.Mkdir(filepath.Join(dir, "v.example"), 0o755))
	write(t, dir, PasswdFile, passwd)
	return dir
}

// write puts a file of v.example in the place of what is there.
func write(t testing.TB, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, "v.example", name)
	must(t, os.WriteFile(name+".new", []byte(text), 0o600), os.Rename(name+".new", name))
}

// TestDomainsB76: a line that begins with "#" is no domain; a broken one is told of,
// costs its own domain alone, and means later, not "no".
func TestDomainsB76(t *testing.T) {
	dir := newDir(t, strings.Join([]string{
		"# comment",                   // 1
		"#owner:commented.example:1:", // 2
		"  # owner:indented.example:1:",
		"owner:One.Example:1:the first", // 4
		"owner:two.example:1",
		"owner:off.example:0:",
		"owner:no.example:yes:",
		"owner:short.example", // 8
		":nobodys.example:1:",
		"owner:../etc:1:",
		"owner:one.example:0:", // 11
		" owner : m\u00fcller.example : 12 : a:b:c ",
		"owner:dot.example.:1:",
		"",
		"no colon",              // 15
		"owner:[192.0.2.1]:1:x", // 16
		"owner:localhost:1:",    // 17
	}, "\r\n"), "")
	d := OpenDomains(dir)
	for name, want := range map[string]string{
		"commented.example": "no", "indented.example": "no", "#owner": "no",
		"one.example": "yes 4", "two.example": "yes 5", "off.example": "no",
		"no.example": "later", "short.example": "later", "nobodys.example": "later",
		"xn--mller-kva.example": "yes 12", "dot.example": "yes 13", "[192.0.2.1]": "no", "localhost": "no", "etc": "no", "": "no",
	} {
		found, ok, err := d.Find(name)
		got := "no"
		if err != nil {
			got = "later"
		} else if ok {
			got = fmt.Sprint("yes ", found.Line)
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, want)
		}
	}
	problem := fmt.Sprint(d.Problem())
	for _, line := range []int{7, 8, 9, 10, 11, 15, 16, 17} {
		if !strings.Contains(problem, fmt.Sprintf("%s:%d: ", d.Path(), line)) {
			t.Errorf("line %d is not told of:\n%s", line, problem)
		}
	}
	if n := strings.Count(problem, "\n") + 1; n != 8 {
		t.Errorf("%d lines are told of, want 8:\n%s", n, problem)
	}
}

// TestDomainsChange: the list is read again when it has changed; without one there
// are no domains, and one that can't be read makes all of them unknown.
func TestDomainsChange(t *testing.T) {
	dir := newDir(t, "owner:one.example:1:\n", "")
	d := OpenDomains(dir)
	for i, tt := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "true <nil>"},
		{func() error { return os.WriteFile(d.Path(), []byte("#wner:one.example:1:\n"), 0o644) }, "false <nil>"},
		{func() error { return os.WriteFile(d.Path(), []byte("owner:one.example:2:\n"), 0o644) }, "true <nil>"},
		{func() error { return os.Remove(d.Path()) }, "false <nil>"},
		{func() error { return os.Mkdir(d.Path(), 0o755) }, "false later"},
		{func() error { return os.Remove(d.Path()) }, "false <nil>"},
	} {
		must(t, tt.do())
		_, ok, err := d.Find("one.example")
		if got := fmt.Sprint(ok, " ", err); got != tt.want && !(err != nil && tt.want == "false later") {
			t.Errorf("step %d: %s, want %s", i, got, tt.want)
		}
	}
}

// FuzzDomains: whatever stands in the list, each domain of it is one element of a
// path and in the form in which domains are compared, and a line that is told of
// doesn't cost those after it.
func FuzzDomains(f *testing.F) {
	f.Add("owner:one.example:1:comment")
	f.Add("#a:b:1\n:::\n\x00:\xff.example:9999999999999999999999:")
	f.Fuzz(func(t *testing.T, text string) {
		list := parseDomains([]byte(text + "\nowner:last.example:1:"))
		if _, ok := list.byName["last.example"]; !ok {
			t.Errorf("%q: the last line is lost", text)
		}
		for name, d := range list.byName {
			if key, err := Key(name); err != nil || key != name || d.Name != name || filepath.Base(name) != name {
				t.Errorf("%q: domain %q, key %q, %v", text, name, key, err)
			}
		}
	})
}

const passwdText = "# users\n" +
	"bob:$2y$10$abc\n" +
	"Carol:{ARGON2ID}$argon2id$v=19:::::: scram=SHA-256,4096,c2FsdA==,c3RvcmVk,c2VydmVy\n" +
	"CAROL:second\n" +
	"\n" +
	"nocolon\n" +
	"bad name:x\n" +
	"dave:x:1:1::/home:/bin/sh:extra\r\n"

// TestUsers: a user is found without regard to case, the first of equal ones counts, a
// comment is nobody, and a broken line makes its own name unknown, or all that are not
// found where it names nobody.
func TestUsers(t *testing.T) {
	dir := newDir(t, "owner:v.example:1:\n", passwdText)
	s := New(dir, owners{})
	for name, want := range map[string]string{
		"bob": "bob", "BOB": "bob", "carol": "Carol", "dave": "dave", "nocolon": "later: line 6: no colon",
		"eve": "later: line 7: name \"bad name\"", "# users": "none", "": "none", "../bob": "none", "bob:": "none",
		strings.Repeat("x", 245): "none",
	} {
		box, err := s.User(t.Context(), "v.example", name)
		got := box.Name
		if errors.Is(err, ErrNoUser) {
			got = "none"
		} else if err != nil {
			got = "later: " + err.Error()
		}
		if want, later := strings.CutPrefix(want, "later: "); later && (!strings.HasPrefix(got, "later: virtual domain v.example: ") || !strings.Contains(got, want)) || !later && got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	write(t, dir, PasswdFile, strings.Replace(passwdText, "bad name", "eve", 1))
	if box, err := s.User(t.Context(), "v.example", "eve"); box.Name != "eve" || err != nil {
		t.Errorf("after it was mended: %v, %v", box, err)
	}
	if _, err := s.User(t.Context(), "v.example", "frank"); !errors.Is(err, ErrNoUser) {
		t.Errorf("frank: %v, want that there is no such user", err)
	}
}

// TestMark: a byte order mark at the start of either file is no part of its first line, nor
// does who changes the file leave it there.
func TestMark(t *testing.T) {
	dir := newDir(t, "\ufeffowner:v.example:1:\nowner:w.example:1:\n", "\ufeffbob:x\ndave:x\n")
	s, domains := New(dir, owners{}), OpenDomains(dir)
	if _, ok, err := domains.Find("v.example"); !ok || err != nil || domains.Problem() != nil {
		t.Errorf("the first domain: %v, %v, %v", ok, err, domains.Problem())
	}
	if box, err := s.User(t.Context(), "v.example", "bob"); box.Name != "bob" || err != nil {
		t.Errorf("the first user: %v, %v", box, err)
	}
	if _, err := s.User(t.Context(), "v.example", "nobody"); !errors.Is(err, ErrNoUser) {
		t.Errorf("nobody: %v", err)
	}
	passwd := filepath.Join(dir, "v.example", PasswdFile)
	f, err := os.Open(passwd)
	must(t, err)
	defer f.Close()
	if n, err := withoutVerifier(f); n != 2 || err != nil {
		t.Errorf("%d users without a verifier, %v, want 2", n, err)
	}
	must(t, SetPassword(passwd, "bob", Secret{Hash: "y"}), SetActive(filepath.Join(dir, DomainsFile), "v.example", false))
	for name, want := range map[string]string{passwd: "bob:y\ndave:x\n", filepath.Join(dir, DomainsFile): "owner:v.example:0:\nowner:w.example:1:\n"} {
		if text, err := os.ReadFile(name); string(text) != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
}

// TestFaults: what is wrong with a domain's files is later, with words that name the
// fault, and never "no such user".
func TestFaults(t *testing.T) {
	const good = "bob:x\n"
	in := func(dir, name string) string { return filepath.Join(dir, "v.example", name) }
	for _, tt := range []struct {
		name    string
		domains string
		do      func(dir string) error
		want    string
	}{
		{"no directory", "", func(dir string) error { return os.RemoveAll(in(dir, "")) }, "postoffice vdomain add"},
		{"no passwd", "", func(dir string) error { return os.Remove(in(dir, PasswdFile)) }, "passwd: no such file"},
		{"another's directory", "other:v.example:1:\n", func(dir string) error {
			if os.Getuid() != 0 {
				return nil // it is ours already
			}
			return os.Chown(in(dir, ""), 4712, 0)
		}, "want other"},
		{"no such owner", "ghost:v.example:1:\n", func(string) error { return nil }, `owner "ghost"`},
		{"others may write there", "", func(dir string) error { return os.Chmod(in(dir, ""), 0o777) }, "chmod go-w it"},
		{"others may write the list above", "", func(dir string) error { return os.Chmod(dir, 0o777) }, "chmod go-w it"},
		{"others may write the file", "", func(dir string) error { return os.Chmod(in(dir, PasswdFile), 0o666) }, "chmod go-w it"},
		{"a link", "", func(dir string) error {
			return errors.Join(os.Rename(in(dir, PasswdFile), in(dir, "x")), os.Symlink("x", in(dir, PasswdFile)))
		}, "symbolic link"},
		{"a second name", "", func(dir string) error { return os.Link(in(dir, PasswdFile), in(dir, "x")) }, "2 names"},
		{"a directory in its place", "", func(dir string) error {
			return errors.Join(os.Remove(in(dir, PasswdFile)), os.Mkdir(in(dir, PasswdFile), 0o755))
		}, "no regular file"},
		{"cut", "", func(dir string) error { return os.Truncate(in(dir, PasswdFile), int64(len(good)-1)) }, "no end"},
		{"cut to nothing", "", func(dir string) error { return os.Truncate(in(dir, PasswdFile), 0) }, "it is empty"},
		{"not in the list", "\n", func(string) error { return nil }, "no such active domain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			domains := tt.domains
			if domains == "" {
				domains = "owner:v.example:1:\n"
			}
			dir := newDir(t, domains, good)
			s := New(dir, owners{})
			must(t, tt.do(dir))
			if _, err := s.User(t.Context(), "v.example", "nobody"); err == nil || errors.Is(err, ErrNoUser) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestAliases: aliases are read as the system's are, with a database or without, and
// a name that isn't there is a definite answer only where all lines can be read.
func TestAliases(t *testing.T) {
	dir := newDir(t, "owner:v.example:1:\n", "bob:x\n")
	s := New(dir, owners{})
	look := func(name string) string {
		a, err := s.Alias(t.Context(), "v.example", name)
		if errors.Is(err, ErrNoAlias) {
			return "none"
		}
		if err != nil {
			return "later"
		}
		return fmt.Sprintf("%d %s", a.Line, a.Value)
	}
	for _, tt := range []struct{ text, name, want string }{
		{"", "info", "none"},
		{"info: bob, Jim@other.example\n*: *@backup.example\n", "INFO", "1 bob, Jim@other.example"},
		{"info: bob\n*: *@backup.example\n", "*", "2 *@backup.example"},
		{"info: bob\n: nothing\n", "sales", "later"},
		{"info: bob\nsales: \"unended\n", "sales", "later"},
		{"info: bob\nsales: \"unended\n", "info", "1 bob"},
	} {
		if tt.text != "" {
			write(t, dir, AliasesFile, tt.text)
		}
		if got := look(tt.name); got != tt.want {
			t.Errorf("%q, %s: %q, want %q", tt.text, tt.name, got, tt.want)
		}
	}
	must(t, os.Chmod(filepath.Join(dir, "v.example", AliasesFile), 0o666))
	if got := look("info"); got != "later" {
		t.Errorf("a file that anybody may write: %q, want later", got)
	}
	write(t, dir, AliasesFile, "# "+strings.Repeat("x", maxAliasesText)+"\ninfo: bob\n")
	if _, err := s.Alias(t.Context(), "v.example", "info"); err == nil || !strings.Contains(err.Error(), "run newaliases v.example") {
		t.Errorf("a long file: %v, want what to do", err)
	}
}

// TestBusyDomain: while the passwd file of one domain is read, and large ones wait for their
// turn, others are answered; who asks before a reading begins shares it, and who asks
// later has another, as long as the file is too young to tell a change.
func TestBusyDomain(t *testing.T) {
	dir := newDir(t, "owner:v.example:1:\nowner:w.example:1:\n", "bob:x\n")
	must(t, os.Mkdir(filepath.Join(dir, "w.example"), 0o755), os.WriteFile(filepath.Join(dir, "w.example", PasswdFile), []byte("bob:x\n"), 0o600))
	s := New(dir, owners{})
	p := s.place("v.example")
	p.turn <- struct{}{}
	for range maxLarge {
		s.large <- struct{}{}
	}
	_, err := s.User(t.Context(), "w.example", "bob")
	must(t, err)

	name := filepath.Join(dir, "v.example", PasswdFile)
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	now := time.Now()
	must(t, os.Chtimes(name, now, now))
	fi, err := f.Stat()
	must(t, err)
	_, first := p.join(disk.InfoOf(fi))
	_, second := p.join(disk.InfoOf(fi))
	s.read(p, first, f, disk.InfoOf(fi))
	_, third := p.join(disk.InfoOf(fi))
	if first != second || first == third || !first.over || first.index == nil || first.err != nil {
		t.Errorf("%+v %+v %+v: want the first two alike and done, and another", first, second, third)
	}
	<-p.turn
	_, err = s.User(t.Context(), "v.example", "bob")
	must(t, err)
}

// TestParts: a file is read in parts as it is in one.
func TestParts(t *testing.T) {
	var text strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&text, "%s%d:%s\n", []string{"user", "User", "#", "us er", "z.", ""}[i%6], i, strings.Repeat("x", i%300))
	}
	r := strings.NewReader(text.String())
	key := randomKey()
	all := func(n int) (at []byte, broken []string) {
		lines, users, parts := 0, 0, cut(r, r.Size(), n)
		for _, p := range parts {
			p.read(r, key)
			if p.stopped != nil {
				t.Fatal(p.stopped.behind(lines))
			}
			if p.broken != nil {
				broken = append(broken, p.broken.behind(lines).Error())
			}
			lines, users = lines+p.lines, users+len(p.at)
		}
		if len(parts) != n || lines != 9000 {
			t.Fatalf("%d parts, want %d, with %d lines", len(parts), n, lines)
		}
		return merge(parts, users), broken
	}
	want, broken := all(1)
	sorted := slices.IsSortedFunc(slices.Collect(slices.Chunk(want, 8)), func(a, b []byte) int {
		return cmp.Compare(binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b))
	})
	if len(want) != 8*6000 || !sorted || !strings.HasPrefix(broken[0], "line 4: ") {
		t.Fatalf("%d users, %q", len(want), broken)
	}
	for n := 2; n <= maxParts; n++ {
		if got, words := all(n); !slices.Equal(got, want) || words[0] != broken[0] {
			t.Errorf("%d parts: %d users, %q", n, len(got), words)
		}
	}
	long := strings.NewReader("a:b\n" + strings.Repeat("x", 3*readSize))
	if parts := cut(long, long.Size(), 3); len(parts) != 1 {
		t.Errorf("a long line is cut into %d", len(parts))
	}
	for _, end := range []string{"", "\n", "\nb:c\n", "\n" + strings.Repeat("y", 2*readSize) + "\nb:c\n"} {
		long := strings.NewReader("a:b\n" + strings.Repeat("x", 3*readSize) + end)
		x, err := newIndex(long, noVersion, long.Size(), key)
		if err != nil || x.broken == nil || !strings.HasPrefix(x.broken.Error(), "line 2: it is too long") {
			t.Fatalf("a long line: %+v, %v", x, err)
		}
		for name, want := range map[string]bool{"a": true, "b": strings.Contains(end, "b:c"), "x": false} {
			if u, ok, err := x.find(long, name); ok != want || err != nil || ok && u.Name != name {
				t.Errorf("%s beside a long line: %+v, %v, %v, want %v", name, u, ok, err, want)
			}
		}
	}
}

// TestManyDomains: however many domains are asked for, what is kept of them is bounded.
func TestManyDomains(t *testing.T) {
	var domains strings.Builder
	dir := newDir(t, "", "bob:x\n")
	const n = 200
	for i := range n {
		name := fmt.Sprintf("d%d.example", i)
		fmt.Fprintf(&domains, "owner:%s:1:\n", name)
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755), os.WriteFile(filepath.Join(dir, name, PasswdFile), []byte("bob:x\n"), 0o600),
			os.WriteFile(filepath.Join(dir, name, AliasesFile), []byte("info: bob\n"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, DomainsFile), []byte(domains.String()), 0o644))
	s := New(dir, owners{})
	for range 2 {
		for i := range n {
			name := fmt.Sprintf("d%d.example", i)
			_, userErr := s.User(t.Context(), name, "bob")
			_, aliasErr := s.Alias(t.Context(), name, "info")
			must(t, userErr, aliasErr)
			s.count(s.place(name), index.New(make([]byte, 8*maxIndexed/100))) // as if it had many users
			if s.indexed > maxIndexed || len(s.places) != s.recent.Len() || len(s.aliases) > maxAliases {
				t.Fatalf("%d users of %d domains, aliases of %d", s.indexed, len(s.places), len(s.aliases))
			}
		}
	}
	if len(s.places) > 100 {
		t.Errorf("%d indexes are kept", len(s.places))
	}
}

// FuzzPasswd: who is found is the first good line of that name, and every good line's
// name is found, wherever lines that can't be understood stand between.
func FuzzPasswd(f *testing.F) {
	f.Add(passwdText, "carol")
	f.Add("a:\na:b\n#a:\n:\n\x00:\n", "A")
	f.Fuzz(func(t *testing.T, text, name string) {
		r := strings.NewReader(text)
		x, err := newIndex(r, noVersion, int64(len(text)), randomKey())
		if err != nil {
			return // all of it is unknown then
		}
		for _, ask := range append(strings.Split(text, "\n"), name) {
			ask, _, _ = strings.Cut(ask, ":")
			u, ok, err := x.find(r, ask)
			want, there := firstLine(text, ask)
			if CheckName(ask) == nil && (ok != there || ok && err == nil && u.Name != want) {
				t.Errorf("%q, %q: found %q %v %v, want %q %v", text, ask, u.Name, ok, err, want, there)
			}
		}
	})
}
