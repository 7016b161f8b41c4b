package deliver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool/envelope"
)

// bigList is a rig with an alias list of n members: addresses at 50 hosts, with
// every tenth an account of this machine. The mailer keeps nothing.
func bigList(t testing.TB, n int) *rig {
	r := newRig(t)
	r.open(disk.OS())
	r.o.Queue = r.queue
	r.o.Log = slog.New(slog.DiscardHandler)
	r.alias("list: :include:/l\nowner-list: root\n")
	var text strings.Builder
	for i := range n {
		if i%10 == 0 {
			fmt.Fprintf(&text, "member%d\n", i)
			continue
		}
		fmt.Fprintf(&text, "member-number-%d@[198.51.100.%d]\n", i, i%50)
	}
	for i := range 50 {
		r.peer(fmt.Sprintf("198.51.100.%d", i), &testenv.Sink{Discard: true})
	}
	r.mailer.members = map[string]string{"list": text.String()}
	r.o.Accounts = everybody{}
	r.o.Local = &counter{agents: &r.mailer.agents}
	return r
}

// everybody has any account that begins with member, and root.
type everybody struct{}

func (everybody) Lookup(_ context.Context, name string) (account.Account, error) {
	if strings.HasPrefix(name, "member") || name == "root" {
		return account.Account{Name: name, UID: 1000}, nil
	}
	return account.Account{}, account.ErrNoUser
}

// counter counts mailboxes.
type counter struct {
	*agents
	n atomic.Int64
}

func (c *counter) Deliver(_ context.Context, _ string, d local.Delivery) local.Result {
	if _, err := io.Copy(io.Discard, d.Body); err != nil {
		return local.Result{Outcome: outcome.Outcome{Err: err}}
	}
	c.n.Add(1)
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered, Reply: smtp.Reply{Code: 250}}}
}

func (*counter) Recorded(string) {}

// BenchmarkList50000 expands a list of 50,000 members and gives each of them the
// message. The peak is of the whole test process, peers included.
func BenchmarkList50000(b *testing.B) {
	for range b.N {
		r := bigList(b, 50000)
		runtime.GC()
		stop := peak()
		begun := time.Now()
		r.mail("s@x.example", "list")
		r.pass()
		took := time.Since(begun)
		b.ReportMetric(float64(stop())/(1<<20), "peak-MiB")
		b.ReportMetric(50000/took.Seconds(), "members/s")
		if left := r.list(); len(left) > 0 {
			b.Fatalf("%d recipients left, %s", len(left), left[0])
		}
		if n := r.o.Local.(*counter).n.Load(); n != 5000 {
			b.Fatalf("%d mailboxes, want 5000", n)
		}
	}
}

// peak watches the heap until the function that it returns is called.
func peak() func() uint64 {
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var max uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > max {
				max = m.HeapAlloc
			}
			select {
			case <-done:
				most <- max
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-most
	}
}

// Each member's result is its own: refused, deferred and delivered ones side by
// side, and the next attempt is for the deferred alone.
func TestListResults(t *testing.T) {
	r := newRig(t)
	r.alias("list: :include:/l\nowner-list: carol\n")
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "m%d@[192.0.2.1]\n", i)
	}
	r.mailer.members = map[string]string{"list": text.String() + "gone\nalice\n\\bob\n"}
	again := false
	sink := r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		switch {
		case strings.Contains(ev.Line, "RCPT TO:<m7@"):
			return testenv.Action{Reply: "550 5.1.1 never"}
		case strings.Contains(ev.Line, "RCPT TO:<m8@") && !again:
			return testenv.Action{Reply: "450 4.2.0 later"}
		}
		return testenv.Action{}
	}})
	id := r.mail("s@x.example", "list")
	r.pass()
	states := map[envelope.State]int{}
	for _, rc := range r.snapshot(id).Recipients {
		if rc.Via.Source == envelope.FromList {
			states[rc.State]++
		}
	}
	if states[envelope.Delivered] != 200 || states[envelope.Bounced] != 2 || states[envelope.Pending] != 1 {
		t.Errorf("states %v, want 200 delivered, 2 bounced, 1 pending", states)
	}
	report := r.wantBox("carol", 1)[0]
	for _, want := range []string{"<m7@[192.0.2.1]> (expanded from <list@us.example>)", "<gone@us.example> (expanded from <list@us.example>)", "Original-Recipient: rfc822; list@us.example\n"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}
	again = true
	r.pass()
	r.want()
	var got []string
	for _, m := range sink.Messages() {
		got = append(got, m.To()...)
	}
	if len(got) != 199 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 199 {
		t.Errorf("%d at the peer, %d different, want 199", len(got), len(slices.Compact(slices.Sorted(slices.Values(got)))))
	}
	r.wantBox("alice", 1)
	r.wantBox("bob", 1)
}

// A list has at most 60,000 members, and all that a message is expanded to has
// the spool's limit.
func TestListLimits(t *testing.T) {
	r := newRig(t)
	r.alias("list: :include:/l\nbig: :include:/b\n")
	r.mailer.members = map[string]string{"list": strings.Repeat("x@x.example\n", 60000+1)}
	id := r.mail("s@x.example", "list")
	r.pass()
	r.wantLog("delivery deferred", "list has more than 60000 members")
	if n := len(r.snapshot(id).Recipients); n != 2 {
		t.Errorf("%d recipients, want 2", n)
	}
}
