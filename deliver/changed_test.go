package deliver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/testenv"
	"postoffice/spool"
)

// reading makes the rig's programs behave as their users' processes do: they
// take an item from the file as it is now.
func (r *rig) reading(failing ...string) {
	fails := map[string]bool{}
	for _, text := range failing {
		fails[fmt.Sprintf("%x", r.hash(text))] = true
	}
	r.mailer.running = func(j local.Job) local.Result {
		if j.Item.Source == local.FromForward {
			lines, err := r.mailer.List(r.t.Context(), local.Listing{User: j.User, Item: j.Item, Extension: j.Envelope.Extension})
			if err != nil || !slices.ContainsFunc(lines, func(l local.Line) bool { return l.Hash() == j.Item.Hash }) {
				r.mailer.forget()
				return local.Result{Outcome: outcome.Outcome{Err: local.ErrChanged}, Answer: local.Changed}
			}
		}
		if fails[fmt.Sprintf("%x", j.Item.Hash)] {
			return later("no such program")
		}
		return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
	}
}

// forget takes back that the last job has run.
func (m *agents) forget() {
	m.agentMu.Lock()
	defer m.agentMu.Unlock()
	m.ran = m.ran[:len(m.ran)-1]
}

func (r *rig) hash(text string) [32]byte {
	r.t.Helper()
	return itemHash(r.t, text)
}

// TestItemChanged: a program of an alias that was taken out is replaced by what
// stands there now, and the alias's other members get nothing again.
func TestItemChanged(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string
		want                []string // what runs in the end, besides |bad; "again" stands for |bad
		boxes               map[string]int
		twice               bool // the attempt after the mend can't be the last
	}{
		{name: "mended", before: `"|bad", alice`, after: `"|good", alice`, want: []string{"|good"}, boxes: map[string]int{"alice": 1}},
		{name: "mended beside a new one", before: `"|bad", alice`, after: `"|good", alice, bob`, want: []string{"|good"}, boxes: map[string]int{"alice": 1, "bob": 1}},
		{name: "others added alone", before: `"|bad", alice`, after: `"|bad", alice, bob`, want: []string{"|bad"}, boxes: map[string]int{"alice": 1}},
		{name: "an address instead", before: `"|bad", alice`, after: `bob, alice`, boxes: map[string]int{"alice": 1, "bob": 1}},
		{name: "taken out", before: `"|bad", alice`, after: `alice`, boxes: map[string]int{"alice": 1}},
		{name: "two into one", before: `"|bad", "|bad 2"`, after: `"|good"`, want: []string{"|good"}},
		{name: "one into two", before: `"|bad"`, after: `"|good", "|fine"`, want: []string{"|good", "|fine"}},
		{name: "two into two", before: `"|bad", "|bad 2"`, after: `"|good", "|fine"`, want: []string{"|good", "|fine"}},
		{name: "one that had it is changed too", before: `"|a", "|bad"`, after: `"|b", "|good"`, want: []string{"|a", "|b", "|good"}},
		{name: "one that had it is taken out", before: `"|a", "|bad"`, after: `"|good"`, want: []string{"|a", "|good"}},
		{name: "an address that had it is changed too", before: `"|bad", alice`, after: `bob, "|good"`, want: []string{"|good"}, boxes: map[string]int{"alice": 1, "bob": 1}},
		{name: "by another alias", before: `"|bad"`, after: `other`, want: []string{"|o"}},
		{name: "a mailbox", before: `"|bad"`, after: `\alice, /file`, want: []string{"/file"}, boxes: map[string]int{"alice": 1}},
		{name: "itself", before: `"|bad"`, after: `p, "|good"`, want: []string{"|good"}, boxes: map[string]int{"p": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.users.names = append(r.users.names, "p")
			r.reading("|bad", "|bad 2")
			const other = "\nother: \"|o\"\n"
			r.alias("p: " + tt.before + other)
			r.mail("s@x.example", "p")
			r.pass()
			r.alias("p: " + tt.after + other)
			if slices.Contains(tt.want, "|bad") {
				r.reading()
			}
			r.pass()
			r.want()
			var want []string
			for _, w := range append(strings.Split(tt.before, ", "), tt.want...) {
				name := "p"
				if w == "|o" {
					name = "other"
				}
				if w[0] != 'a' && !slices.Contains(tt.want, strings.Trim(w, `"`)) || slices.Contains(tt.want, w) {
					want = append(want, itemName(t, "nobody", "alias", name, strings.Trim(w, `"`)))
				}
			}
			if slices.Contains(tt.want, "|bad") {
				want = append(want, want[0])
			}
			r.wantJobs(want...)
			for _, user := range r.users.names {
				r.wantBox(user, tt.boxes[user])
			}
		})
	}
}

