package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postoffice/internal/testenv"
)

// A39: so many questions are under way and no more, however many are asked of a
// server that is silent; and those about where mail goes and about clients don't
// wait for each other.
func TestA39Questions(t *testing.T) {
	askMail := func(ctx context.Context, r *Resolver, i int) { r.MX(ctx, fmt.Sprintf("n%d.example", i)) }
	askClient := func(ctx context.Context, r *Resolver, i int) {
		r.Name(ctx, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	for _, tt := range []struct {
		name       string
		many, one  func(context.Context, *Resolver, int)
		most, asks int
		other      string
	}{
		{"mail", askMail, askClient, maxMailQuestions, maxMailQuestions + 100, "PTR 0.2.0.192.in-addr.arpa"},
		{"clients", askClient, askMail, maxClientQuestions, maxClientQuestions + 100, "MX n0.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			silent := testenv.NewDNS(t)
			asked := make(chan string, 10*tt.asks)
			silent.Script("", func(x *testenv.Exchange) {
				q := x.Query.Question[0]
				asked <- dns.TypeToString[q.Qtype] + " " + strings.TrimSuffix(q.Name, ".")
			})
			r := newTest(t, Options{Timeout: time.Hour, Try: time.Hour}, silent)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			for i := range tt.asks {
				wg.Go(func() { tt.many(ctx, r, i+1) })
			}
			for range tt.most {
				<-asked
			}
			wg.Go(func() { tt.one(ctx, r, 0) })
			if q := <-asked; q != tt.other {
				t.Errorf("with %d questions under way %q was asked, want %q", tt.most, q, tt.other)
			}
		})
	}
}
