//go:build e2e && bench

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// contender is one of the two servers that the benchmark compares.
type contender struct {
	*host
	name   string
	queue  []string // directories that hold a message until it is done
	mail   string
	start  func(mode benchMode) *process
	sender func(to string) []string // a command that submits standard input
}

// benchMode says what is switched off while something is measured.
type benchMode struct {
	queueOnly bool   // accept, deliver nothing
	relay     string // the host that remote mail goes to
}

// TestBench prints how we compare with Postfix: both run as root trees on the
// same disk, in turns, and each figure is the median of its rounds. It asserts
// no time; docs/performance.md says what the figures mean.
func TestBench(t *testing.T) {
	l := newLAN(t)
	l.dns("ours.test. IN A 10.77.0.2", "ours.test. IN MX 10 ours.test.",
		"pf.test. IN A 10.77.0.3", "pf.test. IN MX 10 pf.test.",
		"sink.test. IN A 10.77.0.4", "sink.test. IN MX 10 sink.test.")
	thousand := make([]user, 1000)
	for i := range thousand {
		thousand[i] = user{fmt.Sprintf("%du", i+1), 3000 + i, 3000 + i}
	}
	ours := oursContender(l.host("ours.test", thousand...))
	theirs := postfixContender(l.host("pf.test", thousand...))
	sink := l.host("sink.test")
	sink.start(sink.command(t.Context(), sourceTool(t, "smtp-sink"), "-c", "-u", "root", sink.IP+":25", "1000"))
	sink.listening("25")

	sides := []*contender{ours, theirs}
	for _, w := range workloads {
		if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, w.key) {
			continue
		}
		w.measure(t, sides)
	}
}

// workload is one line of the table.
type workload struct {
	key, what string
	unit      string
	mode      benchMode
	rounds    int
	run       func(t *testing.T, c *contender) float64 // higher is better, unless lower is set
	lower     bool
	floor     func(t *testing.T, dir string) float64 // what the disk alone gives; nil: none
}

var workloads = []workload{
	{key: "a", what: "accepted durably, deliveries stopped", unit: "messages/s", mode: benchMode{queueOnly: true}, rounds: 5,
		run: func(t *testing.T, c *contender) float64 { return c.accept(t, 4000, "alice@"+c.Name) }, floor: diskFloor},
	{key: "b", what: "accepted and delivered to one mailbox", unit: "messages/s", rounds: 3,
		run: func(t *testing.T, c *contender) float64 { return c.acceptAndDrain(t, 3000, "alice@"+c.Name) }},
	{key: "c", what: "accepted and delivered to 1,000 mailboxes", unit: "messages/s", rounds: 3,
		run: func(t *testing.T, c *contender) float64 { return c.acceptAndDrain(t, 1000, "u@"+c.Name, "-N") }},
	{key: "d", what: "relayed through to smtp-sink", unit: "messages/s", rounds: 3, mode: benchMode{relay: "10.77.0.4"},
		run: func(t *testing.T, c *contender) float64 { return c.acceptAndDrain(t, 3000, "x@sink.test") }},
	{key: "e", what: "one sendmail call of 4 KiB", unit: "ms", rounds: 3, lower: true, mode: benchMode{queueOnly: true},
		run: func(t *testing.T, c *contender) float64 { return c.submit(t, 200) }},
}

// measure runs the rounds of a workload in turns and prints its line.
func (w workload) measure(t *testing.T, sides []*contender) {
	figures := map[string][]float64{}
	for round := range w.rounds {
		for _, c := range sides {
			p := c.start(w.mode)
			figures[c.name] = append(figures[c.name], w.run(t, c))
			p.stop()
			c.empty()
		}
		if w.floor != nil {
			figures["floor"] = append(figures["floor"], w.floor(t, sides[0].path("floor", fmt.Sprint(round))))
		}
	}
	med := func(name string) float64 {
		f := slices.Clone(figures[name])
		slices.Sort(f)
		return f[len(f)/2]
	}
	ratio := med("postoffice") / med("postfix")
	line := fmt.Sprintf("(%s) %-44s postoffice %8.1f  postfix %8.1f %s  ratio %.2f", w.key, w.what, med("postoffice"), med("postfix"), w.unit, ratio)
	if w.floor != nil {
		line += fmt.Sprintf("  floor %.1f, we reach %.0f %%", med("floor"), 100*med("postoffice")/med("floor"))
	}
	fmt.Println(line)
	fmt.Printf("    rounds: postoffice %.0f postfix %.0f floor %.0f\n", figures["postoffice"], figures["postfix"], figures["floor"])
}

