package shares

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// who is a machine with the address 192.0.2.10, whose server is uid 900 and whose
// users are those below 100,000.
func who() *Who {
	return &Who{
		Places: peer.Places{Server: 900, Nobody: func(uid int) bool { return uid >= 100_000 }},
		Here:   func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.10") },
	}
}

// clients are some of each sort.
var clients = []string{
	"alice[uid 1000]", "bob[uid 1001]", "uid-100000[uid 100000]", "uid-100001[uid 100001]", "root[uid 0]", "postoffice[uid 900]",
	"mx.example[198.51.100.7]:2525", "mx.example[198.51.100.8]:2525", "six.example[2001:db8:1::1]:2525", "six.example[2001:db8:1:100::1]:2525",
	"us.example[192.0.2.10]:40000", "bounce", "double-bounce",
}

// TestWho: whose mail a client's is.
func TestWho(t *testing.T) {
	w := who()
	elsewhere := func(a string) peer.Holder { return peer.HolderAt(netip.MustParseAddr(a), false) }
	for client, want := range map[string]peer.Holder{
		"alice[uid 1000]":                   w.Places.Holder(1000),
		"a[uid 1001][uid 1000]":             w.Places.Holder(1000), // a name is anybody's to choose
		"uid-100000[uid 100000]":            w.Places.Holder(100_001),
		"root[uid 0]":                       {},
		"postoffice[uid 900]":               {},
		"mx.example[198.51.100.7]:2525":     elsewhere("198.51.100.7"),
		"mx.example[::ffff:192.0.2.9]:25":   elsewhere("192.0.2.9"),
		"six.example[2001:db8:1::1]:2525":   elsewhere("2001:db8:1::2"),
		"us.example[192.0.2.10]:40000":      peer.HolderAt(netip.Addr{}, true),
		"localhost[127.0.0.1]:400 uid 1000": w.Places.Holder(1000),
		"localhost[127.0.0.1]:400 uid 0":    {},
		"us.example[::ffff:192.0.2.10]:400": peer.HolderAt(netip.Addr{}, true),
		"bounce":                            peer.Reports,
		"double-bounce":                     peer.Reports,
	} {
		for range 2 {
			if got := w.Holder(client); got != want {
				t.Errorf("%s counts for %+v, want %+v", client, got, want)
			}
		}
	}
}

// An account that is made later has a share of its own soon.
func TestWhoForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unknown := true
		w := &Who{Places: peer.Places{Nobody: func(int) bool { return unknown }}}
		was := w.Holder("x[uid 1000]")
		unknown = false
		if got := w.Holder("x[uid 1000]"); got != was {
			t.Error("accounts are looked up for each message")
		}
		time.Sleep(userWait + time.Second)
		if got := w.Holder("x[uid 1000]"); got != w.Places.Holder(1000) {
			t.Errorf("after a minute it still counts for %+v", got)
		}
		for uid := range 2 * maxUsers {
			w.Holder(fmt.Sprintf("x[uid %d]", uid+1))
		}
		if len(w.users) > maxUsers {
			t.Errorf("%d users are kept, want %d at most", len(w.users), maxUsers)
		}
	})
}

// model is a queue with what is done to it.
type model struct {
	*testing.T
	*rand.Rand
	dir    string
	queue  *spool.Queue
	ledger *Ledger
	ids    map[spool.ID]spool.Location
}

func (m *model) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// any is one of the messages in a location; "": there is none.
func (m *model) any(at spool.Location) spool.ID {
	var all []spool.ID
	for id, is := range m.ids {
		if is == at {
			all = append(all, id)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return all[m.IntN(len(all))]
}

// create begins a message of anybody's.
func (m *model) create() *spool.Incoming {
	in, err := m.queue.Create(envelope.Envelope{
		Arrived: time.Unix(1e9, 0), Client: clients[m.IntN(len(clients))],
		Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "a"}}, {Path: smtp.Path{Local: "b"}}},
	})
	m.must(err)
	for range m.IntN(4) {
		_, err = in.Write([]byte(strings.Repeat("x", m.IntN(40_000)) + "\n"))
		m.must(err)
	}
	return in
}

