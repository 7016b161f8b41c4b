//go:build e2e && bench

package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/e2e/lan"
)

// contender is one of the two servers that the benchmark compares.
type contender struct {
	*lan.Host
	name     string
	queue    []string // directories that hold a message until it is done
	mail     string
	sessions int       // how many idle ones are weighed
	from     *lan.Host // where its SMTP clients run
	far      *lan.Host // where idle ones do: one user of its own host has a share of the sessions
	start    func(mode benchMode) *lan.Process
	sender   func(to string) []string // a command that submits standard input
	curves   []tls.CurveID            // what its clients offer for keys under TLS, nil for what Go's do
}

// benchMode says what is switched off while something is measured.
type benchMode struct {
	queueOnly bool   // accept, deliver nothing
	relay     string // the host that remote mail goes to
	list      string // the file with the members of the alias "everybody"; "": none
}

// TestBench prints how we compare with Postfix: both run as root trees, in turns,
// and each figure is the median of its rounds. It asserts no time;
// docs/performance.md says what the figures mean.
//
// What is alike for the two: the machine, the file system (that of TMPDIR), the
// client and where it runs (on the server's host, in its network namespace), 20
// sessions, messages of 4 KiB, no DNS question that the other doesn't ask, a log
// to a file, locks of the mailboxes (a dot lock and fcntl), durability (Postfix's
// defaults: each queue file is synced before its 250, each mailbox after each
// message; ours: the same, and the directories too), and room for 200 sessions.
// Postfix's brake on clients that are faster than its deliveries (in_flow_delay)
// is off; all else of it is as it comes. The two take turns in going first. What
// a round leaves is moved aside, not deleted: some file systems (ext4 without a
// journal) search long for a free inode where many files were deleted just before.
// Each round begins with a fresh start of the server, 100 messages that don't
// count, and a sync.
func TestBench(t *testing.T) {
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "ours.test. IN MX 10 ours.test.",
		"pf.test. IN A 10.77.0.3", "pf.test. IN MX 10 pf.test.",
		"sink.test. IN A 10.77.0.4", "sink.test. IN MX 10 sink.test.")
	thousand := make([]lan.User, 1000)
	for i := range thousand {
		thousand[i] = lan.Account(fmt.Sprintf("%du", i+1), 3000+i)
	}
	ours := oursContender(l.Host("ours.test", thousand...))
	theirs := postfixContender(l.Host("pf.test", thousand...))
	sink := l.Host("sink.test")
	sink.Start(sink.Command(t.Context(), lan.PostfixTool(t, "smtp-sink", "-c", "-u", "root", sink.IP+":25", "1000")...))
	sink.Listening("25")

	ours.far, theirs.far = sink, sink

	fmt.Println(place(t, ours.Dir))
	sides := []*contender{ours, theirs}
	for _, w := range workloads {
		if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, w.key) {
			continue
		}
		w.measure(t, sides)
	}
}

// workload is what both sides go through, for one line of the table or more.
type workload struct {
	key    string
	lines  []line
	mode   benchMode
	rounds int
	each   int                                            // messages of a round, for the processor time that one takes; 0: it isn't printed
	run    func(t *testing.T, c *contender) []float64     // a figure for each line
	floor  func(t *testing.T, dir string) float64         // what the disk alone gives; nil: none
	ours   func(t *testing.T, c *contender) (what string) // what only we are measured for; nil: nothing
}

// line is one line of the table: what was measured, its unit, and the ratio to
// Postfix that is aimed at.
type line struct{ what, unit, goal string }

