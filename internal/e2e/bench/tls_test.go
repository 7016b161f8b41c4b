//go:build e2e && bench

package bench

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// TestBenchTLS prints what TLS costs, beside Postfix's smtpd and beside our own sessions
// in the clear, and what many idle connections take. Both servers have a self-signed
// certificate for a P-256 key, and speak TLS 1.3 with a client of this test on a host of
// its own; nothing is resumed. Keys are agreed upon by X25519 with both, which Debian's
// OpenSSL has. What Go's clients get of ours, X25519MLKEM768, has a row of its own.
func TestBenchTLS(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "m") {
		return
	}
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "pf.test. IN A 10.77.0.3", "client.test. IN A 10.77.0.4")
	one, other, client := l.Host("ours.test"), l.Host("pf.test"), l.Host("client.test")
	ours, theirs := oursContender(one), postfixContender(other)
	ours.from, theirs.from, ours.sessions = client, client, 2*idleMost // with few places left a server hurries
	chain := chainFile(other)
	theirs.start = func(benchMode) *lan.Process {
		return other.Postfix("default_process_limit=200", "in_flow_delay=0", "smtpd_tls_security_level=may", "smtpd_tls_chain_files="+chain)
	}

	hybrid := *ours
	hybrid.name = "X25519MLKEM768"
	ours.curves, theirs.curves = []tls.CurveID{tls.X25519}, []tls.CurveID{tls.X25519}
	both := []*contender{ours, theirs}
	workload{key: "m", rounds: 3, lines: []line{{"new sessions under TLS", "sessions/s", "2 or more"}},
		run: func(t *testing.T, c *contender) []float64 { return []float64{c.handshakes(t, 2000)} }}.measure(t, both)
	workload{key: "m", rounds: 3, lines: []line{{"new sessions under TLS, as with Go's clients", "sessions/s", ""}},
		run: func(t *testing.T, c *contender) []float64 { return []float64{c.handshakes(t, 2000)} }}.measure(t, []*contender{&hybrid, ours})
	workload{key: "m", rounds: 1, lines: []line{{"a handshake, 200 new ones a second, p50", "ms", ""}, {"a handshake, 200 new ones a second, p99", "ms", ""}},
		run: func(t *testing.T, c *contender) []float64 { return c.paced(t, 1000, time.Second/200) }}.measure(t, both)

	under, clear := *ours, *ours
	under.name, clear.name = "under TLS", "clear"
	workload{key: "m", mode: benchMode{queueOnly: true}, rounds: 3, lines: []line{{"accepted over 20 sessions that stay open", "messages/s", "0.8 or more"}},
		run: func(t *testing.T, c *contender) []float64 { return []float64{c.kept(t, 20, 100, c.name == under.name)} }}.measure(t, []*contender{&under, &clear})

	for _, secure := range []bool{false, true} {
		p := ours.start(benchMode{})
		ours.warm(t, benchMode{})
		fmt.Println("(m)", ours.idle(t, secure))
		p.Stop()
		ours.empty()
	}
}

// open begins a session, under TLS if secure, and tells how long the handshake took.
func (c *contender) open(secure bool) (*lan.Dialogue, time.Duration, error) {
	conn, err := c.from.Dial(net.JoinHostPort(c.IP, "25"))
	if err != nil {
		return nil, 0, err
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil || !secure {
		return d, 0, err
	}
	if err := d.Expect("STARTTLS", "220"); err != nil {
		conn.Close()
		return nil, 0, err
	}
	begin := time.Now()
	shaken := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: c.curves})
	if err := shaken.Handshake(); err != nil {
		conn.Close()
		return nil, 0, err
	}
	took := time.Since(begin)
	d = &lan.Dialogue{Conn: shaken, R: bufio.NewReader(shaken)}
	return d, took, d.Expect("EHLO client.test", "250")
}

// handshakes has 20 clients begin n sessions under TLS and end them again, and returns
// sessions a second.
func (c *contender) handshakes(t *testing.T, n int) float64 {
	const clients = 20
	begin := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range n / clients {
				d, _, err := c.open(true)
				if err != nil {
					t.Error(err)
					return
				}
				d.Quit()
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(begin).Seconds()
}

// paced begins n sessions, one after each pause, and returns the median and the 99th
// percentile of their handshakes in milliseconds.
func (c *contender) paced(t *testing.T, n int, pause time.Duration) []float64 {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	took := make([]float64, n)
	var wg sync.WaitGroup
	for i := range took {
		<-tick.C
		wg.Go(func() {
			d, spent, err := c.open(true)
			if err != nil {
				t.Error(err)
				return
			}
			took[i] = float64(spent.Microseconds()) / 1000
			d.Quit()
		})
	}
	wg.Wait()
	slices.Sort(took)
	return []float64{took[n/2], took[n*99/100]}
}

// kept sends messages of 4 KiB over sessions that stay open, and returns messages a
// second.
func (c *contender) kept(t *testing.T, sessions, each int, secure bool) float64 {
	message := "Subject: bench\n\n" + strings.Repeat(strings.Repeat("x", 62)+"\n", 64)
	all := make([]*lan.Dialogue, sessions)
	for i := range all {
		d, _, err := c.open(secure)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Quit()
		all[i] = d
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for _, d := range all {
		wg.Go(func() {
			for range each {
				if err := d.Send("x@client.test", "alice@"+c.Name, message); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(sessions*each) / time.Since(begin).Seconds()
}

// What waits idle, and how many of them are under TLS. Where a process may have fewer
// descriptors than that and its own, it is as many as it may have besides.
const (
	idleMost, idleTLS = 20_000, 1000
	ownFiles          = 300
)

// idle opens many connections and tells what all processes take with them: at once, and
// at least within the next half minute, in which the server gives back what it can.
func (c *contender) idle(t *testing.T, secure bool) string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n, goal := min(idleMost, int(limit.Cur)-ownFiles), "400 MiB or less for 20,000"
	if secure {
		n, goal = idleTLS, "24 KiB or less for each"
	}
	before := c.allPSS()
	for range n {
		d, _, err := c.open(secure)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Conn.Close()
	}
	first := c.allPSS()
	least := first
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 30 {
		<-tick.C
		least = min(least, c.allPSS())
	}
	return fmt.Sprintf("%d idle connections, under TLS: %v: %.1f MiB in all, %.1f later; each %.1f KiB, %.1f later; goal %s", n, secure,
		float64(first)/1024, float64(least)/1024, float64(first-before)/float64(n), float64(least-before)/float64(n), goal)
}

// chainFile writes a self-signed certificate and its key as Postfix reads them.
func chainFile(h *lan.Host) string {
	cert, _ := testenv.Certificate(h.T, h.Name)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		h.T.Fatal(err)
	}
	name := h.Path("chain.pem")
	lan.WriteFile(h.T, name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	if err := os.Chmod(name, 0o600); err != nil {
		h.T.Fatal(err)
	}
	return name
}
