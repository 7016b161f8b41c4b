package deliver

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"postoffice/spool"
)

// The order of original.md section 5.2, with details and usermap.
func TestLookupOrder(t *testing.T) {
	r := newRig(t)
	r.o.Delimiter = "+"
	r.users.names = []string{"alice", "bob", "carol", "dave", "root", "bob+own", "user.with.a.long.name.of.more.than.39.octets"}
	r.alias("alice+x: carol\ncarol: dave\nbob: bob\nteam: bob\nuser.with.a.long.name.of.more.than.39: alice\n")
	r.o.Usermap = []string{"~-*:~/.alias", "~-*:carol", "eve*:bob"}
	r.mailer.personal = map[string]string{"dave-lists": "dave+l, \"|x\"\n", "dave-gone": ""}
	router := NewRouter(r.o)
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
		{"+x", "failed 5.1.1"}, {"alice+", "failed 5.1.1"},
	} {
		s := router.Resolve(t.Context(), &Lead{Path: path(t, tt.to)})
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
	case StepAsk:
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

// A personal alias file's programs run as its user, those of usermap's own
// text as the default user; a name that no file lists is not there (A60).
func TestUsermapDelivery(t *testing.T) {
	r := newRig(t)
	r.o.Usermap = []string{"~-*:~/.alias", "log*:\"|/bin/log\""}
	r.mailer.personal = map[string]string{"bob-lists": "alice, \"|mine\"\n"}
	r.mail("carol@us.example", "bob-lists", "log-x", "bob-other", "log")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantJobs(itemName(t, "bob", "usermap", "bob-lists", "|mine"), itemName(t, "nobody", "usermap", "log-x", "|/bin/log"))
	text := r.wantBox("carol", 1)[0]
	if !strings.Contains(text, "<bob-other@us.example>") || !strings.Contains(text, "<log@us.example>") {
		t.Errorf("the bounce must name bob-other and log:\n%s", text)
	}
	r.o.Usermap = []string{"~-*:~", `bad*:"x`}
	r.mail("carol@us.example", "badly", "bob-q")
	r.pass()
	r.wantBox("bob", 1)
	r.want("active: carol@us.example -> badly pending", "active: carol@us.example -> bob-q expanded", "active: carol@us.example -> bob delivered")
}

// What usermap or a personal alias file may say is later where it can't be
// read, also at RCPT (A36).
func TestA36Usermap(t *testing.T) {
	r := newRig(t)
	r.o.Usermap = []string{"~-*:~/.alias"}
	r.mailer.personal = map[string]string{"bob-x": "alice\n"}
	r.mailer.broken = map[string]error{"bob-y": errors.New("/home/bob/.alias: others may write it")}
	router := NewRouter(r.o)
	for to, want := range map[string]int{"bob-x": 0, "bob-y": 451, "bob-z": 550, "eve-x": 550} {
		if got := router.Recipient(t.Context(), path(t, to), false); got.Code != want {
			t.Errorf("%s: %v, want %d", to, got, want)
		}
	}
	id := r.mail("s@x.example", "bob-y")
	r.pass()
	if s := r.snapshot(id); s.Recipients[0].State != spool.Pending || !strings.Contains(s.Notes[0].Err, "others may write it") {
		t.Errorf("%v, notes %v", s.Recipients[0].State, s.Notes)
	}
	r.users.breakWith(errors.New("EIO"))
	if got := router.Recipient(t.Context(), path(t, "bob-x"), false); got.Code != 451 {
		t.Errorf("with a broken passwd: %v, want 451", got)
	}
}
