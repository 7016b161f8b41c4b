package schedule

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/spool"
)

// The memory for a message that waits.
func TestWaitingMemory(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := New()
	id := []byte("00000000000000")
	for i := range n {
		for k, v := len(id)-1, i; k >= 0; k, v = k-1, v/10 {
			id[k] = byte('0' + v%10)
		}
		s.Know(spool.ID(id), false)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%.0f octets for each waiting message", each)
	if each > 256 {
		t.Errorf("%.0f octets for each waiting message, want 256 at most", each)
	}
	runtime.KeepAlive(s)
}

// works returns the works that Next has now.
func works(s *Schedule) (list []*Work) {
	for w := s.Next(); w != nil; w = s.Next() {
		list = append(list, w)
	}
	return list
}

func ids(list []*Work) (ids []spool.ID) {
	for _, w := range list {
		ids = append(ids, w.ID)
	}
	return ids
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		take := func() (ids []spool.ID) {
			for w := s.Next(); w != nil; w = s.Next() {
				ids = append(ids, w.ID)
				w.Later(time.Hour)
			}
			return ids
		}
		s.Know("old1", false)
		time.Sleep(time.Nanosecond)
		s.Know("old2", false)
		for _, id := range []spool.ID{"new1", "new2", "new3", "new1"} {
			s.Arrive(id, "", false)
		}
		want := []spool.ID{"new1", "old1", "new2", "old2", "new3"}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v: arrivals and due messages by turns", got, want)
		}
		if s.Know("new1", false) || !s.Idle() || len(take()) != 0 {
			t.Error("something is due before its time")
		}
		s.WakeAll()
		if got := take(); len(got) != 5 {
			t.Errorf("WakeAll made %v due, want five", got)
		}
		time.Sleep(time.Hour)
		w := s.Next()
		s.Arrive(w.ID, "", false) // woken while active
		w.Later(time.Hour)
		if s.Idle() {
			t.Error("a message woken while active was forgotten")
		}
	})
}

// What ends a Work, and what a message is told that was woken meanwhile.
func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		name       string
		end        func(w *Work)
		due, woken bool // what Next has after that, at once and for a woken one
	}{
		{"later", func(w *Work) { w.Later(time.Hour) }, false, true},
		{"later, at once", func(w *Work) { w.Later(0) }, true, true},
		{"forget", (*Work).Forget, false, true},
		{"set aside (A38)", (*Work).SetAside, false, false},
		{"park at a gate that has a place", func(w *Work) { w.Park([]Gate{{Kind: Host, Key: "h"}}) }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, wake := range []bool{false, true} {
				s := New()
				s.Know("m", false)
				w := s.Next()
				if _, ok := w.Woken(); ok {
					t.Error("a message found in the queue counts as woken")
				}
				want := tt.due
				if wake {
					want = tt.woken
					s.Arrive("m", "", true)
				}
				tt.end(w)
				again := s.Next()
				if (again != nil) != want {
					t.Fatalf("woken meanwhile: %v: due again: %v, want %v", wake, again != nil, want)
				}
				if again == nil || !wake {
					continue
				}
				if !again.TakeReroute() || again.TakeReroute() {
					t.Error("what was asked for once is not told once")
				}
			}
		})
	}
}

func TestWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Arrive("m", "", false)
		time.Sleep(time.Minute)
		if ago, ok := s.Next().Woken(); !ok || ago != time.Minute {
			t.Errorf("%v, %v, want a minute", ago, ok)
		}
	})
}

// No more than MaxActive are in work, and nobody polls meanwhile.
// What was woken and could not be begun, since another process held it just
// then, is still woken when it is tried again.
func TestPostpone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Arrive("a", "", false)
		s.Next().Postpone(time.Second)
		time.Sleep(time.Second)
		w := s.Next()
		if w == nil {
			t.Fatal("not due")
		}
		if ago, ok := w.Woken(); !ok || ago != time.Second {
			t.Errorf("woken %v ago, %v; want 1s, true", ago, ok)
		}
		w.Later(0)
		if _, ok := s.Next().Woken(); ok {
			t.Error("still woken after an attempt")
		}
	})
}

func TestMaxActive(t *testing.T) {
	s := New()
	for i := range MaxActive + 1 {
		s.Know(spool.ID(fmt.Sprint(i)), false)
	}
	list := works(s)
	if len(list) != MaxActive {
		t.Errorf("%d in work, want %d", len(list), MaxActive)
	}
	if d := s.Wait(time.Minute); d != time.Minute {
		t.Errorf("looks again after %v, want a minute", d)
	}
	list[0].Forget()
	if s.Wait(time.Minute) != 0 || len(works(s)) != 1 {
		t.Error("the place of one that ended is not taken")
	}
}

