package deliver

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/schedule"
	"postoffice/internal/testenv"
	"postoffice/spool/envelope"
)

// clocked makes alice's mailbox defer and returns the times of the attempts.
func (r *rig) clocked() func() []time.Time {
	var mu sync.Mutex
	var at []time.Time
	r.mailer.answer = func(user string) (local.Result, bool) {
		mu.Lock()
		at = append(at, time.Now())
		mu.Unlock()
		return later("locked"), true
	}
	return func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return append([]time.Time(nil), at...)
	}
}

func TestRetryTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		attempts := r.clocked()
		run, stop := r.start()
		defer stop()
		run.Wake(r.mail("s@x.example", "alice"))
		begun := time.Now()
		time.Sleep(6 * time.Hour) // of the bubble's clock
		synctest.Wait()
		last := begun
		for i, at := range attempts() {
			want := []time.Duration{0, 5, 10, 20, 40, 60, 60, 60, 60}[min(i, 8)] * time.Minute
			if d := at.Sub(last); d < want*4/5 || d > want*6/5+time.Second {
				t.Errorf("attempt %d came after %v, want %v give or take a fifth", i+1, d, want)
			}
			last = at
		}
		if n := len(attempts()); n < 8 || n > 11 {
			t.Errorf("%d attempts in 6 hours, want about 9", n)
		}
		r.wantLog("delivery deferred", "to=<alice>", "status=deferred", "dsn=4.2.0", "attempt=1", "next=", "locked")
	})
}

// A runner that starts anew goes on where the notes are.
func TestScheduleFromNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		attempts := r.clocked()
		_, stop := r.start()
		id := r.mail("s@x.example", "alice") // found by the scan or not: not woken
		synctest.Wait()
		stop()
		run, stop := r.start()
		run.Wake(id)
		time.Sleep(2 * busyWait) // the cleaning at the start may hold it
		synctest.Wait()
		n := len(attempts())
		stop()
		for range 3 {
			_, stop = r.start()
			synctest.Wait()
			stop()
		}
		if got := len(attempts()); got != n {
			t.Errorf("%d attempts after restarts within a minute, want %d", got, n)
		}
		_, stop = r.start()
		time.Sleep(6*time.Minute + time.Second)
		synctest.Wait()
		stop()
		if got := len(attempts()); got != n+1 {
			t.Errorf("%d attempts after 6 minutes, want %d", got, n+1)
		}
	})
}

func TestRunNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		attempts := r.clocked()
		run, stop := r.start()
		defer stop()
		synctest.Wait() // the cleaning at the start may hold a message
		a, b := r.mail("s@x.example", "alice"), r.mail("s@x.example", "bob")
		run.Wake(a)
		run.Wake(b)
		synctest.Wait()
		for want := 2; want <= 8; want += 2 {
			if got := len(attempts()); got != want {
				t.Fatalf("%d attempts, want %d", got, want)
			}
			time.Sleep(time.Second)
			run.RunNow()
			synctest.Wait()
		}
		c := r.mail("s@x.example", "carol") // nobody told the runner
		time.Sleep(time.Second)
		run.RunNow()
		synctest.Wait()
		if len(r.snapshot(c).Notes) != 1 {
			t.Errorf("a message found by RunNow was not tried")
		}
		time.Sleep(time.Second)
		run.Wake(a)
		synctest.Wait()
		if n := len(r.snapshot(a).Notes); n != 7 {
			t.Errorf("%d attempts after Wake, want 7", n)
		}
	})
}

// Attempts by hand are counted, but the wait for the next one grows by those
// alone whose time had come.
func TestAttemptsByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		attempts := r.clocked()
		run, stop := r.start()
		id := r.mail("s@x.example", "alice")
		run.Wake(id)
		synctest.Wait()
		for range 5 {
			time.Sleep(time.Second)
			run.RunNow()
			synctest.Wait()
			time.Sleep(time.Second)
			run.Wake(id)
			synctest.Wait()
		}
		stop()
		time.Sleep(time.Second)
		r.pass() // by another process
		notes := r.snapshot(id).Notes
		last := notes[len(notes)-1]
		if len(attempts()) != 12 || last.Attempt != 12 {
			t.Errorf("%d attempts made, %d noted, want 12", len(attempts()), last.Attempt)
		}
		if wait := last.Next.Sub(last.Time); wait > 6*time.Minute {
			t.Errorf("the next one comes after %v, want 5 minutes give or take a fifth", wait)
		}
		_, stop = r.start()
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		stop()
		notes = r.snapshot(id).Notes
		last = notes[len(notes)-1]
		if wait := last.Next.Sub(last.Time); len(notes) != 13 || wait < 8*time.Minute || wait > 12*time.Minute {
			t.Errorf("after attempt %d comes the next one in %v, want 10 minutes give or take a fifth", len(notes), wait)
		}
	})
}

