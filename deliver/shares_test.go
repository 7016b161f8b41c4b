package deliver

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
	"postoffice/resolver"
)

// mutes are the domains m0.example and on of a DNS, each with a host that takes
// connections and says nothing: the first of n at one address, 192.0.2.1, the
// others at one each.
type mutes struct{ one int }

func (mutes) MX(_ context.Context, domain string) ([]resolver.MX, error) {
	return []resolver.MX{{Host: "mx." + domain}}, nil
}

func (m mutes) Addrs(_ context.Context, host string) ([]netip.Addr, error) {
	var i int
	if _, err := fmt.Sscanf(host, "mx.m%d.example", &i); err != nil {
		return nil, err
	}
	if i < m.one {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{203, byte(i / 250), byte(i % 250), 1})}, nil
}

func (mutes) HostsFile(string) []netip.Addr    { return nil }
func (mutes) IsOurs(netip.Addr) (bool, error)  { return false, nil }
func (mutes) IsLocalName(string) (bool, error) { return false, nil }

// mute makes the rig ask such a DNS, with n domains of which one have one address,
// and returns their names.
func (r *rig) mute(n, one int) (names []string) {
	dns := mutes{one}
	r.o.Resolver = dns
	hang := &testenv.Sink{Answer: func(testenv.Event) testenv.Action { return testenv.Action{Hang: true} }}
	for i := range n {
		names = append(names, fmt.Sprintf("m%d.example", i))
		addrs, err := dns.Addrs(r.t.Context(), "mx."+names[i])
		if err != nil {
			r.t.Fatal(err)
		}
		if a := addrs[0].String(); r.network.peers[a+":25"] == nil {
			r.peer(a, hang)
		}
	}
	return names
}

// muteHosts is how many there are: 10,000, and fewer where the time counts.
func muteHosts() int {
	if raced || testing.Short() {
		return 2000
	}
	return 10_000
}

// A39: a user of this machine and a stranger queue mail for more mute hosts than
// there are sessions, at one address and at many. Local mail of others comes
// within 2 seconds and mail to a good host within 5, at once and when the
// mute ones are tried again.
func TestA39SharesOfSubmitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		good := r.peer("198.51.100.1", &testenv.Sink{})
		hosts := muteHosts()
		names := r.mute(hosts, hosts/2)
		run, stop := r.start()
		defer stop()
		for i, name := range names {
			client := []string{"eve[uid 666]", "far.example[198.18.0.1]:4000"}[i%2]
			back := r.from(client)
			r.wake(run, 1, "a@"+name)
			back()
		}
		r.client = "bob[uid 1001]"
		for round := range 2 {
			time.Sleep(time.Duration(round) * 7 * time.Minute) // then the first ones are tried again
			synctest.Wait()
			box, sent := len(r.mailer.box("alice")), len(good.Messages())
			r.wake(run, 1, "alice")
			r.wake(run, 1, "b@[198.51.100.1]")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n := len(r.mailer.box("alice")) - box; n != 1 {
				t.Errorf("round %d: %d local messages came within 2 s, want 1", round, n)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if n := len(good.Messages()) - sent; n != 1 {
				t.Errorf("round %d: %d messages came to the good host within 5 s, want 1", round, n)
			}
			if active, _ := run.sched.Count(); active > 2*250+10 {
				t.Errorf("round %d: %d messages in work for two submitters", round, active)
			}
		}
	})
}

// A39: names at one address share its places, whatever the names are.
func TestA39OneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		names := r.mute(50, 50)
		run, stop := r.start()
		defer stop()
		for _, name := range names {
			r.wake(run, 1, "a@"+name)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := r.network.dialled("192.0.2.1:25"); n != 10 {
			t.Errorf("%d connections to one address that has taken no message yet, want 10", n)
		}
	})
}

// A39: 1,000 strangers, each of a network of their own, have mail for mute hosts.
// Local mail comes within 2 seconds, mail to a good host within a minute.
func TestA39ThousandStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		good := r.peer("198.51.100.1", &testenv.Sink{})
		names := r.mute(muteHosts(), 0)
		run, stop := r.start()
		defer stop()
		for i, name := range names {
			back := r.from(fmt.Sprintf("far.example[198.18.%d.%d]:4000", i%1000/250, i%250))
			r.wake(run, 1, "a@"+name)
			back()
		}
		defer r.from("bob[uid 1001]")()
		synctest.Wait()
		r.wake(run, 1, "alice")
		r.wake(run, 1, "b@[198.51.100.1]")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(r.mailer.box("alice")); n != 1 {
			t.Errorf("%d local messages came within 2 s, want 1", n)
		}
		time.Sleep(58 * time.Second)
		synctest.Wait()
		if n := len(good.Messages()); n != 1 {
			t.Errorf("%d messages came to the good host within a minute, want 1", n)
		}
	})
}

// A39: names of dark hosts in the network of a good one, which anybody can make,
// don't hold up mail to it, once it has taken some.
func TestA39DarkNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		good := r.peer("[2001:db8::1]", &testenv.Sink{})
		hang := &testenv.Sink{Answer: func(testenv.Event) testenv.Action { return testenv.Action{Hang: true} }}
		run, stop := r.start()
		defer stop()
		r.wake(run, 1, "b@[IPv6:2001:db8::1]")
		good.Await(t, 1)
		time.Sleep(10 * time.Second)
		back := r.from("eve[uid 666]")
		for i := range 100 {
			address := fmt.Sprintf("2001:db8::%d", i+2)
			r.peer("["+address+"]", hang)
			r.wake(run, 1, "a@[IPv6:"+address+"]")
		}
		back()
		synctest.Wait()
		r.wake(run, 1, "b@[IPv6:2001:db8::1]")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(good.Messages()); n != 2 {
			t.Errorf("%d messages came to the good host, want 2", n)
		}
		dark := 0
		for i := range 100 {
			dark += r.network.dialled(fmt.Sprintf("[2001:db8::%d]:25", i+2))
		}
		if dark == 0 || dark > 40 {
			t.Errorf("%d connections to dark ones, want some and 40 at most", dark)
		}
	})
}
