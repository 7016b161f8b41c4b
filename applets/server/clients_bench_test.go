package server

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
)

// BenchmarkTrusted: a stranger among 1,000 networks of option trusted.
func BenchmarkTrusted(b *testing.B) {
	var nets []string
	for i := range 1000 {
		nets = append(nets, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	c := newClients(b.Context(), nets, netip.Addr.IsLoopback, nil, slog.New(slog.DiscardHandler))
	stranger := netip.MustParseAddr("198.51.100.7")
	for b.Loop() {
		if local, trusted := c.of(stranger); local || trusted {
			b.Fatal("a stranger is trusted")
		}
	}
}