var workloads = []workload{
	// 4,000 messages from smtp-source over 20 sessions that stay open, none
	// delivered: ours runs with queue-only, Postfix without its queue manager. The
	// clock runs from the start of smtp-source to its end. The floor is 20 writers
	// that each create a file of 4 KiB, sync it and sync its directory.
	{key: "a", mode: benchMode{queueOnly: true}, rounds: 5, each: 4000, floor: diskFloor,
		lines: []line{{"accepted durably, deliveries stopped", "messages/s", "1.7 or more"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.accept(t, 4000, "alice@"+c.Name)}
		}},
	// The same with deliveries, all to alice's mailbox. The clock stops when no
	// message is left in the queue.
	{key: "b", rounds: 3, each: 3000,
		lines: []line{{"accepted and delivered to one mailbox", "messages/s", "2 or more"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.acceptAndDrain(t, 3000, "alice@"+c.Name)}
		}},
	// The same to 1,000 users, one message each, to mailboxes that don't exist yet.
	{key: "c", rounds: 3, each: 1000,
		lines: []line{{"accepted and delivered to 1,000 mailboxes", "messages/s", "1.5 or more"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.acceptAndDrain(t, 1000, "u@"+c.Name, "-N")}
		}},
	// The same to another host by relay-host, where smtp-sink takes and forgets
	// them. Postfix has up to 20 sessions to it at once, its default.
	{key: "d", rounds: 3, each: 3000, mode: benchMode{relay: "10.77.0.4"},
		lines: []line{{"relayed through to smtp-sink", "messages/s", "2 or more"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.acceptAndDrain(t, 3000, "x@sink.test")}
		}},
	// 200 calls of sendmail from a shell, one after the other, each from its start
	// to its exit. Ours hands the message to the server, which answers when it is
	// in the queue; Postfix's starts postdrop, which writes it to maildrop, synced.
	{key: "e", rounds: 3, mode: benchMode{queueOnly: true},
		lines: []line{{"one sendmail call of 4 KiB", "ms", "0.75 or less"}},
		run: func(t *testing.T, c *contender) []float64 {
			return []float64{c.submit(t, 200)}
		}},
	// 20 sessions from a client of this test, each with one message after the
	// other and no pause: what a client waits after its final dot. Once with
	// deliveries stopped, as (a), once with deliveries to one mailbox, as (b).
	{key: "f", rounds: 3, mode: benchMode{queueOnly: true},
		lines: []line{{"final dot to 250, no deliveries, p50", "ms", ""}, {"final dot to 250, no deliveries, p99", "ms", ""}},
		run:   func(t *testing.T, c *contender) []float64 { return c.dots(t) }},
	{key: "f", rounds: 3,
		lines: []line{{"final dot to 250, one mailbox, p50", "ms", ""}, {"final dot to 250, one mailbox, p99", "ms", ""}},
		run:   func(t *testing.T, c *contender) []float64 { return c.dots(t) }},
	// The proportional share (PSS) of all processes of a side together: after 100
	// messages, with idle sessions, and after 1,000 messages more. A session of
	// Postfix is a process, so it gets 100 of them and we 1,000; those processes end
	// after 100 s without work, and its last figure is from before that.
	{key: "g", rounds: 1,
		lines: []line{{"all processes after 100 messages", "MiB PSS", ""}, {"one idle session", "KiB PSS", ""},
			{"all processes after 1,000 messages more", "MiB PSS", ""}},
		run: func(t *testing.T, c *contender) []float64 { return c.weigh(t) }, ours: weighBig},
}

// measure runs the rounds of a workload in turns and prints its lines, of which each
// compares the first side with the second.
func (w workload) measure(t *testing.T, sides []*contender) {
	figures := make([]map[string][]float64, len(w.lines)) // by line and side
	for i := range figures {
		figures[i] = map[string][]float64{}
	}
	alone, used := "", map[string][]float64{}
	for round := range w.rounds {
		for turn := range sides {
			c := sides[(round+turn)%len(sides)]
			p := c.start(w.mode)
			c.warm(t, w.mode)
			unix.Sync()
			before := c.processorTime()
			for i, f := range w.run(t, c) {
				figures[i][c.name] = append(figures[i][c.name], f)
			}
			if w.each > 0 {
				used[c.name] = append(used[c.name], float64((c.processorTime()-before)/time.Microsecond)/float64(w.each))
			}
			if w.ours != nil && c == sides[0] {
				alone = w.ours(t, c)
			}
			p.Stop()
			c.empty()
		}
		if w.floor != nil {
			unix.Sync()
			figures[0]["floor"] = append(figures[0]["floor"], w.floor(t, sides[0].Path("floor", fmt.Sprint(round))))
		}
	}
	for i, l := range w.lines {
		l.print(w.key, sides, figures[i])
	}
	if w.each > 0 {
		line{"processor time of the servers, a message", "µs", ""}.print(w.key, sides, used)
	}
	if alone != "" {
		fmt.Printf("(%s) %s\n", w.key, alone)
	}
}

// print prints the medians of a line, and the rounds below.
func (l line) print(key string, sides []*contender, figures map[string][]float64) {
	one, other := sides[0].name, sides[1].name
	med := func(name string) float64 {
		f := slices.Sorted(slices.Values(figures[name]))
		return f[len(f)/2]
	}
	text := fmt.Sprintf("(%s) %-42s %s %8.1f  %s %8.1f %-10s  ratio %.2f", key, l.what, one, med(one), other, med(other), l.unit, med(one)/med(other))
	if l.goal != "" {
		text += ", goal " + l.goal
	}
	if floor := figures["floor"]; floor != nil {
		text += fmt.Sprintf("; floor %.1f, we reach %.0f %% of it", med("floor"), 100*med(one)/med("floor"))
	}
	fmt.Println(text)
	fmt.Printf("    rounds: %s %.1f %s %.1f", one, figures[one], other, figures[other])
	if figures["floor"] != nil {
		fmt.Printf(" floor %.1f", figures["floor"])
	}
	fmt.Println()
}

// warm has the server start what it starts at its first messages.
func (c *contender) warm(t *testing.T, m benchMode) {
	c.accept(t, 100, "alice@"+c.Name)
	if m.queueOnly {
		c.empty()
		return
	}
	lan.Until(t, time.Minute, c.name+" drains its queue", c.drained)
}