// A gate lets in as many as it has places, calls the next with a place
// reserved, and grows by successes.
func TestGate(t *testing.T) {
	s := New()
	gate := Gate{Kind: Host, Key: "h"}
	for _, id := range []spool.ID{"a", "b", "c", "d"} {
		s.Arrive(id, "", false)
	}
	list := works(s)
	if ok, _ := list[0].Enter(gate); !ok {
		t.Fatal("the first one is refused")
	}
	for _, w := range list[1:] {
		if ok, down := w.Enter(gate); ok || down != nil {
			t.Fatalf("%s got in, or was told %v", w.ID, down)
		}
		w.Park([]Gate{gate})
	}
	if s.Next() != nil || s.Idle() {
		t.Error("those in the line are due, or forgotten")
	}
	list[0].Leave(gate)
	called := s.Next()
	if called == nil || called.ID != "b" || s.Next() != nil {
		t.Fatalf("called %v, want b alone", called)
	}
	if ok, _ := list[0].Enter(gate); ok {
		t.Error("a reserved place was given to another")
	}
	if ok, _ := called.Enter(gate); !ok {
		t.Error("the reserved place was lost")
	}
	s.Widen(gate, 3)
	if got := ids(works(s)); !slices.Equal(got, []spool.ID{"c", "d"}) {
		t.Errorf("a wider gate called %v, want c and d", got)
	}
}

// A place that was reserved for a message that needs it no more is the next
// one's, whatever ends the need.
func TestReservedPlaceGoesOn(t *testing.T) {
	gate := Gate{Kind: Host, Key: "h"}
	for _, tt := range []struct {
		name string
		drop func(w *Work)
	}{
		{"given up", (*Work).GiveUp},
		{"given up there", func(w *Work) { w.GiveUpAt(gate) }},
		{"later", func(w *Work) { w.Later(time.Hour) }},
		{"forget", (*Work).Forget},
	} {
		s := New()
		for _, id := range []spool.ID{"a", "b", "c"} {
			s.Arrive(id, "", false)
		}
		list := works(s)
		list[0].Enter(gate)
		list[1].Park([]Gate{gate})
		list[2].Park([]Gate{gate})
		list[0].Leave(gate)
		b := s.Next()
		tt.drop(b)
		if c := s.Next(); c == nil || c.ID != "c" {
			t.Errorf("%s: after b comes %v, want c", tt.name, c)
		}
	}
}

// Whoever waits at a gate while other work goes on is told, and keeps the
// place until then.
func TestAwait(t *testing.T) {
	s := New()
	gate := Gate{Kind: Host, Key: "h"}
	s.Arrive("a", "", false)
	s.Arrive("b", "", false)
	list := works(s)
	if !list[1].Await([]Gate{gate}) {
		t.Error("an open gate makes wait")
	}
	list[0].Enter(gate)
	for range 2 { // asked again, it is the same
		if list[1].Await([]Gate{gate}) {
			t.Error("a full gate is open")
		}
	}
	list[0].Leave(gate)
	list[1].GiveUp() // Called has not been read: no
	select {
	case <-list[1].Called():
	default:
		t.Fatal("not called")
	}
	if ok, _ := list[0].Enter(gate); ok {
		t.Error("the reserved place was given to another")
	}
	if ok, _ := list[1].Enter(gate); !ok {
		t.Error("the reserved place was lost")
	}
}

// A place that is reserved opens its gate to the message that has it, and is
// given up by one that waits elsewhere.
func TestAwaitWithAReservedPlace(t *testing.T) {
	s := New()
	one, two := Gate{Kind: Host, Key: "1"}, Gate{Kind: Host, Key: "2"}
	for _, id := range []spool.ID{"a", "b", "c"} {
		s.Arrive(id, "", false)
	}
	list := works(s)
	list[0].Enter(one)
	list[0].Enter(two)
	list[1].Park([]Gate{one})
	list[2].Park([]Gate{one})
	list[0].Leave(one)
	b := s.Next()
	if !b.Await([]Gate{one}) {
		t.Error("its own place makes b wait")
	}
	if b.Await([]Gate{two}) {
		t.Error("a full gate is open")
	}
	if c := s.Next(); c == nil || c.ID != "c" {
		t.Error("b waits elsewhere and keeps its place")
	}
}

