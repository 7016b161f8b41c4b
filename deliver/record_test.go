package deliver

import (
	"context"
	"strings"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A38: what can't be recorded is not delivered any further by this runner,
// with one line in the log; the next one goes on.
func TestA38NotRecorded(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	run := NewRunner(r.o)
	ctx := context.Background()
	pass := func() {
		if err := run.Pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
	id := r.mail("s@x.example", "alice", "a@[192.0.2.1]")
	r.mailer.answer = func(user string) (local.Result, bool) {
		r.stuck.Store(user == "alice") // from now on alice's slot can't be written
		return local.Result{}, false
	}
	run.Wake(id)
	for range 3 {
		run.RunNow()
		pass()
	}
	r.stuck.Store(false)
	pass()
	if !run.SetAside(id) {
		t.Errorf("the message is not set aside\n%s", r.log)
	}
	if n := strings.Count(r.log.String(), "delivery not recorded"); n != 1 {
		t.Errorf("%d lines say so, want 1\n%s", n, r.log)
	}
	if alice, far := len(r.mailer.box("alice")), len(sink.Messages()); alice > 1 || far > 1 {
		t.Errorf("%d copies in alice's mailbox, %d at the sink", alice, far)
	}
	if r.mailer.recorded[token(id, envelope.Key{})] {
		t.Error("the mailer was told that the delivery is recorded")
	}
	run.Wake(r.mail("s@x.example", "bob"))
	pass()
	r.wantBox("bob", 1)
}

// The results of deliveries that ended while the server was dead.
func TestApplyResults(t *testing.T) {
	r := newRig(t)
	id := r.mail("s@x.example", "alice", "bob", "carol")
	key := func(i int) string { return token(id, envelope.Key{Index: i}) }
	run := NewRunner(r.o)
	results := []local.TokenResult{
		{Token: key(0), Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}},
		{Token: key(1), Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Deferred}}},
		{Token: key(2), Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Bounced}}},
		{Token: key(9), Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}},
		{Token: "00000000000000/0/0", Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}}, // long gone
		{Token: "nonsense", Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}},
		{Token: string(id) + "/00/1", Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}},
	}
	run.ApplyResults(context.Background(), results)
	run.ApplyResults(context.Background(), results)
	r.want("active: s@x.example -> alice delivered", "active: s@x.example -> bob pending", "active: s@x.example -> carol pending")
	for _, res := range results {
		if !r.mailer.recorded[res.Token] {
			t.Errorf("%s was not reported as recorded", res.Token)
		}
	}
	if err := run.Pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.want()
	r.wantBox("alice", 0)
	r.wantBox("bob", 1)
}

func TestApplyResultsNotRecorded(t *testing.T) {
	r := newRig(t)
	id := r.mail("s@x.example", "alice", "bob")
	run := NewRunner(r.o)
	r.stuck.Store(true)
	run.ApplyResults(context.Background(), []local.TokenResult{{Token: token(id, envelope.Key{}), Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}}})
	r.stuck.Store(false)
	if r.mailer.recorded[token(id, envelope.Key{})] {
		t.Error("reported as recorded")
	}
	if err := run.Pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.wantBox("alice", 0)
	r.wantBox("bob", 0)
	if !run.SetAside(id) {
		t.Error("not set aside")
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"HOH1GWT2OZ3CFP/0/0", "HOH1GWT2OZ3CFP/12/3", "x", "//", "HOH1GWT2OZ3CFP/-1/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if id, key, ok := parseToken(in); ok && token(id, key) != in {
			t.Errorf("%q is read as %s %v", in, id, key)
		}
	})
}

// What one pass delivered the next one does not deliver again, and what it did
// not it does.
func TestNoSecondCopyInTheNextPass(t *testing.T) {
	r := newRig(t)
	first := r.peer("192.0.2.1", &testenv.Sink{})
	second := r.peer("192.0.2.2", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		return testenv.Action{Reply: map[string]string{"RCPT": "450 4.2.0 not yet"}[ev.Verb]}
	}})
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "bob" }
	r.mail("s@x.example", "a@[192.0.2.1]", "b@[192.0.2.2]", "alice", "bob")
	r.pass()
	second.Answer = nil
	r.mailer.answer = nil
	r.pass()
	r.want()
	if len(first.Messages()) != 1 || len(second.Messages()) != 1 {
		t.Errorf("%d and %d copies", len(first.Messages()), len(second.Messages()))
	}
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
}

// A34: two passes at once exclude each other, and none leaves a lock.
func TestA34OneRunner(t *testing.T) {
	r := newRig(t)
	for range 50 {
		r.mail("s@x.example", "alice")
	}
	done := make(chan error)
	for range 4 {
		go func() { done <- NewRunner(r.o).Pass(context.Background()) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	r.want()
	r.wantBox("alice", 50)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := NewRunner(r.o).Pass(ctx); err != nil {
		t.Error(err)
	}
}

// R32, B62: what can't be read stops nothing.
func TestB62CorruptStopsNothing(t *testing.T) {
	r := newRig(t)
	r.mail("s@x.example", "alice")
	r.plant("queue", "0000000000AAAA", "")
	r.plant("queue", "0000000000BBBB", "not a message\n")
	r.plant("queue", "other program's file", "x")
	r.mail("s@x.example", "bob")
	r.pass()
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
	n := 0
	for e, err := range r.queue.Entries() {
		if err != nil || e.Location != spool.Corrupt {
			t.Errorf("%v, %v", e, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d corrupt messages, want 2", n)
	}
}
