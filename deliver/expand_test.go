package deliver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postoffice/deliver/local"
	"postoffice/internal/testenv"
	"postoffice/spool"
)

// wantJobs says what has been run, in any order.
func (r *rig) wantJobs(want ...string) {
	r.t.Helper()
	slices.Sort(want)
	if got := r.mailer.jobs(); !slices.Equal(got, want) {
		r.t.Errorf("run:\n%s\nwant:\n%s\nlog:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), r.log)
	}
}

// R17, A18: programs and files of aliases run as the default user, those of a
// .forward as its user; the spool has neither command nor path.
func TestR17Items(t *testing.T) {
	r := newRig(t)
	r.o.Delimiter = "+"
	r.alias("team: \"|/bin/secret-command x\", /var/secret-file, alice\nsame: team\n")
	r.mailer.forwards = map[string]string{"bob": "\"|/bin/secret-filter\", \\bob\n"}
	r.mailer.running = func(local.Job) local.Result { return later("busy") }
	id := r.mail("s@x.example", "team+tag@us.example", "same", "bob+spam@us.example")
	r.pass()
	alias1 := itemName(t, "nobody", "alias", "team", `"|/bin/secret-command x"`)
	alias2 := itemName(t, "nobody", "alias", "team", "/var/secret-file")
	fwd := itemName(t, "bob", "forward", "bob", `"|/bin/secret-filter"`)
	r.wantJobs(alias1, alias2, fwd)
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
	if text := string(r.file(id)); strings.Contains(text, "secret") {
		t.Errorf("the spool has a command or a path:\n%s", text)
	}
	for _, j := range r.mailer.ran {
		e := j.Envelope
		wantTo, wantExt := "team+tag@us.example", "tag"
		if j.User == "bob" {
			wantTo, wantExt = "bob+spam@us.example", "spam"
		}
		if e.QueueID != string(id) || e.Sender.String() != "s@x.example" || e.Recipient.String() != wantTo || e.Extension != wantExt {
			t.Errorf("job of %s: envelope %+v", j.User, e)
		}
	}
	for i, body := range r.mailer.bodies {
		want := "Delivered-To: team+tag@us.example\n"
		if r.mailer.ran[i].User == "bob" {
			want = "Delivered-To: bob@us.example\n"
		}
		if !strings.Contains(body, want) || strings.HasSuffix(body, "\n\n") {
			t.Errorf("want %q and no empty line at the end of:\n%s", want, body)
		}
	}
	r.mailer.running = nil
	r.pass()
	r.want()
	r.wantJobs(alias1, alias1, alias2, alias2, fwd, fwd)
	r.wantBox("bob", 1)
	r.wantLog("message delivered", "to=<team>", "orig_to=<team+tag@us.example>")
}

// file is the text of a message's file.
func (r *rig) file(id spool.ID) []byte {
	r.t.Helper()
	return readFile(r.t, r.dir+"/queue/"+string(id))
}

// Each program once, however many aliases lead to it, and not again when it has
// the message.
func TestB52ItemOnce(t *testing.T) {
	r := newRig(t)
	r.alias("p: \"|x\"\na: p, P, bob\nb: p\nlist: :include:/l\n")
	r.mailer.members = map[string]string{"list": "carol\nfar@[192.0.2.1]\n"}
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "bob" }
	r.mail("s@x.example", "a", "b", "p", "list", "list@also.example")
	r.pass()
	r.wantJobs(itemName(t, "nobody", "alias", "p", "|x"))
	r.wantBox("carol", 1)
	if n := len(r.mailer.listed); n != 1 {
		t.Errorf("the list was read %d times", n)
	}
	r.mailer.answer = nil
	r.pass()
	r.want()
	r.wantJobs(itemName(t, "nobody", "alias", "p", "|x"))
	r.wantBox("bob", 1)
	r.wantBox("carol", 1)
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("%d messages at the peer, want 1", n)
	}
}

