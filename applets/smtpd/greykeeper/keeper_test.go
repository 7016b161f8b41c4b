package greykeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/dbm/store"
	"postoffice/internal/smtp"
)

// stores are four empty ones.
func stores() Stores {
	return Stores{new(greylist.Memory), new(greylist.Memory), new(greylist.Memory), new(greylist.Memory)}
}

var on = Options{Mode: On, Rules: greylist.Rules{Delay: time.Hour}, Age: 14 * 24 * time.Hour}

// events is a log that can be looked at.
type events struct {
	mu   sync.Mutex
	text strings.Builder
}

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(p)
}

// take is what came since it was called last.
func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.text.Reset()
	return e.text.String()
}

func (e *events) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(e, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func newKeeper(s Stores, o Options) *Keeper {
	return New(s, o, slog.New(slog.DiscardHandler))
}

func contact(sender, client string) Contact {
	c := Contact{Client: netip.MustParseAddr(client)}
	if sender != "" {
		p, err := smtp.ParseAddress(sender)
		if err != nil {
			panic(err)
		}
		c.Sender = p
	}
	return c
}

// want asks and compares.
func want(t *testing.T, k *Keeper, c Contact, verdict greylist.Verdict, why greylist.Why) greylist.Answer {
	t.Helper()
	a := k.Ask(t.Context(), c)
	if a.Verdict != verdict || a.Why != why {
		t.Errorf("<%s> from %s: %d, %v; want %d, %v", c.Sender, c.Client, a.Verdict, a.Why, verdict, why)
	}
	return a
}

// begin runs a keeper until the test ends.
func begin(t *testing.T, k *Keeper) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { k.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		k := newKeeper(s, on)
		c := contact("Joe@Far.example", "192.0.2.1")
		a := want(t, k, c, greylist.Wait, greylist.FirstTime)
		if a.Wait != time.Hour || a.Key != "joe@[192.0.2.1]" {
			t.Errorf("first contact: %+v", a)
		}
		time.Sleep(20 * time.Minute)
		if a := want(t, k, c, greylist.Wait, greylist.TooEarly); a.Wait != 40*time.Minute {
			t.Errorf("after 20 minutes: %v are left", a.Wait)
		}
		want(t, k, contact("joe@else.example", "192.0.2.1"), greylist.Wait, greylist.TooEarly) // the original's key has no domain
		want(t, k, contact("joe@far.example", "192.0.2.2"), greylist.Wait, greylist.FirstTime)
		time.Sleep(40 * time.Minute)
		want(t, k, c, greylist.Pass, greylist.CameBack)
		want(t, k, c, greylist.Pass, greylist.Known)

		k.Pushed(c, a)
		k.Flush(t.Context())
		want(t, k, c, greylist.Wait, greylist.TooEarly)
		time.Sleep(time.Hour)
		want(t, k, c, greylist.Pass, greylist.CameBack)
	})
}

// set writes a record as authexpire does.
func set(t *testing.T, s greylist.Store, key string, r greylist.Record) {
	t.Helper()
	if err := s.Update(t.Context(), key, func(string, bool) (string, bool) { return r.String(), true }); err != nil {
		t.Fatal(err)
	}
}

// TestByHand: what was decided by hand holds for the key and for the whole sender, and
// neither an unknown recipient nor junk undoes it (B31, R61).
func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		k := newKeeper(s, on)
		now := time.Now()
		set(t, s.Records, "joe@far.example", greylist.Approve(greylist.Record{}, false, now))
		set(t, s.Records, "amy@[192.0.2.1]", greylist.Approve(greylist.Record{}, false, now))
		set(t, s.Records, "eve@[192.0.2.1]", greylist.Forbid(now))
		set(t, s.Records, "bob@far.example", greylist.Forbid(now))
		want(t, k, contact("bob@else.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		for range 50 {
			for _, sender := range []string{"joe", "amy", "eve", "bob"} {
				c := contact(sender+"@far.example", "192.0.2.1")
				a := k.Ask(t.Context(), c)
				if want := map[string]greylist.Verdict{"eve": greylist.Never, "bob": greylist.Never}[sender]; a.Verdict != want {
					t.Fatalf("%s: %+v", sender, a)
				}
				k.Pushed(c, a)
				k.Junk(c, a)
				k.Flush(t.Context())
			}
			time.Sleep(time.Hour)
		}
		text, _, _ := s.Records.Get(t.Context(), "eve@[192.0.2.1]")
		if !strings.HasPrefix(text, "* ") {
			t.Errorf("the forbidden key has the record %q (R61)", text)
		}
	})
}

