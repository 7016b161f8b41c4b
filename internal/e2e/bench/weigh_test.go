//go:build e2e && bench

package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// dots sends 4,000 messages over 20 sessions and returns the median and the 99th
// percentile of the time from the final dot to its 250, in milliseconds.
func (c *contender) dots(t *testing.T) []float64 {
	const sessions, each = 20, 200
	waits := make([][]float64, sessions)
	var wg sync.WaitGroup
	for i := range waits {
		wg.Go(func() {
			var err error
			if waits[i], err = c.dotsOf(each); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	all := slices.Sorted(slices.Values(slices.Concat(waits...)))
	lan.Until(t, 5*time.Minute, c.name+" drains its queue", func() bool { return c.drained() || c.holds(sessions*each) })
	return []float64{all[len(all)/2], all[len(all)*99/100]}
}

// holds reports whether the queue has at least n messages: nothing is delivered.
func (c *contender) holds(n int) bool {
	sum := 0
	for _, dir := range c.queue {
		names, _ := os.ReadDir(dir)
		sum += len(names)
	}
	return sum >= n
}

// dotsOf is one session of dots.
func (c *contender) dotsOf(n int) ([]float64, error) {
	conn, err := c.Dial(net.JoinHostPort(c.IP, "25"))
	if err != nil {
		return nil, err
	}
	d, err := lan.NewDialogue(conn, "bench.test")
	if err != nil {
		return nil, err
	}
	defer d.Quit()
	message := "Subject: bench\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64)
	waits := make([]float64, 0, n)
	for range n {
		for _, step := range [][2]string{{"MAIL FROM:<x@bench.test>", "250"}, {"RCPT TO:<alice@" + c.Name + ">", "250"}, {"DATA", "354"}} {
			if err := d.Expect(step[0], step[1]); err != nil {
				return nil, err
			}
		}
		if _, err := conn.Write([]byte(message)); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := d.Expect(".", "250"); err != nil {
			return nil, err
		}
		waits = append(waits, float64(time.Since(begin).Microseconds())/1000)
	}
	return waits, nil
}

// weigh is the memory of all processes: as they are, what an idle session adds,
// and after 1,000 messages.
func (c *contender) weigh(t *testing.T) []float64 {
	first := c.allPSS()
	open := make([]net.Conn, c.sessions)
	for i := range open {
		conn, err := c.far.Dial(net.JoinHostPort(c.IP, "25"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := lan.Idle(conn, "alice@"+c.Name); err != nil {
			t.Fatal(err)
		}
		open[i] = conn
	}
	idle := c.allPSS()
	for _, conn := range open {
		conn.Close()
	}
	c.fill(t, 20, 50)
	return []float64{float64(first) / 1024, float64(idle-first) / float64(c.sessions), float64(c.allPSS()) / 1024}
}

// fill sends messages to alice over several sessions and waits until the
// queue is empty.
func (c *contender) fill(t *testing.T, sessions, each int) {
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			if _, err := c.dotsOf(each); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lan.Until(t, time.Minute, c.name+" drains its queue", c.drained)
}

// allPSS is that of all processes in the host's network namespace, in KiB.
func (c *contender) allPSS() (sum int) {
	for _, pid := range c.pids() {
		kb, _ := lan.PSS(pid)
		sum += kb
	}
	return sum
}

// processorTime is what all processes in the host's network namespace have used so far,
// and those that they have waited for.
func (c *contender) processorTime() (sum time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ, which is the same on every machine
	for _, pid := range c.pids() {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, behind, _ := strings.Cut(string(stat), ") ") // behind the name, which may have blanks
		fields := strings.Fields(behind)
		for i := 11; i < 15 && i < len(fields); i++ { // utime, stime, cutime, cstime: proc(5)
			n, _ := strconv.Atoi(fields[i])
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// pids are the processes in the host's network namespace.
func (c *contender) pids() (all []int) {
	ns, err := os.Stat(filepath.Join("/run/netns", c.Namespace))
	if err != nil {
		c.T.Fatal(err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		c.T.Fatal(err)
	}
	for _, name := range procs {
		st, err := os.Stat(name)
		if err != nil || !os.SameFile(st, ns) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(name, "/")[2]); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// big is the size of weighBig's message.
const big = 100 << 20

// weighBig is the greatest growth of a process of ours with a message of 100 MB,
// taken by SMTP and delivered to a mailbox. TestMemoryOfBigMessage has all paths.
func weighBig(t *testing.T, c *contender) string {
	m := lan.Meter{Hosts: []*lan.Host{c.Host}}
	base := m.During(func() { c.one(t, 16<<10) })
	text := "a message of 100 MB grows"
	for name, peak := range m.During(func() { c.one(t, big) }) {
		text += fmt.Sprintf(" %s by %.1f MiB to %.1f,", strings.TrimPrefix(name, c.Name+" "), float64(peak.Peak-base[name].Peak)/1024, float64(peak.Peak)/1024)
	}
	return strings.TrimSuffix(text, ",")
}

// one sends alice a message of the size, and returns when she has it.
func (c *contender) one(t *testing.T, size int) {
	mailbox := filepath.Join(c.mail, "alice")
	os.Remove(mailbox)
	conn, err := c.Dial(net.JoinHostPort(c.IP, "25"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "bench.test")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 75) + "\n"
	if err := d.Send("x@bench.test", "alice@"+c.Name, "Subject: big\n\n"+strings.Repeat(line, size/len(line)+1)); err != nil {
		t.Fatal(err)
	}
	d.Quit()
	lan.Until(t, 2*time.Minute, "alice has the message", func() bool {
		st, err := os.Stat(mailbox)
		return err == nil && st.Size() >= int64(size) && c.drained()
	})
}
