//go:build e2e

package lan

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// DNS starts the LAN's DNS server, which says these records, a line of a zone each.
func (l *LAN) DNS(records ...string) *Host {
	l.t.Helper()
	h := l.Host("ns.test") // the first host: its address stands in everybody's resolv.conf
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n interface: %s\n username: \"\"\n chroot: \"\"\n directory: %q\n pidfile: \"\"\n", h.IP, h.Dir)
	conf.WriteString(" use-syslog: no\n logfile: \"\"\n access-control: 0.0.0.0/0 allow\n do-ip6: no\n module-config: \"iterator\"\n")
	conf.WriteString(" local-zone: \"test.\" static\n local-zone: \"10.in-addr.arpa.\" static\n local-zone: \"example.\" static\n")
	for _, r := range records {
		fmt.Fprintf(&conf, " local-data: '%s'\n", r)
	}
	conf.WriteString("remote-control:\n control-enable: no\n")
	WriteFile(l.t, h.Path("unbound.conf"), conf.String())
	h.Start(h.Command(context.Background(), "unbound", "-d", "-c", h.Path("unbound.conf")))
	return h
}

// Listening waits until the host has a listener on the port.
func (h *Host) Listening(port string) {
	h.T.Helper()
	Until(h.T, 20*time.Second, h.Name+" listens on port "+port, func() bool {
		out, err := h.Try("ss", "-Hltn", "sport", "=", ":"+port)
		return err == nil && strings.Contains(out, ":"+port)
	})
}

// Swaks sends a message from the host with swaks and returns its transcript.
func (h *Host) Swaks(server string, args ...string) string {
	h.T.Helper()
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		h.T.Fatal(err)
	}
	return h.Run(append([]string{"swaks", "--server", host, "--port", port, "--timeout", "60"}, args...)...)
}
