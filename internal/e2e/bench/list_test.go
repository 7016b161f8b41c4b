//go:build e2e && bench

package bench

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// benchMembers is how many members the benchmark's list has.
const benchMembers = 50_000

// TestBenchList prints what one message to a list of 50,000 members in a file
// (:include:) takes, beside Postfix with the same alias and list: from the
// submission until nothing is left in the queue, each member being an address of
// another host where smtp-sink takes it. It also prints the most memory that our
// server had (VmHWM, the binary's pages included), and how many members it logged
// an outcome for, each on its own.
func TestBenchList(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "l") {
		return
	}
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "pf.test. IN A 10.77.0.3", "sink.test. IN A 10.77.0.4")
	ours, theirs := oursContender(l.Host("ours.test")), postfixContender(l.Host("pf.test"))
	sink := l.Host("sink.test")
	sink.Start(sink.Command(t.Context(), lan.PostfixTool(t, "smtp-sink", "-c", "-u", "root", sink.IP+":25", "1000")...))
	sink.Listening("25")

	var members bytes.Buffer
	for i := range benchMembers {
		fmt.Fprintf(&members, "member%05d@sink.test\n", i)
	}
	took := map[string]float64{}
	var peaks map[string]lan.Status
	for _, c := range []*contender{ours, theirs} {
		list := c.Path("list")
		lan.WriteFile(t, list, members.String())
		c.start(benchMode{relay: sink.IP, list: list})
		c.warm(t, benchMode{})
		m := lan.Meter{Hosts: []*lan.Host{c.Host}}
		peak := m.During(func() { took[c.name] = c.toList(t) })
		if c == ours {
			peaks = peak
		}
	}
	log, err := os.ReadFile(ours.Path("log"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("(l) one message to a list of %d members: postoffice %.1f s, postfix %.1f s, ratio %.2f\n",
		benchMembers, took["postoffice"], took["postfix"], took["postoffice"]/took["postfix"])
	fmt.Printf("    %d members have a line of their own in the log; at most resident:", bytes.Count(log, []byte(" to=<member")))
	for _, name := range slices.Sorted(maps.Keys(peaks)) {
		fmt.Printf(" %s %.0f MiB", name, float64(peaks[name].Peak)/1024)
	}
	fmt.Println()
}

// toList sends one message to the list and returns the seconds until the queue
// is empty.
func (c *contender) toList(t *testing.T) float64 {
	lan.WriteFile(t, c.Path("message"), "Subject: to everybody\n\nhello\n")
	begin := time.Now()
	c.Run("sh", "-c", strings.Join(c.sender("everybody@"+c.Name), " ")+" <"+c.Path("message"))
	lan.Until(t, 20*time.Minute, c.name+" drains its queue", c.drained)
	return time.Since(begin).Seconds()
}
