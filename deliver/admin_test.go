package deliver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// waiting queues a message to alice and bob, of whom alice has it and bob's
// mailbox is full for now.
func (r *rig) waiting() (*Runner, spool.ID) {
	r.t.Helper()
	r.mailer.answer = func(user string) (local.Result, bool) { return later("mailbox full"), user == "bob" }
	id := r.mail("carol@us.example", "alice", "bob")
	return r.pass(), id
}

func (r *rig) settleAll() {
	r.t.Helper()
	r.mailer.answer = nil
	r.pass()
}

// TestBounceByHand: the usual report, durable before the recipients are
// recorded, for those who are pending alone.
func TestBounceByHand(t *testing.T) {
	for _, held := range []bool{false, true} {
		r := newRig(t)
		run, id := r.waiting()
		if held {
			if err := run.Hold(t.Context(), id, "odd", "uid 0"); err != nil {
				t.Fatal(err)
			}
		}
		if err := run.Bounce(t.Context(), id, "uid 0"); err != nil {
			t.Fatal(err)
		}
		r.want("active:  -> carol@us.example pending")
		r.wantLog("message bounced", "to=<bob>", "status=bounced", "returned by an administrator")
		r.wantLog("message removed", string(id), "uid 0")
		r.settleAll()
		p := testenv.ParseReport(t, r.wantBox("carol", 1)[0])
		if len(p.Fields) != 2 || p.Fields[1].Get("Final-Recipient") != "rfc822; bob@us.example" || p.Fields[1].Get("Status") != "5.0.0" {
			t.Errorf("fields: %v", p.Fields)
		}
		for _, want := range []string{"returned by an administrator\n", "Ask its postmaster"} {
			if !strings.Contains(p.Text, want) {
				t.Errorf("no %q in the text:\n%s", want, p.Text)
			}
		}
	}
}

