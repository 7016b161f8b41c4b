package remote

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postoffice/internal/testenv"
	"postoffice/resolver"
)

// A58, A63, R62, B38: next hops by the real resolver from a scripted server.
func TestA58AgainstDNS(t *testing.T) {
	records := []string{
		"two.example. MX 20 mx2.example.", "two.example. MX 10 mx1.example.",
		"mx1.example. A 198.51.100.1", "mx2.example. A 198.51.100.2", "mx2.example. AAAA 2001:db8::2",
		"null.example. MX 0 .",
		"bare.example. A 198.51.100.3",
		"six.example. AAAA 2001:db8::6",
		"ours.example. MX 10 me.example.", "me.example. A 192.0.2.1",
		"backup.example. MX 10 mx1.example.", "backup.example. MX 20 me.example.", "backup.example. MX 30 mx2.example.",
		"loop.example. MX 10 lo.example.", "lo.example. A 127.0.0.1", "zero.example. MX 0 nil.example.", "nil.example. A 0.0.0.0",
		"none.example. TXT nothing", "nonemx.example. MX 10 gone.example.", "nonemx.example. A 198.51.100.3",
		"alias.example. CNAME two.example.", "self.example. CNAME self.example.",
		"mxalias.example. MX 10 toalias.example.", "toalias.example. CNAME mx1.example.",
		"smart.example. A 198.51.100.66",
	}
	for i := range 11 {
		records = append(records, fmt.Sprintf("c%d.example. CNAME c%d.example.", i, i+1))
	}
	records = append(records, "c11.example. MX 10 mx1.example.")
	d := testenv.NewDNS(t, records...)
	d.Script("MX servfail.example", testenv.Servfail)
	d.Script("MX silent.example", testenv.Silent)
	d.Script("MX garbage.example", testenv.CompressionLoop)
	d.Script("MX empty.example", testenv.Empty)
	d.Script("MX wrong.example", testenv.WrongQuestion)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 smart.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := &Router{Hostname: "us.example", Resolver: resolver.New(resolver.Options{
		Servers: []string{d.Addr()}, Try: 100 * time.Millisecond, HostsFile: hosts,
		Interfaces: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil },
	})}
	const mx1, mx2 = "mx1.example[198.51.100.1]:25", "mx2.example[198.51.100.2]:25 mx2.example[2001:db8::2]:25"
	for domain, want := range map[string]string{
		"two.example":      mx1 + " " + mx2,
		"TWO.example.":     mx1 + " " + mx2,
		"alias.example":    mx1 + " " + mx2,
		"mxalias.example":  "toalias.example[198.51.100.1]:25",
		"null.example":     "bounced 5.1.10",
		"gone.example":     "bounced 5.1.2",
		"bare.example":     "bare.example[198.51.100.3]:25",
		"six.example":      "six.example[2001:db8::6]:25",
		"ours.example":     "bounced 5.4.6",
		"me.example":       "bounced 5.4.6",
		"backup.example":   mx1,
		"loop.example":     "bounced 5.4.6",
		"zero.example":     "bounced 5.4.6",
		"none.example":     "deferred",
		"nonemx.example":   "bounced 5.4.4", // A only without MX
		"self.example":     "deferred",
		"c0.example":       "deferred", // eleven CNAMEs
		"c1.example":       mx1,        // ten
		"servfail.example": "deferred",
		"silent.example":   "deferred",
		"garbage.example":  "deferred",
		"wrong.example":    "deferred",
		"empty.example":    "bounced 5.1.2", // its addresses are NXDOMAIN
	} {
		list, err := r.NextHops(t.Context(), domain)
		if got := hopWords(list, err); got != want {
			t.Errorf("%s: %s (%v), want %s", domain, got, err, want)
		}
	}
	if got := relayWords(r.RelayHops(t.Context(), "smart.example:2525")); got != "smart.example[127.0.0.1]:2525" {
		t.Errorf("relay-host: %s", got)
	}
	if got := relayWords(r.RelayHops(t.Context(), "gone.example")); got != "deferred" {
		t.Errorf("relay-host that does not exist: %s", got)
	}
}