// TestAtOnce: 20 sessions with one key hear one date, and then all pass.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(stores(), on)
		c := contact("joe@far.example", "192.0.2.1")
		ask := func() map[string]int {
			var mu sync.Mutex
			var work sync.WaitGroup
			all := map[string]int{}
			for range 20 {
				work.Go(func() {
					a := k.Ask(context.Background(), c)
					mu.Lock()
					defer mu.Unlock()
					all[fmt.Sprint(a.Verdict, a.Wait, a.Record.Allowed, a.Why)]++
				})
			}
			work.Wait()
			return all
		}
		first := ask()
		if len(first) != 2 {
			t.Errorf("20 at once: %v, want one first contact and 19 that came too early, until one time", first)
		}
		time.Sleep(time.Hour)
		if second := ask(); len(second) != 2 {
			t.Errorf("20 at once after an hour: %v, want one that came back and 19 that have", second)
		}
	})
}

// broken is a store that fails.
type broken struct {
	greylist.Store
	err error // nil: it answers
	ask chan struct{}
}

func (b *broken) Get(ctx context.Context, key string) (string, bool, error) {
	if b.ask != nil {
		<-ctx.Done()
		return "", false, ctx.Err()
	}
	if b.err != nil {
		return "", false, b.err
	}
	return b.Store.Get(ctx, key)
}

// TestStoreFailed: mail is taken or deferred, as the option says; the log has a line when
// that begins and one when it is over; and whoever had passed still does (A65).
func TestStoreFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log events
		s := stores()
		records := &broken{Store: s.Records}
		s.Records = records
		k := New(s, on, log.logger())
		c := contact("joe@far.example", "192.0.2.1")
		want(t, k, c, greylist.Wait, greylist.FirstTime)
		records.err = errors.New("disk on fire")
		for range 5 {
			want(t, k, c, greylist.Pass, greylist.Unstored)
		}
		if got := log.take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "greylist not asked") || !strings.Contains(got, "disk on fire") || !strings.Contains(got, "is taken meanwhile") {
			t.Errorf("the log says %q", got)
		}
		deferring := on
		deferring.Defer = true
		k.Use(deferring)
		want(t, k, c, greylist.Wait, greylist.Unstored)
		records.err = nil
		time.Sleep(30 * time.Minute)
		if a := want(t, k, c, greylist.Wait, greylist.TooEarly); a.Wait != 30*time.Minute {
			t.Errorf("after the failure %v are left, want 30m", a.Wait)
		}
		if got := log.take(); got != "level=INFO msg=\"greylist asked again\"\n" {
			t.Errorf("the log says %q", got)
		}
	})
}

// fullStore is a store that has no room: it can be read.
type fullStore struct{ greylist.Store }

func (f fullStore) Update(ctx context.Context, key string, change func(string, bool) (string, bool)) error {
	old, there, err := f.Get(ctx, key)
	if err != nil {
		return err
	}
	if now, keep := change(old, there); keep == there && now == old {
		return nil
	}
	return store.ErrFull
}

// TestStoreFull: while nothing can be written, what is known of senders holds, whatever
// becomes of those who are new; and a null sender that would wait anew counts as new.
func TestStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		o := on
		o.Defer, o.Rules.NullWindow = true, 10*time.Minute
		k := newKeeper(s, o)
		passed, waits, null := contact("joe@far.example", "192.0.2.1"), contact("amy@far.example", "192.0.2.1"), contact("", "192.0.2.1")
		set(t, s.Records, "eve@[192.0.2.1]", greylist.Forbid(time.Now()))
		set(t, s.Records, "bob@[192.0.2.1]", greylist.Approve(greylist.Record{}, false, time.Now()))
		want(t, k, passed, greylist.Wait, greylist.FirstTime)
		want(t, k, null, greylist.Wait, greylist.FirstTime)
		time.Sleep(time.Hour)
		want(t, k, passed, greylist.Pass, greylist.CameBack)
		want(t, k, waits, greylist.Wait, greylist.FirstTime)
		time.Sleep(10 * time.Minute)
		s.Records = fullStore{s.Records}
		k = newKeeper(s, o)
		want(t, k, passed, greylist.Pass, greylist.Known)
		if a := want(t, k, waits, greylist.Wait, greylist.TooEarly); a.Wait != 50*time.Minute || a.Key != "amy@[192.0.2.1]" {
			t.Errorf("who waits is told %+v", a)
		}
		want(t, k, contact("eve@far.example", "192.0.2.1"), greylist.Never, greylist.Forbidden)
		want(t, k, contact("bob@far.example", "192.0.2.1"), greylist.Pass, greylist.Allowed)
		want(t, k, contact("new@far.example", "192.0.2.1"), greylist.Wait, greylist.Unstored)
		time.Sleep(50 * time.Minute)
		want(t, k, waits, greylist.Pass, greylist.CameBack)
		time.Sleep(3 * time.Hour)
		want(t, k, null, greylist.Wait, greylist.Unstored)
	})
}

