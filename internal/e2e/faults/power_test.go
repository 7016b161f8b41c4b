//go:build e2e

package faults

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
	"postoffice/internal/testenv"
)

// The power cuts need these Debian packages: btrfs-progs, e2fsprogs, mount, and
// for -faults=long xfsprogs.

// fileSystem is one that the spool is put on.
type fileSystem struct {
	name string
	mkfs []string
	size string // of the image
}

var fileSystems = []fileSystem{
	{"ext4", []string{"mkfs.ext4", "-q", "-F"}, "256M"},
	{"xfs", []string{"mkfs.xfs", "-q", "-f"}, "512M"},
	{"btrfs", []string{"mkfs.btrfs", "-q", "-f"}, "512M"},
}

// noLoops says why this machine can't mount files; "" if it claims that it can.
func noLoops(kinds ...string) string {
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return err.Error()
	}
	for _, kind := range kinds {
		exec.Command("modprobe", "-q", kind).Run() // built in, perhaps
		known, err := os.ReadFile("/proc/filesystems")
		if err != nil || !bytes.Contains(known, []byte("\t"+kind+"\n")) {
			return "the kernel has no " + kind
		}
	}
	return ""
}

// machine is a disk whose power can be cut: an image on a file system with
// reflinks, mounted.
type machine struct {
	*lan.Host
	fs    fileSystem
	image string
	disk  string // where it is mounted
}

// newMachine makes the disk. What is mounted goes with the test.
func newMachine(h *lan.Host, fs fileSystem) *machine {
	m := &machine{Host: h, fs: fs, image: h.Path("btrfs", "disk"), disk: h.Path("disk")}
	below := h.Path("below")
	for _, dir := range []string{h.Path("btrfs"), m.disk} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			h.T.Fatal(err)
		}
	}
	lan.Sh(h.T, "truncate", "-s", "3G", below)
	lan.Sh(h.T, "mkfs.btrfs", "-q", "-f", below)
	m.mount(below, h.Path("btrfs"))
	lan.Sh(h.T, "truncate", "-s", fs.size, m.image)
	lan.Sh(h.T, append(fs.mkfs, m.image)...)
	m.mount(m.image, m.disk)
	return m
}

// mount mounts an image until the test ends or unmount is called.
func (m *machine) mount(image, dir string) {
	m.T.Helper()
	options := "loop"
	if m.fs.name == "xfs" && dir == m.disk { // a copy has the UUID of what a namespace may still have mounted
		options += ",nouuid"
	}
	lan.Sh(m.T, "mount", "-o", options, image, dir)
	m.T.Cleanup(func() { exec.Command("umount", "-l", dir).Run() }) // a namespace made meanwhile has it as well
}

// unmount lets go of the disk. Its last user may still be on its way out.
func (m *machine) unmount(dir string) {
	lan.Until(m.T, 20*time.Second, dir+" is unmounted", func() bool {
		if exec.Command("mountpoint", "-q", dir).Run() != nil {
			return true
		}
		return exec.Command("umount", dir).Run() == nil
	})
	if m.fs.name == "btrfs" { // copies have the same UUID
		exec.Command("btrfs", "device", "scan", "--forget").Run()
	}
}

// site is a root tree whose spool, run directory and mailboxes are on the disk.
func (m *machine) site(settings ...string) *lan.Site {
	on := *m.Host
	on.Dir = m.disk
	s := on.Install(settings...)
	s.Config, s.Log = m.Path("postoffice.cf"), m.Path("log")
	s.Configure("listen="+m.IP+":25", settings...)
	return s
}

// cut is a moment at which the power went.
type cut struct {
	image string
	acked map[string]letters.Letter // before
	sent  []letters.Delivery        // what the next host had taken, right after
}

// cut takes what the disk holds at this instant. Nothing is flushed or frozen.
func (m *machine) cut(n int, f *letters.Fleet, sink *testenv.Sink) cut {
	m.T.Helper()
	c := cut{image: fmt.Sprintf("%s.%d", m.image, n), acked: f.Snapshot()}
	lan.Sh(m.T, "cp", "--reflink=always", m.image, c.image)
	c.sent = letters.ReadSink(sink)
	return c
}

// TestPowerCut cuts the power while writers run: a reflinked copy of the disk's
// image is what the disk held at that instant. Each copy is mounted, recovered
// and compared with what had been acknowledged by then.
func TestPowerCut(t *testing.T) {
	kinds := fileSystems[:1]
	if *faults == "long" {
		kinds = fileSystems
	}
	names := []string{"btrfs"}
	for _, fs := range kinds {
		names = append(names, fs.name)
	}
	if why := noLoops(names...); why != "" {
		t.Logf("NOT TESTED: no power was cut, this machine can't mount a file: %s", why)
		return
	}
	for _, fs := range kinds {
		t.Run(fs.name, func(t *testing.T) { powerCuts(t, fs, many(20, 100)) })
	}
}

func powerCuts(t *testing.T, fs fileSystem, n int) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.3", "two.test. IN A 10.77.0.2", "two.test. IN MX 10 two.test.")
	two := l.Host("two.test")
	sink := &testenv.Sink{}
	go sink.Serve(two.Listen("25"))
	t.Cleanup(sink.Close)
	m := newMachine(l.Host("one.test"), fs)
	s := m.site("trusted=10.77.0.2", "clients=50")
	k := newKeeper(s, two)
	k.up()
	f := letters.NewFleet(s, two, 6000, "alice@one.test", "bob@one.test", "x@two.test")
	f.Write(4, net.JoinHostPort(m.IP, "25"))
	f.Submit("carol")
	var cuts []cut
	for i := range n {
		if !lan.Pause(t.Context(), letters.Span(50*time.Millisecond, 400*time.Millisecond)) {
			return
		}
		cuts = append(cuts, m.cut(i, f, sink))
	}
	f.Stop()
	k.end()
	m.unmount(m.disk)
	for _, c := range cuts {
		if !t.Failed() {
			m.recover(s, two, f, c)
		}
	}
}

// recover starts the machine again with what its disk held.
func (m *machine) recover(s *lan.Site, two *lan.Host, f *letters.Fleet, c cut) {
	m.T.Helper()
	sink := &testenv.Sink{}
	after := two.Listen("2526")
	go sink.Serve(after)
	defer sink.Close()
	defer after.Close()
	m.mount(c.image, m.disk)
	defer os.Remove(c.image)
	defer m.unmount(m.disk)
	for name := range mailboxLocks(s) {
		os.Remove(name) // its process died with the machine; here it lived on
	}
	s.Configure("listen="+m.IP+":25", "relay-host=["+two.IP+"]:2526")
	recovered(s)
	sent := append(own(f.Ledger, c.sent), letters.ReadSink(sink)...)
	f.Outcome(m.T, c.acked, inFlight, mailboxes(s), map[string][]letters.Delivery{"sink": sent})
}

// inFlight bounds how many deliveries one power cut may catch between their end
// and their record: all that the machine does at the instant ends, two batches
// for each of two mailboxes and four sessions with the next host.
const inFlight = 8

// mailboxLocks are the dot locks in the mail directory.
func mailboxLocks(s *lan.Site) map[string]bool {
	all := map[string]bool{}
	for _, e := range lan.ReadDir(s.T, s.Mail) {
		if strings.HasSuffix(e.Name(), ".lock") {
			all[filepath.Join(s.Mail, e.Name())] = true
		}
	}
	return all
}
