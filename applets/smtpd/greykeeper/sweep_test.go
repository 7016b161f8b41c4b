package greykeeper

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/greytest"
	"postoffice/internal/dbm/store"
)

// there reports whether a key has a record.
func there(t *testing.T, s greylist.Store, key string) bool {
	t.Helper()
	_, is, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// TestForget: who never came again is forgotten two days after its wait, who passed after
// greylist-age, and what was decided by hand never.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		k := newKeeper(s, on)
		begin(t, k)
		now := time.Now()
		set(t, s.Records, "allowed@[192.0.2.1]", greylist.Approve(greylist.Record{}, false, now))
		set(t, s.Records, "forbidden@[192.0.2.1]", greylist.Forbid(now))
		if err := s.Records.Update(t.Context(), "odd@[192.0.2.1]", func(string, bool) (string, bool) { return "what is this", true }); err != nil {
			t.Fatal(err)
		}
		want(t, k, contact("never@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		want(t, k, contact("real@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		time.Sleep(time.Hour)
		want(t, k, contact("real@far.example", "192.0.2.1"), greylist.Pass, greylist.CameBack)
		for _, step := range []struct {
			wait time.Duration
			left string
		}{
			{time.Hour, "allowed forbidden never real"},
			{45 * time.Hour, "allowed forbidden never real"},
			{3 * time.Hour, "allowed forbidden real"},
			{11*24*time.Hour + 20*time.Hour, "allowed forbidden real"},
			{24 * time.Hour, "allowed forbidden"},
			{400 * 24 * time.Hour, "allowed forbidden"},
		} {
			time.Sleep(step.wait)
			synctest.Wait()
			var left []string
			for _, name := range []string{"allowed", "forbidden", "never", "odd", "real"} {
				if there(t, s.Records, name+"@[192.0.2.1]") {
					left = append(left, name)
				}
			}
			if got := strings.Join(left, " "); got != step.left {
				t.Errorf("after %v more: %s, want %s", step.wait, got, step.left)
			}
		}
	})
}

// TestLongDelay: nobody is forgotten who is still to wait.
func TestLongDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := on
		o.Rules.Delay = 30 * 24 * time.Hour
		k := newKeeper(stores(), o)
		begin(t, k)
		c := contact("joe@far.example", "192.0.2.1")
		want(t, k, c, greylist.Wait, greylist.FirstTime)
		time.Sleep(30 * 24 * time.Hour)
		want(t, k, c, greylist.Pass, greylist.CameBack)
	})
}

// TestOtherTables: whom ours wrote to is forgotten after 90 days, good mail with the age.
func TestOtherTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores()
		o := on
		o.Written, o.After = true, 1
		k := newKeeper(s, o)
		begin(t, k)
		c := contact("joe@far.example", "192.0.2.1")
		a := greylist.Answer{Key: "joe@[192.0.2.1]"}
		k.Sent("amy", nil)
		k.Taken(c, a)
		if err := s.Written.Update(t.Context(), "joe@far.example", func(string, bool) (string, bool) { return fmt.Sprint(time.Now().Unix()), true }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(13 * 24 * time.Hour)
		synctest.Wait()
		if !there(t, s.Clients, "[192.0.2.1]") || !there(t, s.Written, "joe@far.example") {
			t.Error("forgotten after 13 days")
		}
		time.Sleep(2 * 24 * time.Hour)
		synctest.Wait()
		if there(t, s.Clients, "[192.0.2.1]") || !there(t, s.Written, "joe@far.example") {
			t.Error("after 15 days: want the client forgotten, and not the address")
		}
		time.Sleep(76 * 24 * time.Hour)
		synctest.Wait()
		if there(t, s.Written, "joe@far.example") {
			t.Error("the address is there after 91 days")
		}
	})
}

// bounded has little room.
func bounded(k *Keeper, n int) *Keeper {
	k.limits = limits{waiting: n, passed: n, clients: n, written: n, hours: n}
	return k
}