// TestStoreHangs: nobody waits for a store longer than storeWait.
func TestStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		s.Records = &broken{Store: s.Records, ask: make(chan struct{})}
		k := newKeeper(s, on)
		began := time.Now()
		want(t, k, contact("joe@far.example", "192.0.2.1"), greylist.Pass, greylist.Unstored)
		if took := time.Since(began); took != storeWait {
			t.Errorf("it took %v, want %v", took, storeWait)
		}
	})
}

// TestStageOver: a contact for whose stage no time is left is judged as any other: neither is
// it let through, nor is the store any the worse for it.
func TestStageOver(t *testing.T) {
	var log events
	k := New(stores(), on, log.logger())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := k.Ask(ctx, contact("joe@far.example", "192.0.2.1")); a.Verdict != greylist.Wait || a.Why != greylist.FirstTime {
		t.Errorf("%v, %v, want a first contact that waits", a.Verdict, a.Why)
	}
	if got := log.take(); got != "" {
		t.Errorf("the log says %q", got)
	}
}

// TestReleased: a server that has let go of the store lets everybody through.
func TestReleased(t *testing.T) {
	o := on
	o.Defer = true
	k := newKeeper(stores(), o)
	k.Release()
	want(t, k, contact("joe@far.example", "192.0.2.1"), greylist.Pass, greylist.Exempt)
}

func TestExempt(t *testing.T) {
	o := on
	o.ExemptClients = func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.7") }
	o.ExemptSenders = []string{"joe@far.example", "@good.example"}
	o.ExemptRecipients = []string{"postmaster@us.example", "@open.example"}
	k := newKeeper(stores(), o)
	for _, tt := range []struct {
		sender, client string
		exempt         bool
	}{
		{"joe@far.example", "192.0.2.1", true},
		{"JOE@Far.Example", "192.0.2.1", true},
		{"amy@far.example", "192.0.2.1", false},
		{"amy@Good.example", "192.0.2.1", true},
		{"amy@very.good.example", "192.0.2.1", false},
		{"amy@far.example", "192.0.2.7", true},
		{"amy@far.example", "127.0.0.1", true},
		{"amy@far.example", "::1", true},
		{"", "192.0.2.1", false},
	} {
		if a := k.Ask(t.Context(), contact(tt.sender, tt.client)); (a.Why == greylist.Exempt) != tt.exempt {
			t.Errorf("<%s> from %s: %v, want exempt %v", tt.sender, tt.client, a.Why, tt.exempt)
		}
	}
	for _, tt := range []struct {
		to     string
		exempt bool
	}{
		{"postmaster@us.example", true},
		{"Postmaster@us.example any@open.example", true},
		{"postmaster@us.example joe@us.example", false},
	} {
		var all []smtp.Recipient
		for to := range strings.FieldsSeq(tt.to) {
			all = append(all, smtp.Recipient{Path: contact(to, "192.0.2.1").Sender})
		}
		if got := k.ExemptAll(all); got != tt.exempt {
			t.Errorf("%s: exempt %v, want %v", tt.to, got, tt.exempt)
		}
	}
}

