package deliver

import (
	"slices"
	"strings"
	"testing"

	"postoffice/deliver/local"
	"postoffice/internal/testenv"
)

func TestLocal(t *testing.T) {
	r := newRig(t)
	r.mail("sender@x.example", "alice@us.example", "Bob@localhost", "carol")
	r.pass()
	r.want()
	box := r.wantBox("alice", 1)[0]
	for _, want := range []string{"From sender@x.example ", "Return-Path: <sender@x.example>\n", "Delivered-To: alice@us.example\n", "\nbody\n\n"} {
		if !strings.Contains(box, want) {
			t.Errorf("mailbox has no %q:\n%s", want, box)
		}
	}
	r.wantBox("bob", 1)
	r.wantBox("carol", 1)
	r.wantLog("message delivered", "qid=", "to=<alice@us.example>", "relay=local", "dsn=2.0.0", "status=sent", "delay=")
	r.wantLog("message removed")
	if n := len(r.mailer.recorded); n != 3 {
		t.Errorf("%d deliveries reported as recorded, want 3", n)
	}
}

func TestRemote(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mail("sender@x.example", "alice@[192.0.2.1]", "bob@[192.0.2.1]", "Alice@[192.0.2.1]")
	r.pass()
	r.want()
	got := sink.Messages()
	if len(got) != 1 || !slices.Equal(got[0].To(), []string{"alice@[192.0.2.1]", "bob@[192.0.2.1]", "Alice@[192.0.2.1]"}) || got[0].Text() != plain {
		t.Errorf("sink got %v", got)
	}
	r.wantLog("message delivered", "relay=[192.0.2.1]:25")
}

func TestRelayHost(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.o.RelayHost = "[192.0.2.1]"
	r.mail("sender@x.example", "alice@a.example", "bob@b.example", "carol@us.example", "dave@[192.0.2.7]")
	r.pass()
	r.want()
	if got := sink.Messages(); len(got) != 1 || len(got[0].Rcpt) != 3 {
		t.Errorf("sink got %v, want one message for three", got)
	}
	r.wantBox("carol", 1)
}

// B52: each mailbox once, however it is spelt.
func TestB52OneMailboxOnce(t *testing.T) {
	r := newRig(t)
	r.alias("staff: alice, Bob, bob@us.example\nteam: \\bob, staff\n")
	r.mail("s@x.example", "bob", "BOB@us.example", "bob@also.example", "staff", "team")
	r.pass()
	r.want()
	r.wantBox("bob", 1)
	r.wantBox("alice", 1)

	// Also over several attempts.
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "alice" }
	id := r.mail("s@x.example", "alice", "bob", "staff")
	r.pass()
	r.wantBox("bob", 2)
	r.mailer.answer = nil
	if n := len(r.snapshot(id).Recipients); n != 6 {
		t.Errorf("%d recipients, want 6 with those of staff", n)
	}
	r.pass()
	r.want()
	r.wantBox("bob", 2)
	r.wantBox("alice", 2)
}