// owner-NAME gets what fails below NAME; a null reverse-path stays null.
func TestOwner(t *testing.T) {
	r := newRig(t)
	r.alias(`list: gone-list, alice, sub
sub: gone-sub
owner-list: carol, gone-owner
owner-owner: bob
list-request: gone-request
news: :include:/x
owner-news: bob
plain: gone-plain
`)
	r.mailer.members = map[string]string{"news": "gone-news\n"}
	r.mail("s@[192.0.2.1]", "List", "plain", "news")
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.pass()
	r.want()
	if box := r.wantBox("alice", 1)[0]; !strings.Contains(box, "Return-Path: <owner-list@us.example>\n") {
		t.Errorf("alice's copy has another Return-Path:\n%s", box)
	}
	if box := r.wantBox("carol", 1)[0]; !strings.Contains(box, "gone-list") || !strings.Contains(box, "gone-sub") || strings.Contains(box, "gone-plain") {
		t.Errorf("the owner's report:\n%s", box)
	}
	if got := sink.Messages(); len(got) != 1 || !strings.Contains(got[0].Text(), "gone-plain") || strings.Contains(got[0].Text(), "gone-list") {
		t.Errorf("the sender's report: %v", got)
	}
	// The report to the owner is a null reverse-path's: what fails of it tells the postmaster.
	if box := r.wantBox("root", 1)[0]; !strings.Contains(box, "gone-owner") {
		t.Errorf("the postmaster's report:\n%s", box)
	}
	r.wantBox("bob", 1) // news

	r.mail("carol@us.example", "list-request", "owner-list")
	r.pass()
	r.want()
	if box := r.wantBox("bob", 2)[1]; !strings.Contains(box, "gone-request") || !strings.Contains(box, "gone-owner") {
		t.Errorf("owner-owner's report:\n%s", box)
	}
	r.mail("", "list")
	r.pass()
	r.want()
	if box := r.wantBox("alice", 2)[1]; !strings.Contains(box, "Return-Path: <>\n") {
		t.Errorf("a null reverse-path became another:\n%s", box)
	}
}

// The forms that a .forward takes, and where mail ends that comes back (B53).
func TestB53Forward(t *testing.T) {
	for _, tt := range []struct {
		name     string
		forwards map[string]string
		aliases  string
		to       []string
		want     map[string]int
		peer     int
	}{
		{name: "elsewhere", forwards: map[string]string{"alice": "a@[192.0.2.1]"}, want: map[string]int{}, peer: 1},
		{name: "a copy kept by a backslash", forwards: map[string]string{"alice": "\\alice, bob"}, want: map[string]int{"alice": 1, "bob": 1}},
		{name: "a copy kept by name", forwards: map[string]string{"alice": "Alice@us.example, bob"}, want: map[string]int{"alice": 1, "bob": 1}},
		{name: "mutual", forwards: map[string]string{"alice": "bob", "bob": "alice"}, want: map[string]int{"alice": 1}},
		{name: "three", forwards: map[string]string{"alice": "bob", "bob": "carol", "carol": "bob"}, want: map[string]int{"bob": 1}},
		{name: "by an alias", forwards: map[string]string{"alice": "team"}, aliases: "team: alice, bob\n", want: map[string]int{"alice": 1, "bob": 1}},
		{name: "an alias that it came from", forwards: map[string]string{"alice": "team"}, aliases: "team: alice, bob\n", to: []string{"team"}, want: map[string]int{"alice": 1, "bob": 1}},
		{name: "an alias of one's own name", forwards: map[string]string{"alice": "alice, bob"}, aliases: "alice: alice\n", want: map[string]int{"alice": 1, "bob": 1}},
		{name: "detail", forwards: map[string]string{"alice+x": "bob"}, to: []string{"alice+x", "alice"}, want: map[string]int{"alice": 1, "bob": 1}},
		{name: "detail, the other first", forwards: map[string]string{"alice+x": "bob"}, to: []string{"alice", "alice+x", "alice+y", "\\alice"}, want: map[string]int{"alice": 1, "bob": 1}},
		{name: "two spellings", forwards: map[string]string{"alice": "a@[192.0.2.1], carol"}, to: []string{"alice", "ALICE@us.example", "team"}, aliases: "team: alice, a@[192.0.2.1]\n", want: map[string]int{"carol": 1}, peer: 1},
		{name: "mailbox and forward", forwards: map[string]string{"alice": "bob"}, to: []string{"keep", "alice"}, aliases: "keep: \\alice\n", want: map[string]int{"alice": 1, "bob": 1}},
		{name: "empty", forwards: map[string]string{"alice": "# nothing\n"}, want: map[string]int{"alice": 1}},
		{name: "to a list that has one", forwards: map[string]string{"alice": "list"}, aliases: "list: :include:/l\n", want: map[string]int{"alice": 1, "bob": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.o.Delimiter = "+"
			sink := r.peer("192.0.2.1", &testenv.Sink{})
			r.alias(tt.aliases)
			r.mailer.forwards, r.mailer.members = tt.forwards, map[string]string{"list": "alice\nbob\n"}
			if tt.to == nil {
				tt.to = []string{"alice"}
			}
			tt.to = slices.DeleteFunc(tt.to, func(s string) bool { return s[0] == '\\' })
			r.mail("s@x.example", tt.to...)
			r.pass()
			r.want()
			for _, user := range r.users.names {
				r.wantBox(user, tt.want[user])
			}
			if got := sink.Messages(); len(got) != min(tt.peer, 1) || tt.peer > 0 && len(got[0].Rcpt) != 1 {
				t.Errorf("at the peer: %v", got)
			}
		})
	}
}