// An alias that is gone: the mail goes where its name leads by now.
func TestItemAliasGone(t *testing.T) {
	r := newRig(t)
	r.reading("|bad")
	r.mailer.forwards = map[string]string{"carol": "bob"}
	r.alias("alice: \"|bad\"\ncarol: \"|bad 1\", \\root\nnobody: \"|bad\"\n")
	r.reading("|bad", "|bad 1")
	r.mail("s@[192.0.2.1]", "alice", "carol", "nobody")
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.pass()
	r.alias("other: bob\n")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantBox("bob", 1) // by carol's .forward
	r.wantBox("root", 1)
	if got := sink.Messages(); len(got) != 1 || !strings.Contains(got[0].Text(), "5.1.1") || !strings.Contains(got[0].Text(), "nobody") {
		t.Errorf("the sender's report: %v", got)
	}
}

// Mended again and again, also back to what it was; nothing is replaced twice
// in one attempt, and what can't be read waits.
func TestItemChangedAgain(t *testing.T) {
	r := newRig(t)
	r.o.Delimiter = "+"
	r.reading("|bad", "|bad 1", "|bad 2")
	id := r.mail("s@x.example", "p+tag")
	for _, text := range []string{"|bad", "|bad 1", "|bad 2", "|bad", "|bad 1"} {
		r.alias("p: \"" + text + "\"\n")
		r.pass()
	}
	if n := len(r.mailer.jobs()); n != 5 {
		t.Errorf("%d programs ran, want 5: %v", n, r.mailer.jobs())
	}
	r.alias("p: \"unbalanced\n")
	r.pass()
	if n := len(r.mailer.jobs()); n != 5 {
		t.Errorf("%d programs ran, want 5: %v", n, r.mailer.jobs())
	}
	for range 20 { // no expansion is counted as deeper than what it replaces
		for _, text := range []string{"|bad 2", "|bad"} {
			r.alias("p: \"" + text + "\"\n")
			r.pass()
		}
	}
	r.reading()
	r.pass()
	r.want()
	jobs := r.mailer.ran
	if n := len(jobs); n != 46 || jobs[n-1].Envelope.Extension != "tag" || jobs[n-1].Envelope.Recipient.String() != "p+tag" || jobs[n-1].Envelope.QueueID != string(id) {
		t.Errorf("%d programs ran; the last: %+v", n, jobs[n-1])
	}
}

// A process that sees another file than the server runs nothing, and the
// message doesn't grow.
func TestItemContradicted(t *testing.T) {
	r := newRig(t)
	r.alias("p: \"|x\"\n")
	r.mailer.running = func(local.Job) local.Result {
		return local.Result{Outcome: outcome.Outcome{Err: local.ErrChanged}, Answer: local.Changed}
	}
	r.mailer.forwards = map[string]string{"alice": "\"|y\", \\alice"}
	id := r.mail("s@x.example", "p", "alice")
	for range 3 {
		r.pass()
	}
	if n := len(r.snapshot(id).Recipients); n != 5 {
		t.Errorf("%d recipients, want 5", n)
	}
	if n := len(r.mailer.jobs()); n != 6 {
		t.Errorf("asked %d times, want 6", n)
	}
	r.wantBox("alice", 1)
	r.wantLog("delivery deferred", "alias p was changed since")
	r.wantLog("delivery deferred", "forward alice was changed since")
	r.alias("p: \"|z\"\n") // and what takes its place isn't there either
	r.pass()
	if n := len(r.snapshot(id).Recipients); n != 6 {
		t.Errorf("%d recipients, want 6\nlog:\n%s", n, r.log)
	}
}

// The same of a .forward, of usermap and of a list.
func TestForwardChanged(t *testing.T) {
	for _, tt := range []struct {
		name, after string
		gone        bool
		want        string
		boxes       map[string]int
	}{
		{name: "mended", after: `"|good", \alice`, want: "|good", boxes: map[string]int{"alice": 1}},
		{name: "to another", after: `bob, \alice`, boxes: map[string]int{"alice": 1, "bob": 1}},
		{name: "taken out", after: `\alice`, boxes: map[string]int{"alice": 1}},
		{name: "removed", gone: true, boxes: map[string]int{"alice": 1}},
	} {
		for _, keep := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, keep), func(t *testing.T) {
				r := newRig(t)
				r.reading("|bad")
				r.mailer.forwards = map[string]string{"alice": `"|bad"`}
				if keep {
					r.mailer.forwards["alice"] += `, \alice`
				}
				r.mail("s@x.example", "Alice")
				r.pass()
				r.mailer.forwards["alice"] = tt.after
				if tt.gone {
					delete(r.mailer.forwards, "alice")
				}
				r.pass()
				r.want()
				want := []string{itemName(t, "alice", "forward", "alice", "|bad")}
				if tt.want != "" {
					want = append(want, itemName(t, "alice", "forward", "alice", tt.want))
				}
				r.wantJobs(want...)
				for _, user := range r.users.names {
					r.wantBox(user, tt.boxes[user])
				}
			})
		}
	}
}

