//go:build e2e

package faults

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
	"postoffice/internal/testenv"
)

var (
	// faultSeed chooses the short form's sample.
	faultSeed = flag.Uint64("faultseed", 0, "which system calls the short form takes; 0: others each time, the seed is printed")
	// faultOnly repeats what a run has found.
	faultOnly = flag.String("faultonly", "", "only the faults in system calls whose text contains this: \"ENOSPC at smtpd's fsync 6\"")
	// faultPart is for a machine that others wait for.
	faultPart = flag.String("faultpart", "1/1", "which part of the faults the long form takes: 2/5 is the second of five")
)

// enough failures end a test before its time.
const enough = 30

// slowest is how long a sendmail that met a fault may take: it waits a minute
// for its server.
const slowest = 90 * time.Second

// sampled is how many faults of one scenario the short form tries.
const sampled = 50

// trial is a site that handles one letter after the other, each of which meets
// one fault.
type trial struct {
	*keeper
	l   *letters.Ledger
	box string // the recipient's mailbox

	kills, errors int // that happened
	missed        int // whose call didn't come this time
	twice         int // letters that were delivered twice
	failures      int
	longest       time.Duration
	slow          meeting // that took so long
}

// meeting is how one letter met its fault.
type meeting struct {
	letters.Letter
	testenv.Fault
	calls []testenv.Call
	hit   *testenv.Call
	words string // that the programs printed
	took  time.Duration
	wrong string // what the sender was told and should not have been
}

// each records what calls the scenario makes without a fault, and runs it again
// with each fault that those calls can meet, or with a sample of them.
func (x *trial) each(scenario func(testenv.Fault) meeting) {
	x.T.Helper()
	calls := map[testenv.Fault]testenv.Call{} // by place
	for range 3 {                             // threads and timers make no two runs equal
		m := scenario(testenv.Fault{})
		x.settled(m)
		for _, c := range m.calls {
			calls[testenv.Fault{Role: c.Role, Call: c.Name, On: c.On, N: c.N}] = c
		}
		if _, acked := x.l.Snapshot()[m.Token]; !acked || x.T.Failed() {
			x.T.Fatalf("without a fault: not acknowledged: %v\n%s", x.l.Refused, m.words)
		}
	}
	all := testenv.Faults(slices.SortedFunc(maps.Values(calls), func(a, b testenv.Call) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name), cmp.Compare(a.On, b.On), cmp.Compare(a.N, b.N))
	}))
	x.T.Logf("%d calls, %d faults: %v", len(calls), len(all), tally(calls))
	for _, f := range x.sample(all) {
		m := scenario(f)
		x.settled(m)
		for range many(0, 2) { // threads and timers may have gone another way
			if m.hit == nil {
				x.missed--
				m = scenario(f)
				x.settled(m)
			}
		}
		if x.failures >= enough {
			x.T.Logf("%d failures are enough", x.failures)
			break
		}
	}
	x.T.Logf("%d killed, %d errors, %d calls did not come; %d letters were delivered twice; longest %v (%v: %v); not acknowledged: %v",
		x.kills, x.errors, x.missed, x.twice, x.longest.Round(time.Millisecond), x.slow.Fault, x.slow.hit, x.l.Refused)
}

// tally counts the places by role and call.
func tally(calls map[testenv.Fault]testenv.Call) []string {
	n := map[string]int{}
	for _, c := range calls {
		n[c.Role+": "+c.Name]++
	}
	var all []string
	for _, what := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%s %d", what, n[what]))
	}
	return all
}

// sample is all in the long form.
func (x *trial) sample(all []testenv.Fault) []testenv.Fault {
	if *faultOnly != "" {
		return slices.DeleteFunc(all, func(f testenv.Fault) bool { return !strings.Contains(f.String(), *faultOnly) })
	}
	if *faults == "long" {
		var part, of int
		if _, err := fmt.Sscanf(*faultPart, "%d/%d", &part, &of); err != nil || part < 1 || part > of {
			x.T.Fatalf("-faultpart=%s: want two numbers, as 2/5", *faultPart)
		}
		return all[len(all)*(part-1)/of : len(all)*part/of]
	}
	if len(all) <= sampled {
		return all
	}
	seed := *faultSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	x.T.Logf("a sample of %d of %d faults: repeat it with -faultseed=%d", sampled, len(all), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:sampled]
}

