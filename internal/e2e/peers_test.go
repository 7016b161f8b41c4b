//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// syncBuffer is a bytes.Buffer that a process writes while a test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// unpack downloads a Debian package and unpacks it beside the others, once for
// all tests of a machine; it returns the root of the tree. Nothing is installed.
func unpack(t *testing.T, pkg string) string {
	t.Helper()
	root := filepath.Join(os.TempDir(), "postoffice-peers", pkg)
	if _, err := os.Stat(filepath.Join(root, "usr")); err == nil {
		return root
	}
	tmp, err := os.MkdirTemp("", "po-deb-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	os.Chmod(tmp, 0o755)
	download := exec.Command("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", pkg)
	download.Dir = tmp
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("download %s: %v (is the package index there? run apt-get update)\n%s", pkg, err, out)
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		t.Fatalf("download %s: want one file, got %v", pkg, debs)
	}
	sh(t, "mkdir", "-p", root)
	sh(t, "dpkg", "-x", debs[0], root)
	os.Chmod(filepath.Dir(root), 0o755)
	return root
}

// zone is what the lan's DNS server says, a line of a zone each.
func (l *lan) dns(records ...string) *host {
	l.t.Helper()
	h := l.host("ns.test") // the first host: its address stands in everybody's resolv.conf
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n interface: %s\n username: \"\"\n chroot: \"\"\n directory: %q\n pidfile: \"\"\n", h.IP, h.Dir)
	conf.WriteString(" use-syslog: no\n logfile: \"\"\n access-control: 0.0.0.0/0 allow\n do-ip6: no\n module-config: \"iterator\"\n")
	conf.WriteString(" local-zone: \"test.\" static\n local-zone: \"10.in-addr.arpa.\" static\n local-zone: \"example.\" static\n")
	for _, r := range records {
		fmt.Fprintf(&conf, " local-data: '%s'\n", r)
	}
	conf.WriteString("remote-control:\n control-enable: no\n")
	writeFile(l.t, h.path("unbound.conf"), conf.String())
	h.start(h.command(context.Background(), "unbound", "-d", "-c", h.path("unbound.conf")))
	return h
}

// listening waits until the host has a listener on the port.
func (h *host) listening(port string) {
	h.t.Helper()
	until(h.t, 20*time.Second, h.Name+" listens on port "+port, func() bool {
		out, err := h.try("ss", "-Hltn", "sport", "=", ":"+port)
		return err == nil && strings.Contains(out, ":"+port)
	})
}

// swaks sends a message from the host with swaks and returns its transcript.
func (h *host) swaks(server string, args ...string) string {
	h.t.Helper()
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.run(append([]string{"swaks", "--server", host, "--port", port, "--timeout", "60"}, args...)...)
}