// steps are what may happen to a queue.
var steps = []struct {
	name string
	do   func(m *model)
}{
	{"one comes", func(m *model) {
		in := m.create()
		m.must(in.Commit())
		m.ids[in.ID()] = spool.Active
	}},
	{"several come", func(m *model) {
		in, other, held := m.create(), m.create(), m.create()
		held.Hold("for the test")
		m.must(in.CommitWith(other, held))
		m.ids[in.ID()], m.ids[other.ID()], m.ids[held.ID()] = spool.Active, spool.Active, spool.Held
	}},
	{"one is not taken", func(m *model) { m.must(m.create().Abort()) }},
	{"one grows", func(m *model) {
		m.with(func(c *spool.Message) {
			for r := range c.Pending() {
				m.must(c.Note(envelope.Note{Time: time.Unix(2e9, 0), Err: strings.Repeat("e", m.IntN(5000))}))
				x := envelope.Expansion{}
				for i := range m.IntN(500) {
					x.Targets = append(x.Targets, envelope.Target{Path: smtp.Path{Local: fmt.Sprintf("member%d", i)}})
				}
				m.must(c.Expand(r.Key, x))
				return
			}
		})
	}},
	{"one is done", func(m *model) {
		m.with(func(c *spool.Message) {
			for r := range c.Pending() {
				m.must(c.Record([]envelope.Key{r.Key}, envelope.Delivered))
			}
			m.must(c.Finish())
			delete(m.ids, c.ID())
		})
	}},
	{"one is held", func(m *model) {
		m.with(func(c *spool.Message) {
			m.must(c.Hold("for the test"))
			m.ids[c.ID()] = spool.Held
		})
	}},
	{"one is released", func(m *model) {
		if id := m.any(spool.Held); id != "" {
			m.must(m.queue.Release(id))
			m.ids[id] = spool.Active
		}
	}},
	{"one is damaged", func(m *model) {
		if id := m.any(spool.Active); id != "" {
			m.must(os.Truncate(filepath.Join(m.dir, "queue", string(id)), 20))
			if _, err := m.queue.Claim(id); !errors.Is(err, spool.ErrCorrupt) {
				m.Fatal(err)
			}
			delete(m.ids, id)
		}
	}},
	{"one is set aside and mended", func(m *model) {
		if id := m.any(spool.Active); id != "" {
			name := filepath.Join(m.dir, "queue", string(id))
			m.must(os.Chmod(name, 0o666))
			if _, err := m.queue.Claim(id); !errors.Is(err, spool.ErrCorrupt) {
				m.Fatal(err)
			}
			m.must(os.Chmod(filepath.Join(m.dir, "corrupt", string(id)), 0o600))
			m.must(m.queue.Release(id))
		}
	}},
	{"somebody removes a file", func(m *model) {
		if id := m.any(spool.Active); id != "" {
			m.must(os.Remove(filepath.Join(m.dir, "queue", string(id))))
			if _, err := m.queue.Claim(id); !errors.Is(err, spool.ErrGone) {
				m.Fatal(err)
			}
			delete(m.ids, id)
		}
	}},
	{"somebody removes a held file", func(m *model) {
		if id := m.any(spool.Held); id != "" {
			m.must(os.Remove(filepath.Join(m.dir, "hold", string(id))))
			var err error
			if m.IntN(2) == 0 {
				err = m.queue.Release(id)
			} else {
				_, err = m.queue.ClaimAny(id)
			}
			if !errors.Is(err, spool.ErrGone) {
				m.Fatal(err)
			}
			delete(m.ids, id)
		}
	}},
}

// with claims one of the messages, if there is one.
func (m *model) with(do func(*spool.Message)) {
	if id := m.any(spool.Active); id != "" {
		c, err := m.queue.Claim(id)
		m.must(err)
		do(c)
		c.Close()
	}
}

// check holds the ledger against what a new one finds in the files.
func (m *model) check(after string) {
	m.Helper()
	again := New(who())
	m.must(again.Count(m.Context(), m.queue.EachHead))
	if len(m.ledger.messages) != len(again.messages) || m.ledger.held.Holders() != again.held.Holders() {
		m.Fatalf("%s: %d messages of %d holders are counted, want %d of %d", after,
			len(m.ledger.messages), m.ledger.held.Holders(), len(again.messages), again.held.Holders())
	}
	for _, client := range clients {
		h := who().Holder(client)
		if got, want := m.ledger.held.Of(h), again.held.Of(h); got != want {
			m.Fatalf("%s: %s has %+v, want %+v", after, client, got, want)
		}
	}
}

// A81: whatever happens to a queue, what is counted is what its files say.
func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		m := &model{T: t, Rand: rand.New(rand.NewPCG(seed, 1)), dir: filepath.Join(t.TempDir(), "q"), ids: map[spool.ID]spool.Location{}}
		m.ledger = New(who())
		var err error
		m.queue, err = spool.Open(spool.Options{Dir: m.dir, Tally: m.ledger})
		m.must(err)
		m.must(m.ledger.Count(t.Context(), m.queue.EachHead))
		for range 150 {
			step := steps[m.IntN(len(steps))]
			step.do(m)
			m.check(step.name)
		}
		m.must(m.queue.Close())
	}
}

