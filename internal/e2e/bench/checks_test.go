//go:build e2e && bench

package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// TestBenchChecks prints what the checks of clients cost: messages that a stranger sends
// to a server with each check on, 10,000 lines of hosts.deny and 1,000 networks of
// option trusted, beside one without any, in turns. Of both it is the same client, on
// a host of its own, whose name DNS has said in the messages that don't count; none of
// the checks refuses it. Deliveries are stopped. Once each message has a session of its
// own, so that all checks are made for each, and once 20 sessions stay open. The goal
// is that accepting keeps its ratio within 3 %.
func TestBenchChecks(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "k") {
		return
	}
	l := lan.New(t)
	soa := " 3600 IN SOA ns.test. root.ns.test. 1 3600 600 86400 3600" // says how long "no such records" is kept
	l.DNS("test."+soa, "10.in-addr.arpa."+soa, "bench.test. IN MX 10 client.test.", "checked.test. IN A 10.77.0.2", "plain.test. IN A 10.77.0.3", "client.test. IN A 10.77.0.4",
		"4.0.77.10.in-addr.arpa. IN PTR client.test.", "bench.test. IN A 10.77.0.4")
	checkedHost, plainHost, client := l.Host("checked.test"), l.Host("plain.test"), l.Host("client.test")

	var deny strings.Builder
	denyFile, none := checkedHost.Path("hosts.deny"), plainHost.Path("none")
	settings := []string{"hosts-deny=" + denyFile, "hosts-allow=" + none, "paranoid", "dnscheck", "localmx", "checkhelo", "verify-from=yes", "nodaemon"}
	for i := range 5000 {
		fmt.Fprintf(&deny, "smtpd: 172.16.%d.%d\nsmtpd: .spam%d.example\n", i/256, i%256, i)
	}
	for i := range 1000 {
		settings = append(settings, fmt.Sprintf("trusted=172.%d.%d.0/24", 20+i/256, i%256))
	}
	lan.WriteFile(t, denyFile, deny.String())
	checked := oursWith(checkedHost, settings...)
	plain := oursWith(plainHost, "hosts-deny="+none, "hosts-allow="+none, "banner="+none, "verify-from=no")
	checked.name, plain.name = "checked", "plain"
	checked.from, plain.from = client, client

	sides := []*contender{checked, plain}
	workload{key: "k", mode: benchMode{queueOnly: true}, rounds: 5,
		lines: []line{{"all checks, a session for each message", "messages/s", "0.97 or more"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.acceptEach(t, 4000, "alice@"+c.Name)}
		}}.measure(t, sides)
	workload{key: "k", mode: benchMode{queueOnly: true}, rounds: 5,
		lines: []line{{"all checks, 20 sessions that stay open", "messages/s", "0.97 or more"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.accept(t, 4000, "alice@"+c.Name)}
		}}.measure(t, sides)
}