// sourceTool is one of Postfix's load tools, unpacked.
func sourceTool(t *testing.T, name string) string {
	root := unpack(t, "postfix")
	writeFile(t, "/etc/ld.so.conf.d/postoffice-peers.conf", filepath.Join(root, "usr/lib/postfix")+"\n")
	sh(t, "ldconfig")
	return filepath.Join(root, "usr/sbin", name)
}

// accept sends n messages of 4 KiB over 20 sessions and returns messages a second.
func (c *contender) accept(t *testing.T, n int, to string, flags ...string) float64 {
	args := append([]string{sourceTool(t, "smtp-source"), "-d", "-s", "20", "-l", "4096", "-m", fmt.Sprint(n),
		"-M", "bench.test", "-f", "x@bench.test", "-t", to}, flags...)
	begin := time.Now()
	c.run(append(args, c.IP+":25")...)
	return float64(n) / time.Since(begin).Seconds()
}

// acceptAndDrain does the same and stops the clock when the queue is empty.
func (c *contender) acceptAndDrain(t *testing.T, n int, to string, flags ...string) float64 {
	begin := time.Now()
	c.accept(t, n, to, flags...)
	until(t, 5*time.Minute, c.name+" drains its queue", c.drained)
	return float64(n) / time.Since(begin).Seconds()
}

// submit runs the server's sendmail n times, one after the other, and returns
// milliseconds for one.
func (c *contender) submit(t *testing.T, n int) float64 {
	message := "Subject: bench\n\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", 64)
	writeFile(t, c.path("message"), message)
	loop := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s < %s || exit 1; i=$((i+1)); done`,
		n, strings.Join(c.sender("alice@"+c.Name), " "), c.path("message"))
	begin := time.Now()
	c.run("sh", "-c", loop)
	return time.Since(begin).Seconds() * 1000 / float64(n)
}

// drained reports whether no message is left in the queue's directories.
func (c *contender) drained() bool {
	for _, dir := range c.queue {
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		names, _ := f.Readdirnames(1)
		f.Close()
		if len(names) > 0 {
			return false
		}
	}
	return true
}

// empty throws away what a round left, so that each begins alike.
func (c *contender) empty() {
	for _, dir := range append(c.queue, c.mail) {
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range names {
			os.RemoveAll(name)
		}
	}
}

func oursContender(h *host) *contender {
	s := h.install()
	c := &contender{host: h, name: "postoffice", mail: s.mail,
		queue:  []string{s.path("queue", "queue"), s.path("queue", "tmp")},
		sender: func(to string) []string { return []string{applet("sendmail"), "-C", s.cf, to} }}
	c.start = func(m benchMode) *process {
		settings := []string{"clients=200"}
		if m.queueOnly {
			settings = append(settings, "queue-only")
		}
		if m.relay != "" {
			settings = append(settings, "relay-host=["+m.relay+"]", "trusted="+h.IP)
		}
		s.configure("listen="+h.IP+":25", settings...)
		return s.serve()
	}
	return c
}

func postfixContender(h *host) *contender {
	c := &contender{host: h, name: "postfix", mail: h.path("pf", "mail")}
	for _, d := range []string{"incoming", "active", "deferred", "maildrop"} {
		c.queue = append(c.queue, h.path("pf", "spool", d))
	}
	c.sender = func(to string) []string {
		return []string{"env", "MAIL_CONFIG=" + h.path("pf", "etc"), sourceTool(h.t, "sendmail"), to}
	}
	c.start = func(m benchMode) *process {
		settings := []string{"default_process_limit=200", "in_flow_delay=0"}
		if m.relay != "" {
			settings = append(settings, "relayhost=["+m.relay+"]")
		}
		if m.queueOnly {
			settings = append(settings, "!qmgr")
		}
		return h.postfix(settings...)
	}
	return c
}
