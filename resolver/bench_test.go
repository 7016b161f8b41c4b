package resolver

import (
	"fmt"
	"testing"

	"postoffice/internal/testenv"
)

// BenchmarkMX: one domain, many callers, with and without the cache; and the
// memory of a full cache.
func BenchmarkMX(b *testing.B) {
	d := testenv.NewDNS(b, "x.example. 3600 MX 10 mx.x.example.", "x.example. 3600 MX 20 mx2.x.example.")
	for _, bm := range []struct {
		name string
		size int
	}{{"cached", 0}, {"asked", -1}} {
		b.Run(bm.name, func(b *testing.B) {
			r := New(Options{Servers: []string{d.Addr()}, CacheSize: bm.size})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := r.MX(b.Context(), "x.example"); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	b.Run("distinct", func(b *testing.B) {
		r := New(Options{Servers: []string{d.Addr()}, CacheSize: -1})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.MX(b.Context(), fmt.Sprintf("n%d.example", i))
		}
	})
}

func BenchmarkCacheFull(b *testing.B) {
	var c cache
	c.init(defaultCache)
	a := answer{records: []record{{host: "mx1.example.org."}, {host: "mx2.example.org."}}, ttl: maxTTL}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.put(question{fmt.Sprintf("name-%d.example.org", i), 15}, a)
	}
}