func TestUsermapChanged(t *testing.T) {
	r := newRig(t)
	r.reading("|bad")
	r.o.Usermap = []string{"shop:|bad", "gone:|bad"}
	r.mail("s@[192.0.2.1]", "shop", "gone")
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.pass()
	r.o.Usermap = []string{"shop:|good"}
	r.pass()
	r.want()
	bad, gone := itemName(t, "nobody", "usermap", "shop", "|bad"), itemName(t, "nobody", "usermap", "gone", "|bad")
	r.wantJobs(bad, gone, itemName(t, "nobody", "usermap", "shop", "|good"))
	if got := sink.Messages(); len(got) != 1 || !strings.Contains(got[0].Text(), "5.1.1") {
		t.Errorf("the sender's report: %v", got)
	}
}

// A list that its alias names under another path.
func TestListChanged(t *testing.T) {
	r := newRig(t)
	r.alias("list: :include:/l, carol\n")
	r.mailer.broken = map[string]error{"list": fmt.Errorf("/l: not there")}
	id := r.mail("s@x.example", "list")
	r.pass()
	r.mailer.broken = map[string]error{"list": fmt.Errorf("alias list: %w", local.ErrChanged)}
	r.pass()
	r.wantLog("delivery deferred", "alias list was changed since")
	if n := len(r.snapshot(id).Recipients); n != 3 {
		t.Errorf("%d recipients, want 3", n)
	}
	r.mailer.broken, r.mailer.members = nil, map[string]string{"list": "alice\nbob\n"}
	r.alias("list: :include:/lists/l, carol\n")
	r.pass()
	r.want()
	for _, user := range []string{"alice", "bob", "carol"} {
		r.wantBox(user, 1)
	}
}

// TestReroute: what is pending goes where aliases, .forward files and lists
// lead by now; what is settled stays as it is.
func TestReroute(t *testing.T) {
	r := newRig(t)
	r.alias("team: a@[192.0.2.1], alice, same@[192.0.2.1], list, out@[192.0.2.1]\nlist: :include:/l\nempty: x@[192.0.2.1]\n")
	r.mailer.members = map[string]string{"list": "m@[192.0.2.1]\nbob\n"}
	r.mailer.forwards = map[string]string{"carol": "c@[192.0.2.1]"}
	id := r.mail("s@[192.0.2.3]", "team", "carol", "plain@[192.0.2.1]", "empty")
	r.pass() // nobody is at 192.0.2.1
	r.alias("team: b@[192.0.2.2], alice, root, same@[192.0.2.1], list\nlist: :include:/l\n")
	r.mailer.members = map[string]string{"list": "n@[192.0.2.2]\nroot\n"}
	r.mailer.forwards = map[string]string{"carol": "\"|good\""}
	r.o.Delimiter = "+"
	old, sink := r.peer("192.0.2.1", &testenv.Sink{}), r.peer("192.0.2.2", &testenv.Sink{})
	sender := r.peer("192.0.2.3", &testenv.Sink{})
	if err := NewRunner(r.o).PassOf(t.Context(), []spool.ID{id}, true); err != nil {
		t.Fatal(err)
	}
	r.want()
	for user, n := range map[string]int{"alice": 1, "bob": 1, "root": 1, "carol": 0} {
		r.wantBox(user, n)
	}
	for who, want := range map[*testenv.Sink]string{old: "plain@[192.0.2.1] same@[192.0.2.1]", sink: "b@[192.0.2.2] n@[192.0.2.2]"} {
		var got []string
		for _, m := range who.Messages() {
			got = append(got, m.To()...)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("at a peer: %v, want %s\nlog:\n%s", got, want, r.log)
		}
	}
	if got := sender.Messages(); len(got) != 1 || !strings.Contains(got[0].Text(), "<empty") {
		t.Errorf("the sender's report: %v", got)
	}
	r.wantJobs(itemName(t, "carol", "forward", "carol", "|good"))
}

// A running server reroutes when it is asked to, also what it has just tried.
func TestRerouteServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.alias("team: a@[192.0.2.1], alice\n")
		run, stop := r.start()
		id := r.mail("s@x.example", "team")
		run.Wake(id)
		synctest.Wait()
		r.alias("team: bob, alice, carol\n")
		if err := run.Retry(id, true); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute) // what the clean-up held just then is looked at again in a moment
		synctest.Wait()
		stop()
		r.want()
		for user, n := range map[string]int{"alice": 1, "bob": 1, "carol": 1} {
			r.wantBox(user, n)
		}
	})
}