// A81: what is counted is what the files say also when the disk fails, at any call.
func TestCrashErrors(t *testing.T) {
	scenario := func(d disk.FS, ack func(string)) error {
		l := New(who())
		q, err := spool.Open(spool.Options{FS: d, Dir: "/q", Tally: l})
		if err != nil {
			return err
		}
		defer q.Close()
		if err := l.Count(t.Context(), q.EachHead); err != nil {
			return err
		}
		var ids []spool.ID
		for i := range 4 {
			in, err := q.Create(envelope.Envelope{Arrived: time.Unix(1e9, 0), Client: clients[i%2], Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "a"}}}})
			if err != nil {
				return err
			}
			if in.Write([]byte(strings.Repeat("x\n", 20_000*(i%2)))); i == 3 {
				in.Hold("for the test")
			}
			in.Commit()
			ids = append(ids, in.ID())
		}
		for i, id := range ids {
			m, err := q.ClaimAny(id)
			if err != nil {
				continue
			}
			m.Note(envelope.Note{Time: time.Unix(2e9, 0), Err: strings.Repeat("e", 5000)})
			switch i {
			case 0:
				m.Record([]envelope.Key{{}}, envelope.Delivered)
				m.Finish()
			case 1:
				m.Hold("for the test")
			}
			m.Close()
		}
		q.Release(ids[3])
		recount(t, l, q)
		return nil
	}
	crashfs.EveryError(t, scenario, func(testing.TB, disk.FS, []string) {})
}

// recount holds a ledger against the files of a queue, unless the disk doesn't tell.
func recount(t *testing.T, l *Ledger, q *spool.Queue) {
	t.Helper()
	again, listed := New(who()), 0
	for e, err := range q.Entries() {
		if err != nil {
			return
		}
		if e.Location != spool.Corrupt {
			listed++
		}
	}
	if again.Count(t.Context(), q.EachHead) != nil || len(again.messages) != listed {
		return
	}
	for _, client := range clients[:2] {
		h := who().Holder(client)
		if got, want := l.held.Of(h), again.held.Of(h); got != want {
			t.Errorf("%s has %+v, want %+v", client, got, want)
		}
	}
}

// id is a queue ID.
func id(n int) string { return fmt.Sprintf("%014d", n) }

// A81: what comes and goes while the queue is counted counts once or not at all,
// wherever the count was by then.
func TestCountMeanwhile(t *testing.T) {
	const alice = "alice[uid 1000]"
	l := New(who())
	heads := func(yield func(id, client string, octets int64) bool) error {
		l.Came(id(3), alice, 5000)
		l.Came(id(4), alice, 5000)
		l.Went(id(4))
		l.Went(id(2)) // it was listed before
		for n := 1; n <= 4; n++ {
			yield(id(n), alice, 100)
		}
		l.Grew(id(1), 4097)
		yield(id(5), alice, 1)
		return errors.New("hold/ can't be read")
	}
	if err := l.Count(t.Context(), heads); err == nil || !strings.Contains(err.Error(), "hold/") {
		t.Errorf("Count: %v", err)
	}
	want := peer.Amount{Octets: 8192 + 8192 + 4096, Files: 3}
	if got := l.Held(t.Context()).Of(who().Holder(alice)); got != want || l.gone != nil {
		t.Errorf("%+v, want %+v", got, want)
	}
	for n := 1; n <= 5; n++ {
		l.Went(id(n))
		l.Grew(id(n), 10_000)
	}
	if n := l.Held(t.Context()).Holders(); n != 0 {
		t.Errorf("%d have something when all is gone", n)
	}
}

// Whoever brings mail waits until the queue is counted, but not for a long one.
func TestCountIsAwaited(t *testing.T) {
	for _, tt := range []struct{ takes, waits time.Duration }{{time.Second, time.Second}, {time.Hour, countWait}} {
		synctest.Test(t, func(t *testing.T) {
			l := New(who())
			begun := time.Now()
			var count sync.WaitGroup
			defer count.Wait()
			count.Go(func() {
				l.Count(t.Context(), func(func(id, client string, octets int64) bool) error {
					time.Sleep(tt.takes)
					return nil
				})
			})
			l.Held(t.Context())
			if got := time.Since(begun); got != tt.waits {
				t.Errorf("a count of %v is waited for for %v, want %v", tt.takes, got, tt.waits)
			}
		})
	}
}

// TestMemory: what a message in the queue takes here, in octets.
func TestMemory(t *testing.T) {
	const n = 200_000
	l := New(who())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		l.Came(id(i), clients[i%4], 5000)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d octets for each message", each)
	if each > 80 {
		t.Errorf("a message takes %d octets, want 80 at most", each)
	}
	runtime.KeepAlive(l)
}

func BenchmarkCame(b *testing.B) {
	l := New(who())
	for b.Loop() {
		l.Came(id(1), clients[0], 5000)
		l.Went(id(1))
	}
}

// BenchmarkCount is the look at a queue of 1,000 messages at the start.
func BenchmarkCount(b *testing.B) {
	q, err := spool.Open(spool.Options{Dir: filepath.Join(b.TempDir(), "q")})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	for range 1000 {
		in, err := q.Create(envelope.Envelope{Arrived: time.Unix(1e9, 0), Client: clients[0], Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "a"}}}})
		if err == nil {
			_, err = in.Write([]byte(strings.Repeat("x\n", 2000)))
		}
		if err == nil {
			err = in.Commit()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := New(who()).Count(b.Context(), q.EachHead); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(1000*b.N), "ns/message")
}
