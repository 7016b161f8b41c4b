package deliver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/spool"
)

// Programs that never end hold their own places and nothing else: four of one
// user, 32 in all (A39).
func TestA39Programs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.users.names = append(r.users.names, "eve")
		started := make(chan string, 1000)
		free := make(chan struct{})
		r.mailer.running = func(j local.Job) local.Result {
			started <- j.User
			<-free
			return local.Result{Status: local.Delivered}
		}
		r.mailer.forwards = map[string]string{}
		for i := range 12 {
			user := fmt.Sprintf("u%d", i)
			r.users.names = append(r.users.names, user)
			r.mailer.forwards[user] = "\"|slow\""
		}
		run, stop := r.start()
		for range 10 {
			for i := range 12 {
				run.Wake(r.mail("s@x.example", fmt.Sprintf("u%d", i)))
			}
		}
		synctest.Wait()
		by := map[string]int{}
		for range len(started) {
			by[<-started]++
		}
		all := 0
		for user, n := range by {
			if all += n; n > runsOfUser {
				t.Errorf("%d of %s at once, want %d", n, user, runsOfUser)
			}
		}
		if all != runsAtOnce {
			t.Errorf("%d at once, want %d", all, runsAtOnce)
		}
		run.Wake(r.mail("s@x.example", "eve"))
		synctest.Wait()
		r.wantBox("eve", 1)
		close(free)
		<-time.After(time.Minute) // what the clean-up held just then is looked at again in a moment
		synctest.Wait()
		r.want()
		if n := len(r.mailer.jobs()); n != 120 {
			t.Errorf("%d programs ran, want 120", n)
		}
		stop()
	})
}

// One message for many items of one user runs them all, a few at a time.
func TestManyItems(t *testing.T) {
	r := newRig(t)
	text := "many: alice"
	for i := range 30 {
		text += fmt.Sprintf(", \"|prog %d\"", i)
	}
	r.alias(text + "\n")
	r.mail("s@x.example", "many")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	if n := len(r.mailer.jobs()); n != 30 {
		t.Errorf("%d programs ran, want 30", n)
	}
}

// The results of programs that ended while the server was dead count as those
// of mailboxes; a list is no delivery and has none.
func TestApplyItemResults(t *testing.T) {
	r := newRig(t)
	r.alias("p: \"|x\", \"|y\"\n")
	r.mailer.running = func(local.Job) local.Result { return later("busy") }
	id := r.mail("s@x.example", "p")
	r.pass()
	r.mailer.ran, r.mailer.running = nil, nil
	run := NewRunner(r.o)
	run.ApplyResults(context.Background(), []TokenResult{{token(id, spool.Key{Block: 1}), local.Result{Status: local.Delivered}}})
	if err := run.Pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.want()
	r.wantJobs(itemName(t, "nobody", "alias", "p", "|y"))
}

// A mailbox that can't be looked at for its .forward waits, also where another
// spelling has brought the message into it.
func TestForwardsUnknown(t *testing.T) {
	r := newRig(t)
	r.alias("keep: \\alice\n")
	o := &forwardsFail{mailer: r.mailer}
	r.o.Local = o
	id := r.mail("s@x.example", "keep", "alice")
	r.pass()
	r.wantBox("alice", 1)
	states := map[string]spool.State{}
	for _, rc := range r.snapshot(id).Recipients {
		states[rc.Path.String()+string(rune('0'+rc.Kind))] = rc.State
	}
	if states["alice1"] != spool.Delivered || states["alice0"] != spool.Pending {
		t.Errorf("states %v", states)
	}
	r.o.Local = r.mailer
	r.pass()
	r.want()
	r.wantBox("alice", 1)
}

// forwardsFail is a mailer that knows of no .forward.
type forwardsFail struct{ *mailer }

func (forwardsFail) Forwards(context.Context, string, string) (bool, error) {
	return false, errors.New("home directory not there")
}
