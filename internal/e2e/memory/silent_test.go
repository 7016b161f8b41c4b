//go:build e2e

package memory

import (
	"fmt"
	"net"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestA39SilentNamesOfTree weighs the root tree when a user has sent 435 messages to
// 1,000 names each, whose DNS says nothing.
func TestA39SilentNamesOfTree(t *testing.T) {
	const messages, recipients = 435, 1000
	l := lan.New(t)
	l.DNS()
	one, ns := l.Host("one.test"), l.Host("silent.test")
	silent, err := lan.Inside(ns, func() (net.PacketConn, error) { return net.ListenPacket("udp4", ns.IP+":53") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	s := one.Install("dns-server="+ns.IP, "minfree=0")
	s.Serve()
	fresh, _ := one.PSS()
	server := one.PidOf("postoffice: server")
	before := len(lan.ReadDir(t, fmt.Sprintf("/proc/%d/fd", server)))
	to := make([]string, recipients)
	for i := range messages {
		for n := range to {
			to[n] = fmt.Sprintf("x@n%d.m%d.test", n, i)
		}
		s.Submit("carol", "Subject: x\n\nbody\n", to...)
	}
	buf := make([]byte, 512)
	for range 100 { // a user's share is 24 at a time, each with four tries: some have been given up
		silent.SetReadDeadline(time.Now().Add(time.Minute))
		if _, _, err := silent.ReadFrom(buf); err != nil {
			t.Fatalf("the DNS server is asked no more: %v", err)
		}
	}
	weight, each := one.PSS()
	files := len(lan.ReadDir(t, fmt.Sprintf("/proc/%d/fd", server)))
	t.Logf("%d KiB and %d descriptors before, %d KiB and %d with %d messages:%s", fresh, before, weight, files, messages, each)
	if weight-fresh > 100<<10 {
		t.Errorf("the messages take %d KiB, at most 100 MiB are allowed", weight-fresh)
	}
	if files > 1000 {
		t.Errorf("the server has %d descriptors, at most 1,000 are allowed", files)
	}
}
