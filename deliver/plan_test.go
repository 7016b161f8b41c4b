package deliver

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"postoffice/deliver/local"
	"postoffice/internal/testenv"
	"postoffice/spool/envelope"
)

func TestExpand(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.alias(`postmaster: root
root: alice
team: bob, carol@us.example, far@[192.0.2.1]
all: team, Team, alice
bob: bob, copy@[192.0.2.1]
carol: \carol
`)
	r.mail("s@x.example", "all", "Postmaster@localhost")
	r.pass()
	r.want()
	for _, u := range []string{"alice", "bob", "carol"} {
		r.wantBox(u, 1)
	}
	r.wantBox("root", 0)
	if got := sink.Messages(); len(got) != 1 || len(got[0].Rcpt) != 2 {
		t.Errorf("sink got %v, want one message for far and copy", got)
	}
	r.wantLog("message delivered", "to=<carol>", "orig_to=<all>")
}

// postmaster without an alias is root, root without an alias a plain mailbox,
// or the mailbox of the user whose private server it is.
func TestPostmaster(t *testing.T) {
	r := newRig(t)
	r.mail("s@x.example", "postmaster", "Root@us.example")
	r.pass()
	r.want()
	r.wantBox("root", 1)
	r.users.names = []string{"alice"}
	r.o.Postmaster = "alice"
	r.mail("s@x.example", "PostMaster", "root")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
}

// A50: expansion ends, with a result or one clear error, which is never
// permanent: the alias file can be mended.
func TestA50ExpansionEnds(t *testing.T) {
	var tree, wide strings.Builder
	for i := range 40 {
		fmt.Fprintf(&tree, "l%d: l%d, r%d\nr%d: l%d, r%d\n", i, i+1, i+1, i, i+1, i+1)
	}
	fmt.Fprintf(&wide, "wide: w0@x.example")
	for i := 1; i <= 1000; i++ {
		fmt.Fprintf(&wide, ", w%d@x.example", i)
	}
	deep := "d0: alice\n"
	for i := 1; i <= 11; i++ {
		deep += fmt.Sprintf("d%d: d%d\n", i, i-1)
	}
	for _, tt := range []struct{ name, aliases, to, want string }{
		{"two", "a: b\nb: a\n", "a", "alias a: it leads back to itself: a -> b -> a"},
		{"three, from outside", "x: a\na: B\nb: c@us.example\nc: A\n", "x", "alias a: it leads back to itself: a -> B -> c -> a"},
		{"crossed", "a: b, c\nb: c\nc: b\n", "a", "alias b: it leads back to itself: b -> c -> b"},
		{"deep", deep, "d11", "alias d11: aliases are nested more than 10 deep"},
		{"tree", tree.String(), "l0", "alias l0: aliases are nested more than 10 deep"},
		{"wide", wide.String() + "\n", "wide", "alias wide: the message would get more than 1000 recipients by aliases; a file that it names with :include: may list more"},
		{"syntax", "p: \"x\n", "p", "line 1: alias p: a quote that does not end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.alias(tt.aliases)
			id := r.mail("bob@us.example", tt.to)
			r.pass()
			r.wantBox("bob", 0)
			r.wantLog("delivery deferred", strings.ReplaceAll(tt.want, `"`, `\"`))
			found := false
			for _, n := range r.snapshot(id).Notes {
				found = found || strings.Contains(n.Reply.Text+n.Err, tt.want)
			}
			if !found {
				t.Errorf("no note says %q", tt.want)
			}
			// Mended, the waiting mail goes out.
			r.alias("x: alice\na: alice\nb: alice\nc: alice\np: alice\nwide: alice\nl0: alice\nd11: alice\n")
			r.pass()
			r.want()
			r.wantBox("alice", 1)
		})
	}
}

// A circle among aliases holds up nobody who is beside it: it is told once, and
// where no one is beside it the mail waits.
func TestCircle(t *testing.T) {
	r := newRig(t)
	r.alias("root: admins\nadmins: alice, root\n")
	run := NewRunner(r.o)
	for range 3 {
		r.mail("s@x.example", "root", "bob")
		if err := run.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.want()
	r.wantBox("alice", 3)
	r.wantBox("bob", 3)
	r.wantBox("root", 0)
	if n := strings.Count(r.log.String(), "alias in a circle"); n != 1 {
		t.Errorf("it is told %d times, want once:\n%s", n, r.log)
	}
	r.wantLog("alias in a circle", "root -> admins -> root", "aliases:2")
	// The aliases change sides while mail waits: nobody is lost.
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "alice" }
	r.alias("root: admins\nadmins: alice\n")
	r.mail("s@x.example", "root")
	r.pass()
	r.mailer.answer = nil
	r.alias("admins: root\nroot: carol\n")
	r.pass()
	if n := len(r.mailer.box("alice")) + len(r.mailer.box("carol")); n != 4 {
		t.Errorf("%d copies, want 4\n%s", n, r.log)
	}
}