// TestWritten: who was written to passes at once, if the option says so; one user can't
// fill the list.
func TestWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		k := newKeeper(s, on)
		to := []smtp.Recipient{{Path: contact("Friend@far.example", "192.0.2.1").Sender}}
		k.Sent("joe", to)
		k.Flush(t.Context())
		want(t, k, contact("friend@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		o := on
		o.Written = true
		k.Use(o)
		k.Sent("joe", to)
		k.Flush(t.Context())
		want(t, k, contact("friend@FAR.example", "192.0.2.1"), greylist.Pass, greylist.Written)
		want(t, k, contact("stranger@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)

		many := make([]smtp.Recipient, 1500)
		for i := range many {
			many[i].Path = smtp.Path{Local: fmt.Sprint("m", i), Domain: "far.example"}
		}
		k.Sent("list", many)
		for range maxNotes - 1 {
			k.Sent("joe", to)
		}
		k.Flush(t.Context())
		if n := s.Written.(*greylist.Memory).Len(); n != 1+len(many) {
			t.Errorf("%d addresses are written down, want %d of one message and 1", n, len(many))
		}

		for i := range 2 * maxWritten {
			k.Sent("amy", []smtp.Recipient{{Path: smtp.Path{Local: fmt.Sprint("u", i), Domain: "far.example"}}})
			k.Flush(t.Context())
		}
		if n := s.Written.(*greylist.Memory).Len(); n != maxWritten+1+len(many) {
			t.Errorf("%d addresses are written down, want %d of amy's, %d of one message and 1 of joe's", n, maxWritten, len(many))
		}
	})
}

// TestAfter: a client passes at once with new senders, once it has brought so much good mail,
// one an hour; junk takes that back.
func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := on
		o.After = 3
		k := newKeeper(stores(), o)
		c := contact("joe@far.example", "192.0.2.1")
		want(t, k, c, greylist.Wait, greylist.FirstTime)
		for range 3 {
			time.Sleep(2 * time.Hour)
			for range 5 {
				k.Taken(c, k.Ask(t.Context(), c))
				k.Flush(t.Context())
			}
		}
		other := contact("amy@else.example", "192.0.2.1")
		a := want(t, k, other, greylist.Pass, greylist.Trusted)
		want(t, k, contact("amy@else.example", "192.0.2.2"), greylist.Wait, greylist.FirstTime)
		k.Junk(other, a)
		k.Flush(t.Context())
		want(t, k, other, greylist.Wait, greylist.FirstTime)
	})
}

// TestManySenders: what one address brings beyond its share has one record, and waits as
// long as others do.
func TestManySenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		k := newKeeper(s, on)
		for i := range 3 * senderRate {
			if a := k.Ask(t.Context(), contact(fmt.Sprintf("u%d@far.example", i), "192.0.2.1")); a.Verdict != greylist.Wait {
				t.Fatalf("sender %d: %+v", i, a)
			}
		}
		if n := s.Records.(*greylist.Memory).Len(); n > senderRate+1 {
			t.Errorf("%d records of one address, want %d at most", n, senderRate+1)
		}
		want(t, k, contact("joe@far.example", "198.51.100.1"), greylist.Wait, greylist.FirstTime)
		time.Sleep(time.Hour)
		want(t, k, contact(fmt.Sprintf("u%d@far.example", 3*senderRate-1), "192.0.2.1"), greylist.Pass, greylist.CameBack)
	})
}

// TestShadow: the answers are those of a greylist that is on, and are counted apart.
func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := on
		o.Mode = Shadow
		s := stores()
		k := newKeeper(s, o)
		want(t, k, contact("joe@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		time.Sleep(2 * time.Hour)
		want(t, k, contact("joe@far.example", "192.0.2.1"), greylist.Pass, greylist.CameBack)
		k.Flush(t.Context())
		sum, err := Sum(t.Context(), s.Hours, time.Now().Add(-24*time.Hour), time.Now().Add(time.Hour))
		if want := (greylist.Tally{Shadow: 1, Known: 1}); err != nil || sum != want {
			t.Errorf("counted: %q, %v, want %q", sum.String(), err, want.String())
		}
	})
}

// TestDay: each midnight the log says what became of strangers.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log events
		k := New(stores(), on, log.logger())
		begin(t, k)
		for i := range 10 {
			want(t, k, contact(fmt.Sprintf("u%d@far.example", i), "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		}
		time.Sleep(2 * time.Hour)
		for i := range 6 {
			want(t, k, contact(fmt.Sprintf("u%d@far.example", i), "192.0.2.1"), greylist.Pass, greylist.CameBack)
		}
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		got := log.take()
		if !strings.Contains(got, "msg=\"greylist counted\" real=6 median=1h5") && !strings.Contains(got, "msg=\"greylist counted\" real=6 median=2h") || !strings.Contains(got, "never=0 delayed=10") {
			t.Errorf("the log says %q, want 6 real senders, two hours, 10 delayed", got)
		}
		log.take()
		time.Sleep(3 * 24 * time.Hour)
		synctest.Wait()
		if got := log.take(); !strings.Contains(got, "never=4") {
			t.Errorf("the log of the days after says %q, want 4 that never came back", got)
		}
	})
}