// What can't be read defers, and note and log say what to mend (A36, A49).
func TestA49ListErrors(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		prep       func(r *rig)
	}{
		{"forward", "/home/alice/.forward:2: is a FIFO", func(r *rig) {
			r.mailer.forwards = map[string]string{"alice": "bob"}
			r.mailer.broken = map[string]error{"alice": errors.New("/home/alice/.forward:2: is a FIFO")}
		}},
		{"include in a forward", "/home/alice/.forward:2 can't be understood", func(r *rig) {
			r.mailer.forwards = map[string]string{"alice": "bob\n:include:/x\n"}
		}},
		{"program in a list", "/lists/alice:1 can't be understood", func(r *rig) {
			r.alias("alice: :include:/l\n")
			r.mailer.members = map[string]string{"alice": "\"|x\"\nbob\n"}
		}},
		{"list of an unknown uid", "uid 4711, which has no account", func(r *rig) {
			r.alias("alice: :include:/l\n")
			r.mailer.owners = map[string]*local.OwnerError{"alice": {File: "/l", UID: 4711}}
		}},
		{"root's list", "/l belongs to root", func(r *rig) { // B56, B77
			r.alias("alice: :include:/l\n")
			r.mailer.members = map[string]string{"alice": "bob\n"}
			r.mailer.owners = map[string]*local.OwnerError{"alice": {File: "/l", User: "root", UID: 0}}
		}},
		{"list that has its alias", "it leads back to itself: team -> other -> team", func(r *rig) {
			r.alias("alice: team\nteam: :include:/l\nother: team\n")
			r.mailer.members = map[string]string{"team": "other\n"}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.prep(r)
			id := r.mail("carol@us.example", "alice")
			r.pass()
			r.wantBox("bob", 0)
			found := false
			for _, n := range r.snapshot(id).Notes {
				found = found || strings.Contains(n.Reply.Text+n.Err, tt.want)
			}
			if !found {
				t.Errorf("no note says %q: %v", tt.want, r.snapshot(id).Notes)
			}
			r.wantLog("delivery deferred", strings.Trim(fmt.Sprintf("%q", tt.want), `"`))
			for _, g := range r.mailer.listed {
				if g.User == "root" {
					t.Errorf("asked root: %+v", g)
				}
			}
		})
	}
}

// A50 for what users write: 1,000 recipients below one address, ten deep.
func TestA50Forwards(t *testing.T) {
	r := newRig(t)
	r.alias("wide: a1\na1: " + strings.Repeat("x@x.example, ", 500) + "alice\n")
	r.mailer.forwards = map[string]string{"alice": strings.Repeat("y@y.example\n", 499), "bob": strings.Repeat("y@y.example\n", 1001)}
	for i := range 12 {
		user := fmt.Sprintf("deep%d", i)
		r.users.names = append(r.users.names, user)
		r.mailer.forwards[user] = fmt.Sprintf("deep%d", i+1)
	}
	id := r.mail("s@x.example", "wide", "bob", "deep0", "deep2")
	r.pass()
	r.wantLog("delivery deferred", "forward alice: the message would get more than 1000 recipients by aliases")
	r.wantLog("delivery deferred", "forward bob: the message would get more than 1000 recipients by aliases")
	r.wantLog("delivery deferred", "to=<deep10>", "forward deep10: aliases are nested more than 10 deep")
	if n := len(r.snapshot(id).Recipients); n > 550 {
		t.Errorf("%d recipients", n)
	}
}

// B56: a list is read by the default user, and one that it may not read by its
// owner.
func TestB56ListOwner(t *testing.T) {
	r := newRig(t)
	r.alias("list: :include:/l, carol\n")
	r.mailer.members = map[string]string{"list": "alice\n\\bob\n"}
	r.mailer.owners = map[string]*local.OwnerError{"list": {File: "/l", User: "dora", UID: 1007}}
	r.mail("s@x.example", "list")
	r.pass()
	r.want()
	for _, user := range []string{"alice", "bob", "carol"} {
		r.wantBox(user, 1)
	}
	if l := r.mailer.listed; len(l) != 2 || l[0].User != "nobody" || l[1].User != "dora" {
		t.Errorf("asked %+v", l)
	}
}