// settled counts the fault and checks what became of its letter: nothing
// lost, nothing torn but by a kill, one copy or, after a fault, two.
func (x *trial) settled(m meeting) {
	x.T.Helper()
	if m.took > x.longest {
		x.longest, x.slow = m.took, m
	}
	most, kill := 1, false
	switch {
	case m.hit == nil:
		x.missed++
	case m.Errno == 0:
		kill, most = true, 2
		x.kills++
	default:
		most = 2
		x.errors++
	}
	bad := func(format string, args ...any) {
		x.T.Helper()
		x.failures++
		x.T.Errorf("%v: %s\n%v\n%s", m.Fault, fmt.Sprintf(format, args...), m.hit, lan.Tail(m.words, 12))
	}
	if n := explained(x.keeper.Site); n != 0 {
		bad("%d messages are left in the queue", n)
	}
	whole, torn := 0, 0
	for _, d := range letters.ReadMailbox(x.T, x.box) {
		switch {
		case d.Bounce:
			bad("a bounce")
		case d.Token == m.Token && d.Whole:
			whole++
		case !d.Whole:
			torn++
		}
	}
	os.Remove(x.box)
	_, acked := x.l.Snapshot()[m.Token]
	if acked && whole == 0 {
		bad("LOST: acknowledged and nowhere")
	}
	if whole > most || torn > 0 && !kill {
		bad("%d whole copies, %d torn ones, want at most %d and none without a kill", whole, torn, most)
	}
	if whole > 1 {
		x.twice++
	}
	for _, word := range []string{"panic: ", "fatal error: "} {
		if _, rest, found := strings.Cut(m.words, word); found {
			bad("%s%.2000s", word, rest)
		}
	}
	if m.wrong != "" {
		bad("%s", m.wrong)
	}
	if x.T.Failed() { // the next one begins with nothing
		for _, dir := range []string{"queue", "corrupt"} {
			for _, e := range lan.ReadDir(x.T, x.Path("queue", dir)) {
				os.Remove(x.Path("queue", dir, e.Name()))
			}
		}
	}
}

// TestEverySystemCallOfSendmail has each call of sendmail be the last one or
// fail: with no daemon, where a server that it starts behind itself takes the
// message and delivers it (A29), and with one.
func TestEverySystemCallOfSendmail(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			l := lan.New(t)
			l.DNS("one.test. IN A 10.77.0.2")
			s := mode.Install(l.Host("one.test"), "minfree=0")
			s.Applet("runq") // makes the queue
			x := &trial{keeper: newKeeper(s, s.Host), l: letters.NewLedger(), box: s.Mailbox("alice")}
			x.each(func(f testenv.Fault) meeting { return x.submitTraced(s.User, f) })
		})
	}
	t.Run("through a daemon", func(t *testing.T) {
		l := lan.New(t)
		l.DNS("one.test. IN A 10.77.0.2")
		s := l.Host("one.test").Install("minfree=0")
		x := &trial{keeper: newKeeper(s, s.Host), l: letters.NewLedger(), box: s.Mailbox("alice")}
		x.up()
		x.each(func(f testenv.Fault) meeting { return x.submitTraced("bob", f) })
	})
}

