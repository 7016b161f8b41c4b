package deliver

import (
	"fmt"
	"log/slog"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// bench queues b.N messages and makes one pass over them.
func bench(b *testing.B, prepare func(r *rig), to func(i int) []string) {
	r := newRig(b)
	r.open(disk.OS())
	r.o.Queue = r.queue
	r.o.Log = slog.New(slog.DiscardHandler)
	prepare(r)
	for i := range b.N {
		r.mail("s@x.example", to(i)...)
	}
	b.ResetTimer()
	r.pass()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	if left := r.list(); len(left) > 0 {
		b.Fatalf("%d recipients left", len(left))
	}
}

func BenchmarkOneMailbox(b *testing.B) {
	bench(b, func(*rig) {}, func(int) []string { return []string{"alice"} })
}

func BenchmarkRelay(b *testing.B) {
	bench(b, func(r *rig) {
		r.o.RelayHost = "[192.0.2.1]"
		r.peer("192.0.2.1", &testenv.Sink{Discard: true})
	}, func(i int) []string { return []string{fmt.Sprintf("u%d@far.example", i)} })
}

func BenchmarkManyHosts(b *testing.B) {
	bench(b, func(r *rig) {
		for i := range 250 {
			r.peer(fmt.Sprintf("198.51.100.%d", i), &testenv.Sink{Discard: true})
		}
	}, func(i int) []string { return []string{fmt.Sprintf("u@[198.51.100.%d]", i%250)} })
}

// BenchmarkThousand is one message for 1,000 mailboxes.
func BenchmarkThousand(b *testing.B) {
	var to []string
	names := []string{"root"}
	for i := range 1000 {
		names = append(names, fmt.Sprintf("user%d", i))
		to = append(to, fmt.Sprintf("user%d", i))
	}
	bench(b, func(r *rig) { r.users.names = names }, func(int) []string { return to })
}

// BenchmarkTwoListsToStore is two messages at a time for the same mailboxes of
// an LMTP server. What one recipient takes doesn't depend on how many there are.
func BenchmarkTwoListsToStore(b *testing.B) {
	for _, n := range []int{1000, 2000, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(b)
			r.open(disk.OS())
			r.o.Queue, r.o.Log = r.queue, slog.New(slog.DiscardHandler)
			newStore(r)
			var to []string
			for i := range n {
				to = append(to, fmt.Sprintf("user%d", i))
			}
			r.users.names = to
			for b.Loop() {
				r.mail("s@x.example", to...)
				r.mail("s@x.example", to...)
				r.pass()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2*n*b.N), "µs/recipient")
		})
	}
}
