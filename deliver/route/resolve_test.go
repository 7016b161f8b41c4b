package route

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The order in which a name is looked up (docs/decisions/0009), with details and usermap.
func TestLookupOrder(t *testing.T) {
	r := newSite(t)
	r.o.Delimiter = "+"
	r.users.names = []string{"alice", "bob", "carol", "dave", "root", "bob+own", "user.with.a.long.name.of.more.than.39.octets"}
	r.alias("alice+x: carol\ncarol: dave\nbob: bob\nteam: bob\nuser.with.a.long.name.of.more.than.39: alice\n")
	r.o.Usermap = []string{"~-*:~/.alias", "~-*:carol", "eve*:bob"}
	r.files.personal = map[string]string{"dave-lists": "dave+l, \"|x\"\n", "dave-gone": ""}
	router := New(r.o)
	for _, tt := range []struct{ to, want string }{
		{"alice", "mailbox alice"},
		{"Alice+y", "mailbox alice+y"},
		{"alice+x", "alias alice+x: carol"},
		{"carol+q", "alias carol: dave"},
		{"team+q", "alias team: bob"},
		{"bob+own", "mailbox bob+own"},
		{"bob+other", "alias bob: bob"},
		{"dave-lists", "ask dave for usermap dave-lists"},
		{"Dave-gone", "ask dave for usermap Dave-gone"},
		{"eve1", "usermap eve1: bob"},
		{"zoe-x", "failed 5.1.1"},
		{"root-x", "failed 5.1.1"}, // nobody reads a file as uid 0
		{"user.with.a.long.name.of.more.than.39", "alias user.with.a.long.name.of.more.than.39: alice"}, // B33
		{"user.with.a.long.name.of.more.than.39.octets", "mailbox user.with.a.long.name.of.more.than.39.octets"},
		{"+x", "failed 5.1.1"}, {"+", "failed 5.1.1"},
		{"alice+", "mailbox alice"}, {"team+", "alias team: bob"}, {"alice++", "mailbox alice+"}, // a detail may be empty, or the delimiter
	} {
		s := router.Resolve(t.Context(), &Node{Path: path(t, tt.to)})
		if got := describe(s); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.to, got, tt.want)
		}
		want := !strings.HasPrefix(tt.want, "failed") && tt.to != "Dave-gone"
		if ok, err := router.Exists(t.Context(), path(t, tt.to)); ok != want || err != nil {
			t.Errorf("Exists(%s): %v, %v", tt.to, ok, err)
		}
	}
}

// describe is a step in words.
func describe(s Step) string {
	switch s.Kind {
	case StepExpand:
		var to []string
		for _, line := range s.Targets {
			to = append(to, line.String())
		}
		return fmt.Sprintf("%s %s: %s", s.Via.Source, s.Via.Name, strings.Join(to, ", "))
	case StepRead:
		return fmt.Sprintf("ask %s for %s %s", s.User, s.Via.Source, s.Via.Name)
	case StepMailbox:
		return strings.TrimSuffix("mailbox "+s.Account.Name+"+"+s.Extension, "+")
	case StepRun:
		return "run as " + s.User
	case StepRemote:
		return "remote"
	}
	return "failed " + s.Outcome.Reply.Status
}

// What usermap or a personal alias file may say is later where it can't be
// read, also at RCPT (A36).
func TestA36Usermap(t *testing.T) {
	s := newSite(t)
	s.o.Usermap = []string{"~-*:~/.alias"}
	s.files.personal = map[string]string{"bob-x": "alice\n"}
	s.files.broken = map[string]error{"bob-y": errors.New("/home/bob/.alias: others may write it")}
	router := New(s.o)
	for to, want := range map[string]int{"bob-x": 0, "bob-y": 451, "bob-z": 550, "eve-x": 550} {
		if got, _ := router.Recipient(t.Context(), Question{To: path(t, to), Trusted: false}); got.Code != want {
			t.Errorf("%s: %v, want %d", to, got, want)
		}
	}
	s.users.broken = errors.New("EIO")
	if got, _ := router.Recipient(t.Context(), Question{To: path(t, "bob-x"), Trusted: false}); got.Code != 451 {
		t.Errorf("with a broken passwd: %v, want 451", got)
	}
}