func TestOwnName(t *testing.T) {
	r := newRig(t)
	r.alias("alice: alice, Alice@us.example, bob\nghost: ghost\n")
	r.mail("carol@us.example", "alice", "ghost")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
	if text := r.wantBox("carol", 1)[0]; !strings.Contains(text, "<ghost@us.example>") || strings.Contains(text, "<alice@us.example>") {
		t.Errorf("the bounce does not name ghost alone:\n%s", text)
	}
}

// A36: a database that can't be read is later, never no such user.
func TestA36Databases(t *testing.T) {
	r := newRig(t)
	r.users.breakWith(errors.New("passwd: input/output error"))
	id := r.mail("carol@us.example", "alice", "nobody-here")
	r.pass()
	for _, rc := range r.snapshot(id).Recipients {
		if rc.State != envelope.Pending {
			t.Errorf("%v is %v with an unreadable passwd", rc.Path, rc.State)
		}
	}
	r.users.breakWith(nil)
	if err := os.Mkdir(r.aliases, 0o700); err != nil { // not readable as a file
		t.Fatal(err)
	}
	r.pass()
	for _, rc := range r.snapshot(id).Recipients {
		if rc.State != envelope.Pending {
			t.Errorf("%v is %v with unreadable aliases", rc.Path, rc.State)
		}
	}
	if err := os.Remove(r.aliases); err != nil {
		t.Fatal(err)
	}
	r.alias("no colon in this line\n")
	r.pass() // alice is an account; who knows what the line was
	r.wantBox("alice", 1)
	r.want("active: carol@us.example -> alice delivered", "active: carol@us.example -> nobody-here pending")
	r.alias("")
	r.pass()
	r.want()
	r.wantBox("carol", 1)
}

// A62: hops, and our own Delivered-To.
func TestA62Loops(t *testing.T) {
	received := func(n int) string {
		return strings.Repeat("Received: from a by b; Tue, 24 Nov 2026 12:00:00 +0000\n", n) + "Subject: x\n\nbody\nReceived: no header\n"
	}
	for _, tt := range []struct {
		name, text string
		delivered  bool
	}{
		{"99 and ours", received(100), true},
		{"101 and ours", received(102), false},
		{"folded, other case", "RECEIVED : x\n\ty\n" + received(100), false},
		{"our Delivered-To", "Delivered-To: Alice@us.example\n\nbody\n", false},
		{"another's Delivered-To", "Delivered-To: bob@us.example\nDelivered-To: alice@x.example\n\nDelivered-To: alice@us.example\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.mailText(tt.text, r.now(), "carol@us.example", "alice")
			r.pass()
			r.want()
			if tt.delivered {
				r.wantBox("alice", 1)
				r.wantBox("carol", 0)
				return
			}
			r.wantBox("alice", 0)
			if text := r.wantBox("carol", 1)[0]; !strings.Contains(text, "Status: 5.4.6") {
				t.Errorf("no 5.4.6 in:\n%s", text)
			}
		})
	}
}

// R52: a name that stands for a user of the same domain is no loop, nor is "*",
// which stands for every name, the user's own among them.
func TestR52NoLoop(t *testing.T) {
	r := newRig(t)
	r.o.Usermap = []string{"*:alice"}
	r.alias("info: alice@us.example\nsales: Info@also.example\n")
	r.mail("s@x.example", "info@also.example", "sales@us.example")
	r.mail("s@x.example", "alice@us.example")
	r.mail("s@x.example", "foo@us.example", "bar@also.example")
	r.pass()
	r.want()
	r.wantBox("alice", 3)
	if strings.Contains(r.log.String(), "loop") {
		t.Errorf("the log tells of a loop:\n%s", r.log)
	}
}

// R67, S3, B58: an unknown local address beside good ones.
func TestR67UnknownBesideGood(t *testing.T) {
	r := newRig(t)
	r.mail("carol@us.example", "alice", "no-one", "bob")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
	text := r.wantBox("carol", 1)[0]
	if !strings.Contains(text, "<no-one@us.example>") || strings.Contains(text, "<alice@us.example>") || strings.Contains(text, "<bob@us.example>") || !strings.Contains(text, "Status: 5.1.1") {
		t.Errorf("the bounce must name no-one alone, with 5.1.1:\n%s", text)
	}
	r.wantLog("message bounced", "to=<no-one>", "dsn=5.1.1", "status=bounced")
}

// Mail for a domain that is local by DNS is decided at delivery.
func TestLocalByDNSAtDelivery(t *testing.T) {
	zone := testenv.NewDNS(t, "ours.example. 60 IN MX 10 gate.example.", "gate.example. 60 IN A 192.0.2.99", "far.example. 60 IN A 192.0.2.1")
	r := newRig(t)
	r.alias("team: alice, bob@ours.example, v@far.example\n")
	r.dns(zone.Addr())
	r.o.LocalByDNS = true
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mail("carol", "alice@ours.example", "team@ours.example", "no-one@ours.example", "alice")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
	r.wantBox("carol", 1)
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("%d messages at far.example", n)
	}
	for _, q := range []string{"MX ours.example", "MX far.example"} { // R15
		if n := zone.Count(q); n != 1 {
			t.Errorf("%s was asked %d times", q, n)
		}
	}
}
