package local

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/disk"
)

// strictDir is a home directory in which no file can have a detail's name.
type strictDir struct {
	disk.Dir
	detail, plain error
}

func (d strictDir) Lstat(name string) (disk.Info, error) {
	if name == forwardFile {
		return disk.Info{}, d.plain
	}
	return disk.Info{}, d.detail
}

// TestImpossibleDetail: a detail that can't be in a file's name has no file of
// its own; anything else that goes wrong is no "no".
func TestImpossibleDetail(t *testing.T) {
	for _, tt := range []struct {
		detail, plain error
		yes, fails    bool
	}{
		{syscall.ENAMETOOLONG, syscall.ENOENT, false, false},
		{syscall.EINVAL, syscall.ENOENT, false, false},
		{syscall.EILSEQ, nil, true, false},
		{syscall.EACCES, syscall.ENOENT, false, true},
		{syscall.ENOENT, syscall.EINVAL, false, true},
		{nil, syscall.ENOENT, true, false},
	} {
		yes, err := forwarded(strictDir{detail: tt.detail, plain: tt.plain}, "x")
		if yes != tt.yes || (err != nil) != tt.fails {
			t.Errorf("%v, %v: %v, %v", tt.detail, tt.plain, yes, err)
		}
	}
}

// TestSearchedHomeA49: a .forward is read, and a file appended to, in a home
// directory that may be searched alone.
func TestSearchedHomeA49(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newPerson(t, nil)
	i := p.forwardText(p.path("mbox"))
	must(t, os.Chmod(p.home, 0o311))
	defer os.Chmod(p.home, 0o700)
	lines, err := p.List(t.Context(), Listing{User: "alice", Item: Item{Source: FromForward, Name: "alice"}})
	if len(lines) != 1 || err != nil {
		t.Errorf("%v, %v, want one line", lines, err)
	}
	for range 2 {
		if res := p.Run(t.Context(), Job{User: "alice", Item: i, Body: strings.NewReader("From a\n\nx\n")}); res.Status != Delivered {
			t.Errorf("%v, %v", res.Status, res.Err)
		}
	}
}

// TestAliasesNotForAll: aliases that the default-user may not read hold up what
// they name, and the reason says what to do.
func TestAliasesNotForAll(t *testing.T) {
	dir, done := asUser(t, func(dir string) {
		write(t, dir+"/aliases", "x: |true\n")
		must(t, os.Chmod(dir+"/aliases", 0o640))
	})
	if done {
		return
	}
	p := newPerson(t, func(o *PersonOptions) { o.Aliases, o.AliasOwner = dir+"/aliases", 0 })
	i := Item{FromAlias, "x", hashOf(t, "|true")}
	res := p.Run(t.Context(), Job{User: "alice", Item: i, Body: strings.NewReader("From a\n\nx\n")})
	_, err := p.List(t.Context(), Listing{User: "alice", Item: i})
	for _, err := range []error{res.Err, err} {
		if err == nil || !strings.Contains(err.Error(), "permission denied: alice has to read it") || !strings.Contains(err.Error(), "default-user") {
			t.Errorf("%v, %v: no word of what to do", res.Status, err)
		}
	}
}
