//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// faults says how much is done: "short" is for every change, "long" for a
// machine that has an hour.
var (
	faults = flag.String("faults", "short", "short, or long: 10,000 kills, 300 power cuts, every system call")
	kills  = flag.Int("kills", 0, "how many processes TestKillAnyProcess kills in each mode; 0: as -faults says")
)

// killed is the number of processes to be killed in each mode.
func killed() int {
	if *kills > 0 {
		return *kills
	}
	return many(100, 5000)
}

// many is n, or the number of the long form.
func many(n, long int) int {
	if *faults == "long" {
		return long
	}
	return n
}

// keeper keeps a site's server running, as a service manager would.
type keeper struct {
	*site
	port   string
	prefix []string // of the command that starts it
	cmd    *exec.Cmd
	done   chan struct{}

	started func(pid int) // called with each new server, if not nil
	log     *os.File
	from    *host
	starts  int
	worst   time.Duration // from the start of a server, or a kill, to its greeting
}

func newKeeper(s *site, from *host) *keeper {
	k := &keeper{site: s, port: "25", from: from}
	if s.user != "" {
		k.port = "2525"
	}
	var err error
	if k.log, err = os.Create(s.cf + ".stderr"); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		for pid := range s.family() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		s.gone(10 * time.Second)
		k.log.Close()
		if s.t.Failed() {
			for _, name := range []string{s.cf + ".stderr", s.log} {
				text, _ := os.ReadFile(name)
				s.t.Logf("%s: the end of %s:\n%s", s.Name, name, tail(string(text), 30))
			}
		}
	})
	return k
}

// start starts the server unless it runs.
func (k *keeper) start() {
	if k.running() {
		return
	}
	ctx := context.Background()
	args := append(k.prefix[:len(k.prefix):len(k.prefix)], applet("smtpd"), "-bD", "-C", k.cf)
	k.cmd = k.command(ctx, args...)
	if k.user != "" {
		k.cmd = k.as(ctx, k.user, args...)
	}
	k.cmd.Stdout, k.cmd.Stderr = k.log, k.log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.starts++
	cmd, done := k.cmd, make(chan struct{})
	k.done = done
	go func() { cmd.Wait(); close(done) }()
	if k.started != nil {
		k.started(cmd.Process.Pid)
	}
}

func (k *keeper) running() bool {
	if k.cmd == nil {
		return false
	}
	select {
	case <-k.done:
		return false
	default:
		return true
	}
}

// up waits until the server greets, and starts it whenever it isn't there.
func (k *keeper) up() {
	k.t.Helper()
	begin := time.Now()
	until(k.t, 40*time.Second, k.Name+" answers again", func() bool {
		k.start()
		return k.greets()
	})
	k.worst = max(k.worst, time.Since(begin))
}

func (k *keeper) greets() bool {
	conn, err := k.from.dial(net.JoinHostPort(k.IP, k.port))
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	buf := make([]byte, 4)
	n, err := conn.Read(buf)
	return err == nil && strings.HasPrefix(string(buf[:n]), "220")
}

// end ends the server in the proper way and waits for everything of its family.
func (k *keeper) end() {
	k.t.Helper()
	if k.running() {
		k.cmd.Process.Signal(syscall.SIGTERM)
	}
	k.gone(30 * time.Second)
}

// kill kills the process that was started, in weight of ten cases, or one of
// the others, and says which it was; "" if it was gone already. All stand still
// meanwhile, and look is called.
func (k *keeper) kill(weight int, look func()) string {
	k.t.Helper()
	all := k.freeze()
	var rest []int
	for pid := range all {
		if pid != k.cmd.Process.Pid {
			rest = append(rest, pid)
		}
	}
	victim := k.cmd.Process.Pid
	if len(rest) > 0 && roll(10) >= weight {
		victim = rest[roll(len(rest))]
	}
	look()
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		k.t.Fatal(err)
	}
	thaw(all)
	until(k.t, 10*time.Second, "a killed process is gone", func() bool { return k.family()[victim] == "" })
	if victim == k.cmd.Process.Pid {
		<-k.done
	}
	return all[victim]
}

// TestKillAnyProcess is durability.md's kill -9: writers over SMTP and sendmail,
// local and remote mail, and every 20 to 200 ms SIGKILL to a random process of the
// tree: the master, the server, a sendmail.
func TestKillAnyProcess(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.3", "three.test. IN A 10.77.0.4", "two.test. IN A 10.77.0.2", "two.test. IN MX 10 two.test.")
	two := l.host("two.test")
	sinks := &testenv.Sink{}
	listener := two.listen("25")
	go sinks.Serve(listener)
	t.Cleanup(sinks.Close)
	root, alone := l.host("one.test"), l.host("three.test")

	t.Run("root tree", func(t *testing.T) {
		t.Parallel()
		s := root.on(t).install("trusted=10.77.0.2", "clients=50")
		killCycles(t, newKeeper(s, two.on(t)), sinks, killed(), "bob", "alice@one.test", "carol@one.test", "x@two.test")
	})
	t.Run("ordinary user", func(t *testing.T) {
		t.Parallel()
		s := alone.on(t).installFor(people[6], "trusted=10.77.0.2", "smtp-port=25")
		killCycles(t, newKeeper(s, two.on(t)), sinks, killed(), "alice", "alice@three.test", "y@two.test")
	})
}

// killCycles kills until n processes were killed; then everything must be there.
func killCycles(t *testing.T, k *keeper, sink *testenv.Sink, n int, submitter string, to ...string) {
	f := newFleet(k.site, k.from, 6000, to...)
	k.up()
	f.write(4, net.JoinHostPort(k.IP, k.port))
	f.submit(submitter)
	names, total := map[string]int{}, 0
	var instants []instant
	server := false
	for total < n {
		if !pause(t.Context(), span(20*time.Millisecond, 200*time.Millisecond)) {
			return
		}
		weight := 4
		if server { // its successor is waited for longer each time: a new master makes that short again
			weight = 8
		}
		k.start()
		var now instant
		what := k.kill(weight, func() { now = k.instant(sink) })
		if what != "" {
			now.killed = filepath.Base(what)
			instants = append(instants, now)
			names[filepath.Base(what)]++
			total++
		}
		server = strings.Contains(what, "server")
		if !server || roll(2) == 0 {
			k.up()
		}
	}
	f.stop()
	t.Logf("killed: %v; %d starts, at most %v until it answered", names, k.starts, k.worst)
	k.end()
	k.recovered()
	boxes, sent := k.mailboxes(), own(f.ledger, readSink(sink))
	f.outcome(t, f.snapshot(), explain(t, instants, boxes, sent), boxes, map[string][]delivery{"sink": sent})
}

// own are the deliveries of one ledger, and what belongs to none.
func own(l *ledger, all []delivery) []delivery {
	var mine []delivery
	for _, d := range all {
		if d.bounce || l.known(d.token) {
			mine = append(mine, d)
		}
	}
	return mine
}