// TestBound: random senders from everywhere keep the records bounded; what was decided by
// hand stays, and so do those that have passed; a real sender among them still passes.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 2000
		s := stores()
		k := bounded(newKeeper(s, on), most)
		begin(t, k)
		now := time.Now()
		set(t, s.Records, "a@[192.0.2.1]", greylist.Approve(greylist.Record{}, false, now))
		set(t, s.Records, "z@[192.0.2.1]", greylist.Forbid(now))
		passed := contact("real@far.example", "198.51.100.1")
		want(t, k, passed, greylist.Wait, greylist.FirstTime)
		time.Sleep(time.Hour)
		want(t, k, passed, greylist.Pass, greylist.CameBack)
		later := contact("later@far.example", "198.51.100.1")
		began := time.Time{}
		n := 0
		for hour := range 48 {
			for range 500 {
				if n%50 == 0 {
					synctest.Wait() // a sweep that has begun is over: a server's takes a small part of its bound
				}
				a := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
				c := contact(fmt.Sprintf("r%d@spam.example", n), a.String())
				if got := k.Ask(t.Context(), c); got.Why != greylist.FirstTime {
					t.Fatalf("random sender %d: %v", n, got.Why)
				}
				n++
			}
			if hour == 20 {
				want(t, k, later, greylist.Wait, greylist.FirstTime)
				began = time.Now()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if !began.IsZero() && time.Since(began) == time.Hour {
				want(t, k, later, greylist.Pass, greylist.CameBack)
			}
			if left := s.Records.(*greylist.Memory).Len(); left > most+10 {
				t.Fatalf("%d records after %d random senders, want %d at most", left, n, most)
			}
		}
		want(t, k, passed, greylist.Pass, greylist.Known)
		for _, key := range []string{"a@[192.0.2.1]", "z@[192.0.2.1]"} {
			if !there(t, s.Records, key) {
				t.Errorf("%s is gone, which was decided by hand", key)
			}
		}
	})
}

// TestFull: where there is no room for one more, mail goes on as without a store.
func TestFull(t *testing.T) {
	k := bounded(newKeeper(stores(), on), 3)
	for i := range 3 {
		want(t, k, contact(fmt.Sprintf("r%d@far.example", i), "192.0.2.1"), greylist.Wait, greylist.FirstTime)
	}
	want(t, k, contact("r3@far.example", "192.0.2.1"), greylist.Pass, greylist.Unstored)
	want(t, k, contact("r1@far.example", "192.0.2.1"), greylist.Wait, greylist.TooEarly)
}

var randomSenders = flag.Int("random-senders", 2_000, "how many random senders a day TestRandomDays has come, which are as many as records are bounded to; 1000000 takes some minutes")

// TestRandomDays: random senders, each from an address of its own, write to the real store
// from 20 sessions, as many a day as records are bounded to, for two and a half days. All of
// them wait, the records stay within their bound, and so do the files. A sender who comes
// again in the middle of it passes.
func TestRandomDays(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		s := Stores{Records: db.Part("greylist/"), Clients: db.Part("greylist-clients/"), Written: db.Part("greylist-written/"), Hours: db.Part("greylist-hours/")}
		most := *randomSenders
		k := bounded(newKeeper(s, on), most)
		begin(t, k)
		real := contact("real@far.example", "198.51.100.1")
		const hours, sessions = 60, 20
		largest := int64(0)
		for hour := range hours {
			switch hour {
			case 30:
				want(t, k, real, greylist.Wait, greylist.FirstTime)
			case 31:
				want(t, k, real, greylist.Pass, greylist.CameBack)
			}
			var all sync.WaitGroup
			for i := range sessions {
				all.Go(func() {
					for n := hour*most/24 + i; n < (hour+1)*most/24; n += sessions {
						c := Contact{Client: netip.AddrFrom4([4]byte{11 + byte(n>>24), byte(n >> 16), byte(n >> 8), byte(n)})}
						c.Sender.Local, c.Sender.Domain = fmt.Sprint("r", n), "spam.example"
						if a := k.Ask(t.Context(), c); a.Why != greylist.FirstTime {
							t.Errorf("random sender %d: %v", n, a.Why)
							return
						}
					}
				})
			}
			all.Wait()
			if t.Failed() {
				return
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			largest = max(largest, octetsBelow(t, dir))
		}
		left := 0
		if err := s.Records.Scan(t.Context(), "", func(string, string) bool { left++; return true }); err != nil {
			t.Fatal(err)
		}
		if left > most || left < most/2 {
			t.Errorf("%d records are left of %d, want %d to %d", left, hours*most/24, most/2, most)
		}
		if bound := int64(most)*200 + 32<<20; largest > bound { // and the ballast, and logs
			t.Errorf("the files had %d MiB, want %d at most", largest>>20, bound>>20)
		}
		t.Logf("%d senders, of whom %d records are left; the files had %d MiB at most", hours*most/24, left, largest>>20)
	})
}