// So many for each, so many in all; who has no place in all takes none at the
// one either.
func TestInAll(t *testing.T) {
	s := New()
	all := kinds[Program].all
	var list []*Work
	for i := range all + 2 {
		s.Arrive(spool.ID(fmt.Sprint(i)), "", false)
	}
	list = works(s)
	for i, w := range list[:all] {
		if ok, _ := w.Enter(Gate{Kind: Program, Key: fmt.Sprint(i / kinds[Program].first)}); !ok {
			t.Fatalf("program %d has no place", i)
		}
	}
	for _, w := range list[all:] {
		if ok, _ := w.Enter(Gate{Kind: Program, Key: "last"}); ok {
			t.Fatal("one too many got in")
		}
		w.Park([]Gate{{Kind: Program, Key: "last"}})
	}
	list[0].Leave(Gate{Kind: Program, Key: "0"})
	w := s.Next()
	if w == nil || s.Next() != nil {
		t.Fatal("the free place called none, or two")
	}
	if ok, _ := w.Enter(Gate{Kind: Program, Key: "0"}); !ok {
		t.Error("its place is not free")
	}
}

// A gate that is down lets nobody in, calls everybody, and answers them with
// the words that it was given, for as long as its kind says.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		gate := Gate{Kind: Host, Key: "h"}
		words := outcome.Deferral("4.4.1", "no answer", nil)
		for _, id := range []spool.ID{"a", "b", "c"} {
			s.Arrive(id, "", false)
		}
		list := works(s)
		list[0].Enter(gate)
		list[1].Park([]Gate{gate})
		list[2].Park([]Gate{gate})
		s.Down(gate, words)
		list[0].Leave(gate)
		called := works(s)
		if len(called) != 2 {
			t.Fatalf("%d called, want both", len(called))
		}
		for _, w := range called {
			if ok, down := w.Enter(gate); ok || down == nil || *down != words {
				t.Errorf("%s: %v, %v, want the words", w.ID, ok, down)
			}
		}
		time.Sleep(kinds[Host].down)
		if ok, down := called[0].Enter(gate); !ok {
			t.Errorf("still down after its time: %v", down)
		}
		called[0].Leave(gate)
		s.Down(gate, words)
		s.ForgetDown(Domain)
		if ok, _ := called[0].Enter(gate); ok {
			t.Error("another kind's word was forgotten")
		}
		s.ForgetDown(Host)
		if ok, _ := called[0].Enter(gate); !ok {
			t.Error("down, although that was to be forgotten")
		}
	})
}

// The gate of a whole kind can be down too.
func TestAllDown(t *testing.T) {
	s := New()
	s.Arrive("a", "", false)
	w := s.Next()
	s.Down(All(Stored), outcome.Deferral("4.3.0", "away", nil))
	if ok, down := w.Enter(Gate{Kind: Stored, Key: "alice"}); ok || down == nil || down.Reply.Text != "away" {
		t.Errorf("%v, %v, want the words", ok, down)
	}
	if g := s.gate(Gate{Kind: Stored, Key: "alice"}); g.inside != 0 {
		t.Errorf("%d places taken at the mailbox, want none", g.inside)
	}
}

// Gates that nobody uses are forgotten, and those that somebody uses are not.
func TestSweep(t *testing.T) {
	s := New()
	s.Arrive("a", "", false)
	w := s.Next()
	kept := Gate{Kind: Program, Key: "kept"}
	w.Enter(kept)
	for i := range 3 * sweepFrom {
		g := Gate{Kind: Domain, Key: fmt.Sprint(i)}
		w.Enter(g)
		w.Leave(g)
		if len(s.gates) > sweepFrom {
			t.Fatalf("%d gates known", len(s.gates))
		}
	}
	if s.gates[kept] == nil || s.gates[All(Program)] == nil {
		t.Error("a gate in use was forgotten")
	}
}

// Many at once at few gates: nobody is left in a line, no place is lost, and
// no gate lets more in than it has places.
func TestNobodyStaysInLine(t *testing.T) {
	s := New()
	const n = 300
	for i := range n {
		s.Arrive(spool.ID(fmt.Sprint(i)), "", false)
	}
	gates := []Gate{{Kind: Host, Key: "h"}, {Kind: Program, Key: "a"}, {Kind: Program, Key: "b"}, {Kind: Domain, Key: "d"}}
	var wg sync.WaitGroup
	for done := 0; done < n; {
		w := s.Next()
		if w == nil {
			if active, _ := s.Count(); active == 0 && s.Wait(time.Hour) > 0 {
				t.Fatalf("%d of %d done, and nobody is called", done, n)
			}
			<-s.Changed()
			continue
		}
		gate := gates[len(w.ID)*7%3+done%2]
		ok, down := w.Enter(gate)
		switch {
		case down != nil:
			w.Forget()
			done++
		case !ok && done%3 == 0:
			wg.Go(func() {
				if !w.Await([]Gate{gate, gates[0]}) {
					<-w.Called()
				}
				w.Later(0)
			})
		case !ok:
			w.Park([]Gate{gate})
		default:
			done++
			wg.Go(func() {
				runtime.Gosched()
				w.Leave(gate)
				w.Forget()
			})
		}
	}
	wg.Wait()
	for name, g := range s.gates {
		if g.inside+g.reserved+g.line.n != 0 {
			t.Errorf("%+v: %d inside, %d reserved, %d in line at the end", name, g.inside, g.reserved, g.line.n)
		}
	}
}