// submitTraced runs one sendmail, and what it starts, with a fault.
func (x *trial) submitTraced(user string, f testenv.Fault) meeting {
	x.T.Helper()
	m := meeting{Letter: letters.New("alice@one.test", 40000), Fault: f}
	x.l.Begin(m.Letter)
	ctx, cancel := context.WithTimeout(x.T.Context(), slowest)
	defer cancel()
	args := append(testenv.TracePrefix(lan.Applet("launcher")), lan.Applet("sendmail"), "-C", x.Config, "-i", "-f", "alice@one.test", m.To)
	cmd := x.Command(ctx, args...)
	if user != "" {
		cmd = x.As(ctx, user, args...)
	}
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(m.Text), &out, &out
	cmd.WaitDelay = 10 * time.Second
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		x.T.Fatal(err)
	}
	tracer := testenv.NewTracer(x.T, cmd.Process.Pid, lan.Binary, f)
	err := cmd.Wait()
	m.took = time.Since(begin)
	x.l.End(m.Letter, err)
	m.words = out.String()
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 75 && (code != -1 || f.Errno != 0) {
		m.wrong = fmt.Sprintf("sendmail: %v, want exit code 0 or 75", err)
	}
	if x.running() {
		if files(x.keeper.Site, "maildrop") > 0 { // it could not reach the daemon
			x.Applet("runq")
			lan.Until(x.T, 90*time.Second, "maildrop/ is empty", func() bool { return files(x.keeper.Site, "maildrop") == 0 })
		}
		// What sendmail gave up on may still be on its way into the queue.
		lan.Until(x.T, 30*time.Second, "no arrival is under way", func() bool { return files(x.keeper.Site, "tmp") == 0 })
		x.Drained(30 * time.Second)
	} else {
		x.over(f)
		x.emptied()
	}
	m.calls, m.hit = tracer.Seen()
	return m
}

// over waits until all processes have ended by themselves.
func (x *trial) over(f testenv.Fault) {
	x.T.Helper()
	lan.Until(x.T, time.Minute, fmt.Sprintf("%v: all processes have ended: %v", f, x.Family()), func() bool {
		return len(x.Family()) == 0
	})
}

// emptied runs the queue if something is in it, at most twice.
func (x *trial) emptied() {
	x.T.Helper()
	for run := 0; run < 2 && files(x.keeper.Site, "queue") > 0; run++ {
		x.Applet("runq")
		x.Gone(30 * time.Second)
	}
}

// TestEverySystemCallOfDaemon does the same to a server in its whole life: it
// starts, takes one message by SMTP, delivers it and ends. In the root tree the
// calls are the master's and the server's.
func TestEverySystemCallOfDaemon(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			l := lan.New(t)
			l.DNS("one.test. IN A 10.77.0.3")
			two := l.Host("two.test")
			s := mode.Install(l.Host("one.test"), "minfree=0")
			x := &trial{keeper: newKeeper(s, two), l: letters.NewLedger(), box: s.Mailbox("alice")}
			x.each(x.serveTraced)
		})
	}
}

// serveTraced runs one server from its start to its end, with a fault. If it
// dies of it another one takes its place, without a fault.
func (x *trial) serveTraced(f testenv.Fault) meeting {
	x.T.Helper()
	m := meeting{Letter: letters.New("alice@one.test", 40000), Fault: f}
	var tracer *testenv.Tracer
	said, err := x.log.Seek(0, 2)
	if err != nil {
		x.T.Fatal(err)
	}
	x.prefix = testenv.TracePrefix(lan.Applet("launcher"))
	x.started = func(pid int) {
		tracer = testenv.NewTracer(x.T, pid, lan.Binary, f)
		x.prefix, x.started = nil, nil
	}
	begin := time.Now()
	x.up()
	x.l.Begin(m.Letter)
	err = x.sendOnce(m.Letter)
	x.l.End(m.Letter, letters.Plain(err))
	if err != nil && strings.HasPrefix(err.Error(), "refused: 5") {
		m.wrong = fmt.Sprintf("%v, want a 4yz", err)
	}
	x.rest()
	x.end()
	m.took = time.Since(begin)
	x.emptied()
	m.calls, m.hit = tracer.Seen()
	words, err := os.ReadFile(x.log.Name())
	if err != nil {
		x.T.Fatal(err)
	}
	m.words = string(words[said:])
	return m
}

// sendOnce sends a letter to a server that may die meanwhile.
func (x *trial) sendOnce(sent letters.Letter) error {
	conn, err := x.from.Dial(net.JoinHostPort(x.IP, x.port))
	if err != nil {
		return err
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "writer.two.test")
	if err != nil {
		return err
	}
	defer d.Quit()
	return d.Send("alice@one.test", sent.To, sent.Text)
}

// rest waits until the queue is empty, for a moment, or the server has died.
func (x *trial) rest() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(500 * time.Millisecond)
	for x.running() && files(x.keeper.Site, "queue") > 0 {
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}
