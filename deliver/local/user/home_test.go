package user

import (
	"os"
	"strings"
	"testing"

	"postoffice/deliver/local"
)

// TestSearchedHomeA49: a .forward is read, and a file appended to, in a home
// directory that may be searched alone.
func TestSearchedHomeA49(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	i := p.forwardText(p.path("mbox"))
	must(t, os.Chmod(p.home, 0o311))
	defer os.Chmod(p.home, 0o700)
	lines, err := p.List(t.Context(), local.Listing{User: "alice", Item: local.Item{Source: local.FromForward, Name: "alice"}})
	if len(lines) != 1 || err != nil {
		t.Errorf("%v, %v, want one line", lines, err)
	}
	for range 2 {
		if res := p.Run(t.Context(), local.Job{User: "alice", Item: i, Body: strings.NewReader("From a\n\nx\n")}); res.String() != "delivered" {
			t.Errorf("%v, %v", res.String(), res.Err)
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
	p := newUser(t, func(o *Options) { o.Aliases, o.AliasOwner = dir+"/aliases", 0 })
	i := local.Item{Source: local.FromAlias, Name: "x", Hash: hashOf(t, "|true")}
	res := p.Run(t.Context(), local.Job{User: "alice", Item: i, Body: strings.NewReader("From a\n\nx\n")})
	_, err := p.List(t.Context(), local.Listing{User: "alice", Item: i})
	for _, err := range []error{res.Err, err} {
		if err == nil || !strings.Contains(err.Error(), "permission denied: alice has to read it") || !strings.Contains(err.Error(), "default-user") {
			t.Errorf("%v, %v: no word of what to do", res.String(), err)
		}
	}
}