// accept sends n messages of 4 KiB over 20 sessions and returns messages a second.
func (c *contender) accept(t *testing.T, n int, to string, flags ...string) float64 {
	flags = append(flags, "-d")
	return c.acceptEach(t, n, to, flags...)
}

// acceptEach does so in a session for each message.
func (c *contender) acceptEach(t *testing.T, n int, to string, flags ...string) float64 {
	args := append(lan.PostfixTool(t, "smtp-source", "-s", "20", "-l", "4096", "-m", fmt.Sprint(n),
		"-M", "bench.test", "-f", "x@bench.test", "-t", to), flags...)
	begin := time.Now()
	c.from.Run(append(args, c.IP+":25")...)
	return float64(n) / time.Since(begin).Seconds()
}

// acceptAndDrain does the same and stops the clock when the queue is empty.
func (c *contender) acceptAndDrain(t *testing.T, n int, to string, flags ...string) float64 {
	begin := time.Now()
	c.accept(t, n, to, flags...)
	lan.Until(t, 5*time.Minute, c.name+" drains its queue", c.drained)
	return float64(n) / time.Since(begin).Seconds()
}

// submit runs the server's sendmail n times, one after the other, and returns
// milliseconds for one.
func (c *contender) submit(t *testing.T, n int) float64 {
	message := "Subject: bench\n\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", 64)
	lan.WriteFile(t, c.Path("message"), message)
	loop := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s < %s || exit 1; i=$((i+1)); done`,
		n, strings.Join(c.sender("alice@"+c.Name), " "), c.Path("message"))
	begin := time.Now()
	c.Run("sh", "-c", loop)
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

// empty moves aside what a round left, so that each begins alike.
func (c *contender) empty() {
	aside, err := os.MkdirTemp(c.Dir, "aside-")
	if err != nil {
		c.T.Fatal(err)
	}
	for i, dir := range append(c.queue, c.mail) {
		names, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.T.Fatal(err)
		}
		for _, e := range names {
			if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(aside, fmt.Sprintf("%d-%s", i, e.Name()))); err != nil {
				c.T.Fatal(err)
			}
		}
	}
}

func oursContender(h *lan.Host) *contender {
	return oursWith(h, "size=0")
}

// oursWith is ours with settings of its own.
func oursWith(h *lan.Host, own ...string) *contender {
	s := h.Install(own...)
	c := &contender{Host: h, from: h, name: "postoffice", mail: s.Mail, sessions: 1000,
		queue:  []string{s.Path("queue", "queue"), s.Path("queue", "tmp")},
		sender: func(to string) []string { return []string{lan.Applet("sendmail"), "-C", s.Config, to} }}
	c.start = func(m benchMode) *lan.Process {
		settings := append(slices.Clone(own), "clients="+strconv.Itoa(c.sessions+100))
		if m.queueOnly {
			settings = append(settings, "queue-only")
		}
		if m.relay != "" {
			settings = append(settings, "relay-host=["+m.relay+"]", "trusted="+h.IP)
		}
		if m.list != "" {
			lan.WriteFile(h.T, s.Path("aliases"), "everybody: :include:"+m.list+"\n")
		}
		s.Configure("listen="+h.IP+":25", settings...)
		return s.Serve()
	}
	return c
}

func postfixContender(h *lan.Host) *contender { return postfixWith(h) }

// postfixWith is Postfix with settings of its own.
func postfixWith(h *lan.Host, own ...string) *contender {
	c := &contender{Host: h, from: h, name: "postfix", mail: h.Path("pf", "mail"), sessions: 100}
	for _, d := range []string{"incoming", "active", "deferred", "maildrop"} {
		c.queue = append(c.queue, h.Path("pf", "spool", d))
	}
	c.sender = func(to string) []string {
		return append([]string{"MAIL_CONFIG=" + h.Path("pf", "etc")}, lan.PostfixTool(h.T, "sendmail", to)[1:]...)
	}
	c.start = func(m benchMode) *lan.Process {
		settings := append([]string{"default_process_limit=200", "in_flow_delay=0"}, own...)
		if m.relay != "" {
			settings = append(settings, "relayhost=["+m.relay+"]")
		}
		if m.list != "" {
			settings = append(settings, "alias_maps=inline:{everybody=:include:"+m.list+"}")
		}
		trigger := h.Path("pf", "spool", "public", "qmgr")
		os.Remove(trigger)
		if !m.queueOnly {
			return h.Postfix(settings...)
		}
		p := h.Postfix(append(settings, "!qmgr")...)
		// Without a place for its trigger Postfix would log a warning a message.
		if err := unix.Mkfifo(trigger, 0o622); err != nil {
			h.T.Fatal(err)
		}
		return p
	}
	return c
}
