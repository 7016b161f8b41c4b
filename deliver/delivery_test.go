package deliver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/schedule"
	"postoffice/spool/envelope"
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
			return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
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
		each, inAll := schedule.Program.Places()
		all := 0
		for user, n := range by {
			if all += n; n > each {
				t.Errorf("%d of %s at once, want %d", n, user, each)
			}
		}
		if all != inAll {
			t.Errorf("%d at once, want %d", all, inAll)
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

// Programs that never end, of as many users as have all places together, hold up
// others' for half a minute, and not again: 128 of them at most (A39).
func TestA39LongPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		free, begun, ended := make(chan struct{}), make(chan bool, 1000), make(chan bool, 1000)
		r.mailer.running = func(j local.Job) local.Result {
			if j.User == "eve" {
				ended <- true
			} else {
				begun <- true
				<-free
			}
			return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
		}
		r.users.names, r.mailer.forwards = append(r.users.names, "eve"), map[string]string{"eve": "\"|quick\""}
		run, stop := r.start()
		for i := range 40 {
			user := fmt.Sprintf("u%d", i)
			r.users.names, r.mailer.forwards[user] = append(r.users.names, user), "\"|slow\""
		}
		wake := func(from, to int) {
			for i := range 5 * (to - from) {
				run.Wake(r.mail("s@x.example", fmt.Sprintf("u%d", from+i/5)))
			}
			synctest.Wait()
		}
		_, all := schedule.Program.Places()
		wake(0, 8)
		run.Wake(r.mail("s@x.example", "eve"))
		synctest.Wait()
		if len(begun) != all || len(ended) != 0 {
			t.Errorf("at first %d and %d of another, want %d and 0", len(begun), len(ended), all)
		}
		<-time.After(programWait)
		synctest.Wait()
		if len(ended) != 1 {
			t.Errorf("another's program did not run after %v", programWait)
		}
		wake(8, 15)
		run.Wake(r.mail("s@x.example", "eve"))
		synctest.Wait()
		if len(begun) != all+28 || len(ended) != 2 {
			t.Errorf("then %d and %d of another, want %d and 2", len(begun), len(ended), all+28)
		}
		wake(15, 40)
		<-time.After(3 * programWait)
		synctest.Wait()
		if len(begun) != 128 {
			t.Errorf("%d at once, want 128 at most", len(begun))
		}
		close(free)
		<-time.After(time.Minute)
		synctest.Wait()
		r.want()
		if n := len(begun) + len(ended); n != 202 {
			t.Errorf("%d programs ran, want 202", n)
		}
		stop()
	})
}

// Commands of option mailer that never end, ten messages for each of ten users,
// keep neither root's mailbox nor another user's from their mail: a user has four
// places. Those of as many users as have all places hold up others' for half a
// minute (A39).
func TestA39HungMailers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.o.Mailer = "/usr/bin/procmail"
		free, begun, ended := make(chan struct{}), make(chan bool, 1000), make(chan bool, 1000)
		r.mailer.running = func(j local.Job) local.Result {
			if j.User == "eve" {
				ended <- true
			} else {
				begun <- true
				<-free
			}
			return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
		}
		r.users.names = append(r.users.names, "eve")
		for i := range 20 {
			r.users.names = append(r.users.names, fmt.Sprintf("u%d", i))
		}
		run, stop := r.start()
		wake := func(from, to int) {
			for i := range 10 * (to - from) {
				run.Wake(r.mail("s@x.example", fmt.Sprintf("u%d", from+i/10)))
			}
			synctest.Wait()
			run.Wake(r.mail("s@x.example", "eve"))
			run.Wake(r.mail("s@x.example", "root"))
			<-time.After(2 * time.Second)
			synctest.Wait()
		}
		wake(0, 10)
		if len(begun) != 40 || len(ended) != 1 {
			t.Errorf("%d commands hang and %d of another user's ran within 2 s, want 40 and 1", len(begun), len(ended))
		}
		r.wantBox("root", 1)
		wake(10, 20)
		_, all := schedule.Mailer.Places()
		if len(begun) != all || len(ended) != 1 {
			t.Errorf("%d commands hang and %d of another user's ran, want %d and 1", len(begun), len(ended), all)
		}
		r.wantBox("root", 2)
		<-time.After(programWait)
		synctest.Wait()
		if len(begun) != 80 || len(ended) != 2 {
			t.Errorf("after %v %d commands hang and %d of another user's ran, want 80 and 2", programWait, len(begun), len(ended))
		}
		close(free)
		<-time.After(time.Minute)
		synctest.Wait()
		r.want()
		stop()
	})
}

// A program of an alias that never ends holds four places: those of other aliases,
// which run as the same user, go on (A39).
func TestA39AliasPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.alias("slow: \"|slow\"\nquick: \"|quick\"\n")
		free, begun, ended := make(chan struct{}), make(chan bool, 100), make(chan bool, 100)
		r.mailer.running = func(j local.Job) local.Result {
			if j.Item.Name == "slow" {
				begun <- true
				<-free
			} else {
				ended <- true
			}
			return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
		}
		run, stop := r.start()
		for range 10 {
			run.Wake(r.mail("s@x.example", "slow"))
		}
		synctest.Wait()
		run.Wake(r.mail("s@x.example", "quick"))
		synctest.Wait()
		if each, _ := schedule.Program.Places(); len(begun) != each || len(ended) != 1 {
			t.Errorf("%d of one alias at once and %d of another, want %d and 1", len(begun), len(ended), each)
		}
		close(free)
		<-time.After(time.Minute)
		synctest.Wait()
		r.want()
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
	run.ApplyResults(context.Background(), []local.TokenResult{{Token: token(id, envelope.Key{Block: 1}), Result: local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}}})
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
	r.alias("keep: \\alice\nother: alice\n")
	o := &forwardsFail{mailer: r.mailer}
	r.o.Local = o
	id := r.mail("s@x.example", "keep", "other")
	r.pass()
	r.wantBox("alice", 1)
	states := map[string]envelope.State{}
	for _, rc := range r.snapshot(id).Recipients {
		states[rc.Path.String()+string(rune('0'+rc.Kind))] = rc.State
	}
	if states["alice1"] != envelope.Delivered || states["alice0"] != envelope.Pending {
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