// A message that nobody told of is found within a quarter of an hour.
func TestRescan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, stop := r.start()
		defer stop()
		synctest.Wait()
		r.mail("s@x.example", "alice")
		time.Sleep(rescanEvery + time.Minute)
		synctest.Wait()
		r.wantBox("alice", 1)
	})
}

// A40: the age counts only after an attempt, and a message never tried is
// never returned.
func TestA40TriedBeforeReturned(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	r.mailText(plain, r.now().Add(-30*24*time.Hour), "s@x.example", "alice", "a@[192.0.2.1]")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	if len(sink.Messages()) != 1 {
		t.Error("a message of 30 days ago was not delivered")
	}
}

// A40: a host known to be down is no attempt of a message that has none.
func TestA40DownIsNoAttempt(t *testing.T) {
	r := newRig(t)
	first := r.mail("s@x.example", "a@[192.0.2.1]")
	run := r.pass()
	old := r.mailText(plain, r.now().Add(-30*24*time.Hour), "s@x.example", "b@[192.0.2.1]")
	run.Wake(old)
	if err := run.Pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := r.snapshot(old)
	if len(s.Notes) != 1 || s.Recipients[0].State != envelope.Pending {
		t.Errorf("the old message has %d notes and is %v, want one and pending", len(s.Notes), s.Recipients[0].State)
	}
	claimed, err := r.queue.Claim(first) // or it might be the one that is tried
	if err != nil {
		t.Fatal(err)
	}
	defer claimed.Close()
	r.pass() // a new runner tries it
	if _, err := r.queue.Read(old); err == nil {
		t.Error("the old message is still there after a real attempt")
	}
	if n := r.network.dialled("192.0.2.1:25"); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestA40ClockJumps(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump time.Duration
	}{{"forward", 365 * 24 * time.Hour}, {"back", -365 * 24 * time.Hour}, {"to 1970", -56 * 365 * 24 * time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.setClock(26 * 365 * 24 * time.Hour) // the bubble's year is 2000
				attempts := r.clocked()
				run, stop := r.start()
				id := r.mail("s@x.example", "alice")
				run.Wake(id)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				r.setClock(tt.jump)
				before := len(attempts())
				time.Sleep(schedule.MaxDelay + time.Minute)
				synctest.Wait()
				if n := len(attempts()); n <= before {
					t.Errorf("no attempt within one interval of the jump")
				}
				stop()
				if s := r.snapshot(id); s.Recipients[0].State != envelope.Pending {
					t.Errorf("after the jump it is %v", s.Recipients[0].State)
				}
				// A new runner does not believe notes of a clock that was ahead.
				before = len(attempts())
				if tt.jump < 0 {
					_, stop = r.start()
					time.Sleep(schedule.MaxDelay + time.Minute)
					synctest.Wait()
					stop()
					if n := len(attempts()); n <= before {
						t.Errorf("no attempt within one interval of the restart")
					}
				}
			})
		})
	}
}

// TestExpiryAtOnce: a negative limit returns what the first attempt couldn't
// deliver.
func TestExpiryAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.o.QReturn = -1
		run, stop := r.start()
		defer stop()
		run.Wake(r.mail("bob@us.example", "a@[192.0.2.1]"))
		time.Sleep(time.Minute)
		synctest.Wait()
		r.want()
		text := r.wantBox("bob", 1)[0]
		for _, want := range []string{"could not be delivered at once, and is given up now", "connection refused", "Status: 4.4.7"} {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("no %q in the bounce:\n%s", want, text)
			}
		}
	})
}

// R2: a message older than qreturn goes back, and the queue entry is gone.
func TestR2Expiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		run, stop := r.start()
		defer stop()
		run.Wake(r.mail("bob@us.example", "a@[192.0.2.1]"))
		time.Sleep(3*24*time.Hour - 90*time.Minute)
		synctest.Wait()
		r.wantBox("bob", 0)
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		r.want()
		text := r.wantBox("bob", 1)[0]
		for _, want := range []string{"given up", "for 3 days", "connection refused", "Status: 4.4.7", "Action: failed"} {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("no %q in the bounce:\n%s", want, text)
			}
		}
		r.wantLog("message bounced", "status=expired")
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			return testenv.Action{Hang: ev.Verb == "."}
		}})
		run, stop := r.start()
		hung := r.mail("s@x.example", "a@[192.0.2.1]")
		run.Wake(hung)
		time.Sleep(time.Second)
		synctest.Wait()
		if !run.Active(hung) {
			t.Error("the message is not active")
		}
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("the runner stopped after %v, want 20 s at most", took)
		}
		s := r.snapshot(hung)
		if s.Recipients[0].State != envelope.Pending || len(s.Notes) != 0 {
			t.Errorf("a broken off transaction left %v and %d notes", s.Recipients[0].State, len(s.Notes))
		}
	})
}