// Who is called by one gate of a passage and refused by the next waits there:
// two that wait for the same two gates would call each other without end.
func TestCalledAndRefused(t *testing.T) {
	s := New()
	share, first := kinds[Host].all/4, kinds[Network].first
	network := Gate{Kind: Network, Key: "n"}
	enter := func(i int, inNetwork bool) (*Work, Gate, bool) {
		s.Arrive(spool.ID(fmt.Sprint(i)), "one", false)
		w := s.Next()
		gate := Gate{Kind: Host, Key: fmt.Sprint(i)}
		if inNetwork {
			s.Beside(gate, network)
		}
		ok, _ := w.Enter(gate)
		return w, gate, ok
	}
	n := 0
	var inside *Work
	var left Gate
	for ; n < share; n++ { // the submitter has its share, and the network its places
		w, gate, ok := enter(n, n < first)
		if !ok {
			t.Fatalf("message %d has no place", n)
		}
		if n == 0 {
			inside, left = w, gate
		}
	}
	for range 5 {
		w, gate, ok := enter(n, true)
		if ok {
			t.Fatal("one too many has a place")
		}
		w.Park([]Gate{gate})
		n++
	}
	s.Arrive("first", "one", false)
	w := s.Next()
	inside.Leave(left) // calls one of the five
	if ok, _ := w.Enter(Gate{Kind: Host, Key: "first"}); !ok {
		t.Fatal("no place although one is free")
	}
	for range 20 {
		w := s.Next()
		if w == nil {
			return
		}
		gate := Gate{Kind: Host, Key: string(w.ID)}
		if ok, _ := w.Enter(gate); ok {
			t.Fatalf("%s has a place beyond its share", w.ID)
		}
		w.Park([]Gate{gate})
	}
	t.Error("those that wait call each other without end")
}

// A place that those at the head of a line can't use, since another gate on their
// way is full, goes to the first who can: none of the others is handed out for that.
func TestCalledPastFullGates(t *testing.T) {
	s := New()
	share, first := kinds[Host].all/4, kinds[Network].first
	network := Gate{Kind: Network, Key: "n"}
	enter := func(id string, inNetwork bool) (*Work, Gate, bool) {
		s.Arrive(spool.ID(id), "one", false)
		w := s.Next()
		gate := Gate{Kind: Host, Key: id}
		if inNetwork {
			s.Beside(gate, network)
		}
		ok, _ := w.Enter(gate)
		return w, gate, ok
	}
	var last, inside *Work
	var left, gone Gate
	for i := range share {
		w, gate, ok := enter(fmt.Sprint(i), i < first)
		if !ok {
			t.Fatalf("message %d has no place", i)
		}
		if i == 0 {
			inside, left = w, gate
		}
		last, gone = w, gate
	}
	const waiting = 500
	for i := range waiting {
		w, gate, ok := enter(fmt.Sprint("n", i), true)
		if ok {
			t.Fatal("one too many has a place")
		}
		w.Park([]Gate{gate})
	}
	for _, id := range []string{"other", "another"} {
		w, gate, _ := enter(id, false)
		w.Park([]Gate{gate})
	}
	var entered []string
	handed := 0
	next := func() {
		for w := s.Next(); w != nil; w = s.Next() {
			gate := Gate{Kind: Host, Key: string(w.ID)}
			if ok, _ := w.Enter(gate); ok {
				entered = append(entered, string(w.ID))
			} else {
				w.Park([]Gate{gate})
			}
			if handed++; handed > waiting {
				t.Fatal("they call each other without end")
			}
		}
	}
	last.Leave(gone)
	next()
	inside.Leave(left) // a place at the network, and one of the share, for which another waits
	next()
	if !slices.Equal(entered, []string{"other", "another"}) {
		t.Errorf("%q have got places", entered)
	}
	if handed > 3 {
		t.Errorf("%d messages were handed out for two places", handed)
	}
	for range 2 {
		if w := s.Next(); w != nil {
			t.Errorf("%s is called, and all is full", w.ID)
		}
	}
}
