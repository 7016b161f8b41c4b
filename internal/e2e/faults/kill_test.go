//go:build e2e

package faults

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

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
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
	*lan.Site
	port   string
	prefix []string // of the command that starts it
	cmd    *exec.Cmd
	done   chan struct{}

	started func(pid int) // called with each new server, if not nil
	log     *os.File
	from    *lan.Host
	starts  int
	worst   time.Duration // from the start of a server, or a kill, to its greeting
}

func newKeeper(s *lan.Site, from *lan.Host) *keeper {
	k := &keeper{Site: s, port: "25", from: from}
	if s.User != "" {
		k.port = "2525"
	}
	var err error
	if k.log, err = os.Create(s.Config + ".stderr"); err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() {
		for pid := range s.Family() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		s.Gone(10 * time.Second)
		k.log.Close()
		if s.T.Failed() {
			for _, name := range []string{s.Config + ".stderr", s.Log} {
				text, _ := os.ReadFile(name)
				s.T.Logf("%s: the end of %s:\n%s", s.Name, name, lan.Tail(string(text), 30))
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
	args := append(k.prefix[:len(k.prefix):len(k.prefix)], lan.Applet("smtpd"), "-bD", "-C", k.Config)
	k.cmd = k.Command(ctx, args...)
	if k.User != "" {
		k.cmd = k.As(ctx, k.User, args...)
	}
	k.cmd.Stdout, k.cmd.Stderr = k.log, k.log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.cmd.Start(); err != nil {
		k.T.Fatal(err)
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
	k.T.Helper()
	begin := time.Now()
	// The master waits up to a minute before it starts a server that was killed often.
	lan.Until(k.T, 2*time.Minute, k.Name+" answers again", func() bool {
		k.start()
		return k.greets()
	})
	k.worst = max(k.worst, time.Since(begin))
}

func (k *keeper) greets() bool {
	conn, err := k.from.Dial(net.JoinHostPort(k.IP, k.port))
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 4)
	n, err := conn.Read(buf)
	return err == nil && strings.HasPrefix(string(buf[:n]), "220")
}

// end ends the server in the proper way and waits for everything of its family.
func (k *keeper) end() {
	k.T.Helper()
	if k.running() {
		k.cmd.Process.Signal(syscall.SIGTERM)
	}
	k.Gone(30 * time.Second)
}

// kill kills the process that was started, in weight of ten cases, or one of
// the others, and says which it was; "" if it was gone already. All stand still
// meanwhile, and look is called.
func (k *keeper) kill(weight int, look func()) string {
	k.T.Helper()
	all := freeze(k.Site.Host)
	var rest []int
	for pid := range all {
		if pid != k.cmd.Process.Pid {
			rest = append(rest, pid)
		}
	}
	victim := k.cmd.Process.Pid
	if len(rest) > 0 && letters.Roll(10) >= weight {
		victim = rest[letters.Roll(len(rest))]
	}
	look()
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		k.T.Fatal(err)
	}
	thaw(all)
	lan.Until(k.T, 10*time.Second, "a killed process is gone", func() bool { return k.Family()[victim] == "" })
	if victim == k.cmd.Process.Pid {
		<-k.done
	}
	return all[victim]
}

// TestKillAnyProcess is kill -9: writers over SMTP and sendmail,
// local and remote mail, and every 20 to 200 ms SIGKILL to a random process of the
// tree: the master, the server, a sendmail.
func TestKillAnyProcess(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.3", "three.test. IN A 10.77.0.4", "two.test. IN A 10.77.0.2", "two.test. IN MX 10 two.test.")
	two := l.Host("two.test")
	sinks := &testenv.Sink{}
	listener := two.Listen("25")
	go sinks.Serve(listener)
	t.Cleanup(sinks.Close)
	root, alone := l.Host("one.test"), l.Host("three.test")

	t.Run("root tree", func(t *testing.T) {
		t.Parallel()
		s := root.On(t).Install("trusted=10.77.0.2", "clients=50")
		killCycles(t, newKeeper(s, two.On(t)), sinks, killed(), "bob", "alice@one.test", "carol@one.test", "x@two.test")
	})
	t.Run("ordinary user", func(t *testing.T) {
		t.Parallel()
		s := alone.On(t).InstallFor(lan.Alice, "trusted=10.77.0.2", "smtp-port=25")
		killCycles(t, newKeeper(s, two.On(t)), sinks, killed(), "alice", "alice@three.test", "y@two.test")
	})
}

// killCycles kills until n processes were killed; then everything must be there.
func killCycles(t *testing.T, k *keeper, sink *testenv.Sink, n int, submitter string, to ...string) {
	f := letters.NewFleet(k.Site, k.from, 6000, to...)
	k.up()
	f.Write(4, net.JoinHostPort(k.IP, k.port))
	f.Submit(submitter)
	names, total := map[string]int{}, 0
	var instants []instant
	server := false
	for total < n {
		if !lan.Pause(t.Context(), letters.Span(20*time.Millisecond, 200*time.Millisecond)) {
			return
		}
		weight := 4
		if server { // its successor is waited for longer each time: a new master makes that short again
			weight = 8
		}
		k.start()
		var now instant
		what := k.kill(weight, func() { now = lookAt(k.Site, sink, f.Calls()) })
		if what != "" {
			now.killed = filepath.Base(what)
			instants = append(instants, now)
			names[filepath.Base(what)]++
			total++
		}
		server = strings.Contains(what, "server")
		if !server || letters.Roll(2) == 0 {
			k.up()
		}
	}
	f.Stop()
	t.Logf("killed: %v; %d starts, at most %v until it answered", names, k.starts, k.worst)
	k.end()
	recovered(k.Site)
	boxes, sent := mailboxes(k.Site), own(f.Ledger, letters.ReadSink(sink))
	f.Outcome(t, f.Snapshot(), explain(t, instants, boxes, sent), boxes, map[string][]letters.Delivery{"sink": sent})
}

// own are the deliveries of one ledger, and what belongs to none.
func own(l *letters.Ledger, all []letters.Delivery) []letters.Delivery {
	var mine []letters.Delivery
	for _, d := range all {
		if d.Bounce || l.Known(d.Token) {
			mine = append(mine, d)
		}
	}
	return mine
}