// TestBounceByHandFull: without room for the report nothing is recorded.
func TestBounceByHandFull(t *testing.T) {
	r := newRig(t)
	run, id := r.waiting()
	r.full.Store(true)
	if err := run.Bounce(t.Context(), id, "uid 0"); !errors.Is(err, spool.ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
	r.full.Store(false)
	r.want("active: carol@us.example -> alice delivered", "active: carol@us.example -> bob pending")
}

// TestBounceByHandNobody: a report to the postmaster that fails has no sender,
// and there is nobody else.
func TestBounceByHandNobody(t *testing.T) {
	r := newRig(t)
	r.mailer.answer = func(string) (local.Result, bool) { return later("mailbox full"), true }
	first := r.mail("", "alice")
	run := NewRunner(r.o)
	if err := run.Bounce(t.Context(), first, "uid 0"); err != nil {
		t.Fatal(err)
	}
	r.want("active:  -> postmaster@us.example pending")
	for e := range r.queue.Entries() {
		if err := run.Bounce(t.Context(), e.ID, "uid 0"); !errors.Is(err, ErrNobody) {
			t.Errorf("bounce of a report to the postmaster: %v, want ErrNobody", err)
		}
	}
	r.want("active:  -> postmaster@us.example pending")
}

// TestRefuse: those whom filters refuse get one report, with the words for each, before the
// others get the message; where the report has no room nobody is recorded.
func TestRefuse(t *testing.T) {
	for _, all := range []bool{false, true} {
		r := newRig(t)
		run, id := NewRunner(r.o), r.mail("carol@us.example", "alice", "bob", "dave@far.example")
		refuse := func() (bool, error) {
			m, err := r.queue.Claim(id)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			return run.Refuse(m, func(k envelope.Key) (reply smtp.Reply) {
				if k.Index != 0 || all {
					reply = smtp.Reply{Code: 550, Status: "5.7.1", Text: fmt.Sprint("not to number ", k.Index)}
				}
				return reply
			})
		}
		r.full.Store(true)
		if _, err := refuse(); !errors.Is(err, spool.ErrFull) {
			t.Errorf("%v, want ErrFull", err)
		}
		r.full.Store(false)
		if left, err := refuse(); err != nil || left == all {
			t.Fatalf("others are left: %v, %v", left, err)
		}
		r.settleAll()
		p := testenv.ParseReport(t, r.wantBox("carol", 1)[0])
		if n := map[bool]int{false: 3, true: 4}[all]; len(p.Fields) != n || !strings.Contains(p.Text, "not to number 1") || !strings.Contains(p.Text, "not to number 2") || strings.Contains(p.Text, "not to number 0") != all {
			t.Errorf("the report has %d parts, want %d:\n%s", len(p.Fields), n, p.Text)
		}
		r.wantBox("alice", map[bool]int{false: 1}[all])
		r.wantBox("bob", 0)
		r.want()
	}
}

// TestGiveUp: what waits to be judged goes back when it has waited too long, and not before,
// with the words for which it waited and its header alone; where the report has no room it
// waits on.
func TestGiveUp(t *testing.T) {
	r := newRig(t)
	run := NewRunner(r.o)
	const text = "From: carol\nSubject: x\n\nsecret body\n"
	young, old := r.mailText(text, r.now(), "carol@us.example", "alice"), r.mailText(text, r.now().Add(-100*time.Hour), "carol@us.example", "alice", "bob")
	giveUp := func(id spool.ID) (bool, error) {
		m, err := r.queue.Claim(id)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		return run.GiveUp(m, smtp.Reply{Code: 451, Status: "4.7.1", Text: "ask again tomorrow"})
	}
	if over, err := giveUp(young); over || err != nil {
		t.Errorf("what has just come is over: %v, %v", over, err)
	}
	r.full.Store(true)
	if over, err := giveUp(old); over || !errors.Is(err, spool.ErrFull) {
		t.Errorf("without room it is over: %v, %v, want ErrFull", over, err)
	}
	r.full.Store(false)
	if over, err := giveUp(old); !over || err != nil {
		t.Errorf("what has waited too long is over: %v, %v", over, err)
	}
	r.settleAll()
	p := testenv.ParseReport(t, r.wantBox("carol", 1)[0])
	if len(p.Fields) != 3 || !strings.Contains(p.Text, "ask again tomorrow") || !strings.Contains(p.Text, "is given up now") || strings.Contains(p.Text, "secret") {
		t.Errorf("the report has %d parts:\n%s", len(p.Fields), p.Text)
	}
	r.wantBox("alice", 1)
	r.wantBox("bob", 0)
	r.wantLog("message bounced", "to=<bob>", "status=expired")
}

func TestRemoveByHand(t *testing.T) {
	r := newRig(t)
	run, id := r.waiting()
	if err := run.Remove(t.Context(), id, "uid 0"); err != nil {
		t.Fatal(err)
	}
	r.settleAll()
	r.want()
	r.wantBox("bob", 0)
	r.wantBox("carol", 0)
	r.wantLog("recipient cancelled", "to=<bob>", "uid 0")
	if err := run.Remove(t.Context(), id, "uid 0"); !errors.Is(err, spool.ErrGone) {
		t.Errorf("a second time: %v, want ErrGone", err)
	}
}

// TestA38RemoveByHand: what can't be recorded is not removed.
func TestA38RemoveByHand(t *testing.T) {
	r := newRig(t)
	run, id := r.waiting()
	r.stuck.Store(true)
	if err := run.Remove(t.Context(), id, "uid 0"); !errors.Is(err, spool.ErrLater) {
		t.Errorf("%v, want ErrLater", err)
	}
	r.stuck.Store(false)
	if s := r.snapshot(id); len(s.Recipients) != 2 {
		t.Errorf("%+v", s)
	}
}

// TestHoldAndRelease: what is held is not tried; what is released is tried at
// once, whatever its time.
func TestHoldAndRelease(t *testing.T) {
	r := newRig(t)
	_, id := r.waiting()
	run, stop := r.start()
	defer stop()
	if err := run.Release(t.Context(), id, "uid 0"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("release: %v, want ErrNotHeld", err)
	}
	if err := run.Hold(t.Context(), id, "odd", "uid 0"); err != nil {
		t.Fatal(err)
	}
	if s := r.snapshot(id); s.Location != spool.Held || s.Reason != "odd" {
		t.Errorf("%v %q", s.Location, s.Reason)
	}
	if err := run.Retry(id, false); !errors.Is(err, ErrHeld) {
		t.Errorf("retry: %v, want ErrHeld", err)
	}
	r.answer(nil)
	if err := run.Release(t.Context(), id, "uid 0"); err != nil {
		t.Fatal(err)
	}
	r.gone(id)
	r.wantBox("bob", 1)
}

func TestRetry(t *testing.T) {
	r := newRig(t)
	_, id := r.waiting()
	run, stop := r.start()
	defer stop()
	r.answer(nil)
	if err := run.Retry(id, false); err != nil {
		t.Fatal(err)
	}
	r.gone(id)
	r.wantBox("bob", 1)
	if err := run.Retry(id, false); !errors.Is(err, spool.ErrGone) {
		t.Errorf("retry of a message that is gone: %v", err)
	}
}

// TestPersonWaits: who works on a message is waited for, and not for ever.
func TestPersonWaits(t *testing.T) {
	r := newRig(t)
	id := r.mail("carol@us.example", "alice")
	m, err := r.queue.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	run := NewRunner(r.o)
	synctest.Test(t, func(t *testing.T) {
		if err := run.Remove(t.Context(), id, "uid 0"); !errors.Is(err, spool.ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
	})
	ended := make(chan error)
	go func() { ended <- run.Remove(t.Context(), id, "uid 0") }()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.want()
}

// TestDamagedByHand: what is in corrupt/ is known, and can only be removed.
func TestDamagedByHand(t *testing.T) {
	r := newRig(t)
	const id = "0000000000AAAA"
	r.plant("corrupt", id, "no message at all\n")
	run := NewRunner(r.o)
	for _, err := range []error{
		run.Hold(t.Context(), id, "odd", "uid 0"), run.Release(t.Context(), id, "uid 0"), run.Retry(id, false),
		run.Bounce(t.Context(), id, "uid 0"),
	} {
		if !errors.Is(err, spool.ErrCorrupt) {
			t.Errorf("%v, want ErrCorrupt", err)
		}
	}
	if s := r.snapshot(id); s.Location != spool.Corrupt {
		t.Errorf("it is %v now", s.Location)
	}
	if err := run.Remove(t.Context(), id, "uid 0"); err != nil {
		t.Error(err)
	}
	if err := run.Remove(t.Context(), id, "uid 0"); !errors.Is(err, spool.ErrGone) {
		t.Errorf("again: %v, want ErrGone", err)
	}
}

// TestPassOf tries the messages that are named and leaves the others.
func TestPassOf(t *testing.T) {
	r := newRig(t)
	_, id := r.waiting()
	r.mailer.answer = nil
	r.mail("carol@us.example", "alice")
	if err := NewRunner(r.o).PassOf(t.Context(), []spool.ID{id}, false); err != nil {
		t.Fatal(err)
	}
	r.want("active: carol@us.example -> alice pending")
	r.wantBox("bob", 1)
}

// answer changes what the mailer says.
func (r *rig) answer(f func(string) (local.Result, bool)) {
	r.mailer.mu.Lock()
	defer r.mailer.mu.Unlock()
	r.mailer.answer = f
}

// gone waits until a message has left the queue.
func (r *rig) gone(id spool.ID) {
	r.t.Helper()
	if !testenv.Eventually(func() bool { _, err := r.queue.Read(id); return errors.Is(err, spool.ErrGone) }) {
		r.t.Errorf("%s is in the queue still\nlog:\n%s", id, r.log)
	}
}
