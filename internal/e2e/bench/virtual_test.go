//go:build e2e && bench

package bench

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// What the virtual domains of the benchmark have: one with many users, and many with as
// many together.
const (
	benchUsers   = 1_000_000
	benchDomains = 10_000
)

// TestBenchVirtual prints what a decision about a recipient takes with a million users in
// one domain and a million in 10,000 others, each user's line as vpasswd writes it; what
// the first one takes, at the start and after the file has changed, and what a recipient in
// another domain waits meanwhile; and what start, reload and memory are. The client is on a
// host of its own, in one session, one command after the other, and trusted, so that no
// refusal slows it.
func TestBenchVirtual(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "v") {
		return
	}
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "client.test. IN A 10.77.0.3")
	h, client := l.Host("ours.test"), l.Host("client.test")
	dir := h.Path("virtual")
	list := []byte("root:many.test:1:\n")
	writeUsers(t, filepath.Join(dir, "many.test"), benchUsers)
	for i := range benchDomains {
		name := fmt.Sprintf("d%05d.test", i)
		list = fmt.Appendf(list, "root:%s:1:\n", name)
		writeUsers(t, filepath.Join(dir, name), benchUsers/benchDomains)
	}
	lan.WriteFile(t, filepath.Join(dir, "domains.cf"), string(list))
	c := oursWith(h, "vhost-dir="+dir, "vhost-spool="+h.Path("spool"), "local-by-dns=no", "trusted="+client.IP)
	c.from = client

	begin := time.Now()
	c.start(benchMode{queueOnly: true})
	fmt.Printf("(v) %d domains, %d users: ready after %.2f s, goal 2 or less; all processes %.1f MiB\n", benchDomains+1, 2*benchUsers, time.Since(begin).Seconds(), float64(c.allPSS())/1024)
	many := func() string { return fmt.Sprintf("user%07d@many.test", rand.IntN(benchUsers)) }
	one := func() string {
		return fmt.Sprintf("user%07d@d%05d.test", rand.IntN(benchUsers/benchDomains), rand.IntN(benchDomains))
	}
	fmt.Printf("(v) first recipient in the large domain, of which all is read: %.0f ms, goal 2,000 or less\n", c.recipients(t, 1, many)[0])
	for _, tt := range []struct {
		what string
		name func() string
	}{
		{"of a million in one domain", many},
		{"of 100 in one of 10,000 domains, new ones", one},
		{"the same, when most were asked for", one},
		{"that doesn't exist, of the large domain", func() string { return "no" + many() }},
		{"an account of the machine", func() string { return "alice@" + c.Name }},
	} {
		took := c.recipients(t, 3000, tt.name)
		fmt.Printf("(v) recipient %-42s p50 %.2f ms, p99 %.2f ms, goal less than 1 at the median\n", tt.what, took[len(took)/2], took[len(took)*99/100])
	}
	fmt.Printf("(v) all processes then %.1f MiB\n", float64(c.allPSS())/1024)
	c.changed(t, dir, many, one)
}

// changed puts a new file in the place of the large one, asks about it, and asks about
// others meanwhile.
func (c *contender) changed(t *testing.T, dir string, many, one func() string) {
	file := filepath.Join(dir, "many.test", "passwd")
	var first, meanwhile []float64
	for range 5 {
		text, err := os.ReadFile(file)
		if err == nil {
			err = errors.Join(os.WriteFile(file+".new", text, 0o640), os.Chown(file+".new", 0, 8), os.Rename(file+".new", file))
		}
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan float64, 1)
		go func() { over <- c.recipients(t, 1, many)[0] }()
	others:
		for {
			select {
			case ms := <-over:
				first = append(first, ms)
				break others
			default:
				meanwhile = append(meanwhile, c.recipients(t, 10, one)...)
			}
		}
	}
	slices.Sort(meanwhile)
	fmt.Printf("(v) first recipient after a change of the large domain: %.0f ms, goal 2,000 or less; recipients in others meanwhile p50 %.2f ms, p99 %.2f ms\n",
		middle(first), meanwhile[len(meanwhile)/2], meanwhile[len(meanwhile)*99/100])
	log := c.Path("log")
	n := func() int { text, _ := os.ReadFile(log); return strings.Count(string(text), "configuration reloaded") }
	before, begin := n(), time.Now()
	c.Run("sh", "-c", "kill -HUP $(cat "+c.Path("run", "postoffice.pid")+")")
	lan.Until(t, time.Minute, "it is reloaded", func() bool { return n() > before })
	fmt.Printf("(v) reloaded after %.2f s, goal 2 or less\n", time.Since(begin).Seconds())
}

// recipients names recipients in one session, of which each is answered, and returns the
// sorted milliseconds of the answers.
func (c *contender) recipients(t *testing.T, n int, name func() string) []float64 {
	conn, err := c.from.Dial(net.JoinHostPort(c.IP, "25"))
	if err != nil {
		t.Error(err)
		return []float64{0}
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Error(err)
		return []float64{0}
	}
	defer d.Quit()
	took := make([]float64, n)
	for i := range took {
		if i%100 == 0 {
			if err := errors.Join(d.Expect("RSET", "250"), d.Expect("MAIL FROM:<x@client.test>", "250")); err != nil {
				t.Error(err)
			}
		}
		to := name()
		begin := time.Now()
		reply, err := d.Say("RCPT TO:<" + to + ">")
		took[i] = float64(time.Since(begin).Microseconds()) / 1000
		if want := "250"; err != nil || !strings.HasPrefix(reply, want) && !strings.HasPrefix(to, "no") {
			t.Errorf("%s: %s %v", to, reply, err)
			return took
		}
	}
	slices.Sort(took)
	return took
}

// writeUsers makes a domain's directory with that many users.
func writeUsers(t *testing.T, dir string, n int) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, 0, 8)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "passwd"), os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "user%07d:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$%042d::::::scram=SHA-256,4096,c29tZXNhbHRzb21lc2FsdA==,%043d=,%043d=\n", i, i, i, i)
	}
	if err := errors.Join(w.Flush(), f.Chown(0, 8), f.Close()); err != nil {
		t.Fatal(err)
	}
}
