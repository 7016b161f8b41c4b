package deliver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/resolver"
)

// silence is a DNS that never answers: each question ends after 20 seconds, as the
// resolver's do.
type silence struct {
	mu        sync.Mutex
	now, most int // questions at a time
}

func (s *silence) count(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += by
	s.most = max(s.most, s.now)
}

// questions is how many there were at a time, at most.
func (s *silence) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *silence) MX(ctx context.Context, domain string) ([]resolver.MX, error) {
	s.count(+1)
	defer s.count(-1)
	select {
	case <-time.After(20 * time.Second):
	case <-ctx.Done():
	}
	return nil, &resolver.Error{Question: "MX " + domain, Kind: resolver.ErrTemporary, Words: "no answer"}
}

func (s *silence) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	_, err := s.MX(ctx, host)
	return nil, err
}

func (*silence) HostsFile(string) []netip.Addr   { return nil }
func (*silence) IsOurs(netip.Addr) (bool, error) { return false, nil }

func (*silence) IsLocalName(string) (bool, error) { return false, nil }

// heap is what is in use after a collection, in octets.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A39: messages of ten users with 435,000 recipients at as many names of a silent
// DNS cost 100 MB and 1,000 descriptors at most. They hold up nobody else's local
// mail, mail to a good host, or, for more than a minute, mail to many.
func TestA39SilentNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		good := r.peer("198.51.100.1", &testenv.Sink{})
		dns := &silence{}
		r.o.Resolver = dns
		run, stop := r.start()
		defer stop()
		before, open := heap(), descriptors(t)
		for i := range 435 {
			to := make([]string, 1000)
			for n := range to {
				to[n] = fmt.Sprintf("a@n%d.m%d.example", n, i)
			}
			back := r.from(fmt.Sprintf("eve[uid %d]", 6000+i%10))
			run.Arrived(r.mail("eve@us.example", to...), r.client, smtp.Path{Local: "eve"})
			back()
		}
		defer r.from("bob[uid 1001]")()
		many := []string{"carol"}
		for i := range 20 {
			many = append(many, fmt.Sprintf("c%d@[198.51.100.1]", i))
		}
		synctest.Wait()
		r.wake(run, 1, "alice")
		r.wake(run, 1, "b@[198.51.100.1]")
		r.wake(run, 1, many...)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.wantBox("alice", 1)
		if n := len(good.Messages()); n != 1 {
			t.Errorf("%d messages came to the good host within 2 s, want 1", n)
		}
		for range 4 {
			time.Sleep(15 * time.Second)
			synctest.Wait()
			active, waiting := run.sched.Count()
			memory, files := heap()-before, descriptors(t)-open
			t.Logf("%d MB, %d descriptors, %d questions, %d messages in work, %d wait", memory>>20, files, dns.questions(), active, waiting)
			if memory > 100<<20 || files > 1000 {
				t.Errorf("%d MB and %d descriptors, want 100 and 1,000 at most", memory>>20, files)
			}
		}
		r.wantBox("carol", 1)
		if n := len(good.Messages()); n != 2 {
			t.Errorf("%d messages came to the good host within a minute, want 2", n)
		}
	})
}

// A39: a list for whose members there is no room in memory waits until there is,
// holds up nobody, and reaches each of them once.
func TestListWaitsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.network.peers["192.0.2.1:25"] = func(c net.Conn) { <-release; c.Close() }
		good := r.peer("198.51.100.1", &testenv.Sink{})
		var members []string
		for i := range 30 {
			members = append(members, fmt.Sprintf("m%d@[198.51.100.1]", i))
		}
		r.alias("team: " + strings.Join(members, ", ") + "\n")
		run, stop := r.start()
		defer stop()
		for i := range 4 { // they have all the room
			to := make([]string, 7500)
			for n := range to {
				to[n] = fmt.Sprintf("u%d@[192.0.2.1]", n)
			}
			back := r.from(fmt.Sprintf("eve[uid %d]", 6000+i))
			r.wake(run, 1, to...)
			back()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.wake(run, 1, "team")
		r.wake(run, 1, "alice")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.wantBox("alice", 1)
		if n := len(good.Messages()); n != 0 {
			t.Errorf("%d messages went to the members, for whom there is no room", n)
		}
		close(release)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := good.Messages()
		if len(got) != 1 || len(got[0].To()) != len(members) {
			t.Errorf("%d messages came, want one to %d members", len(got), len(members))
		}
	})
}