// octetsBelow is what the files of a directory have.
func octetsBelow(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // it was merged into another meanwhile
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return sum
}

// TestStore: the store that a server has is one.
func TestStore(t *testing.T) {
	greytest.Run(t, func(t *testing.T) greylist.Store {
		s, err := store.Open(t.TempDir(), store.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s.Part("greylist/")
	})
}

// TestProviders: ten providers send each message from a random one of 64 addresses, and try
// again after half an hour to two hours, mostly from another one. With pools each real
// sender passes within two tries behind its wait.
func TestProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := on
		o.Pool = func(_ context.Context, domain string, a netip.Addr) string {
			if provider := a.As4()[2]; fmt.Sprintf("p%d.example", provider) == domain {
				return domain
			}
			return ""
		}
		most := func(o Options) (worst int) {
			k := newKeeper(stores(), o)
			for i := range 200 {
				provider := byte(i % 10)
				c := contact(fmt.Sprintf("u%d@p%d.example", i, provider), "192.0.2.1")
				next := i
				tries := 0
				for waited := time.Duration(0); ; waited += 65 * time.Minute {
					c.Client = netip.AddrFrom4([4]byte{100, 64, provider, byte(next * 37 % 64)})
					next++
					if waited > 0 {
						tries++
					}
					if a := k.Ask(t.Context(), c); a.Verdict == greylist.Pass || tries > 70 {
						break
					}
					time.Sleep(65 * time.Minute)
				}
				worst = max(worst, tries)
			}
			return worst
		}
		if got := most(o); got > 2 {
			t.Errorf("with pools a real sender needed %d tries", got)
		}
		o.Pool = nil
		if got := most(o); got <= 2 {
			t.Errorf("without pools each real sender needed %d tries at most: the test shows nothing", got)
		}
	})
}

// TestPoolLater: who had a record before its pool was known keeps it.
func TestPoolLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(stores(), on)
		c := contact("joe@far.example", "192.0.2.1")
		want(t, k, c, greylist.Wait, greylist.FirstTime)
		o := on
		o.Pool = func(context.Context, string, netip.Addr) string { return "pool.example" }
		k.Use(o)
		time.Sleep(time.Hour)
		want(t, k, c, greylist.Pass, greylist.CameBack)
		if a := want(t, k, contact("amy@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime); a.Key != "amy@[pool.example]" {
			t.Errorf("a new sender's key is %q", a.Key)
		}
	})
}

// TestNullPool: a provider's reports come from other addresses each time, and count as one by
// the clients' names, with keys of whole senders too. Those of a client without a name don't.
func TestNullPool(t *testing.T) {
	for _, from := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := on
			o.Rules.From = from
			o.Pool = func(_ context.Context, domain string, a netip.Addr) string {
				if domain == "mx7.big.example" && netip.MustParsePrefix("192.0.2.0/24").Contains(a) {
					return "big.example"
				}
				return ""
			}
			k := newKeeper(stores(), o)
			bounce := func(client, name string) Contact {
				c := contact("", client)
				c.Name = name
				return c
			}
			if a := want(t, k, bounce("192.0.2.1", "mx7.big.example"), greylist.Wait, greylist.FirstTime); a.Key != "<>@[big.example]" {
				t.Errorf("the key is %q", a.Key)
			}
			want(t, k, bounce("192.0.2.3", ""), greylist.Wait, greylist.FirstTime)
			want(t, k, bounce("198.51.100.1", "mx7.big.example"), greylist.Wait, greylist.FirstTime)
			time.Sleep(4 * time.Hour)
			want(t, k, bounce("192.0.2.2", "mx7.big.example"), greylist.Pass, greylist.CameBack)
			want(t, k, bounce("192.0.2.4", ""), greylist.Wait, greylist.FirstTime)
		})
	}
}

// TestPoolHangs: DNS that doesn't answer holds nobody up for longer than poolWait.
func TestPoolHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := on
		o.Pool = func(ctx context.Context, _ string, _ netip.Addr) string { <-ctx.Done(); return "" }
		began := time.Now()
		want(t, newKeeper(stores(), o), contact("joe@far.example", "192.0.2.1"), greylist.Wait, greylist.FirstTime)
		if took := time.Since(began); took != poolWait {
			t.Errorf("it took %v, want %v", took, poolWait)
		}
	})
}
