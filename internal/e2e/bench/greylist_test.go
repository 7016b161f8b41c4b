//go:build e2e && bench

package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

const (
	greyRounds  = 3
	greyTime    = 10 * time.Second // of each round
	greyClients = 20               // at once
	greyEach    = 20               // decisions of one session, since ours has 100 commands without a message; then its client comes from another address
)

// TestBenchGreylist prints how many decisions of a greylist a client gets a second, of ours
// and of Postfix that asks postgrey, both on the same disk and in turns. 20 clients have a
// session each, of which every one has 20 transactions of MAIL, RCPT, DATA if RCPT was
// taken, and RSET, and then comes from another address. Each sender comes twice in a row: it
// is a first contact, and then too early. Ours refuses at DATA, postgrey at RCPT; ours has
// written down what it answers when it answers. The limits on errors in a session are off on
// both sides, and so is what else of ours asks DNS about the sender.
func TestBenchGreylist(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "p") {
		return
	}
	l := lan.New(t)
	soa := " 3600 IN SOA ns.test. root.ns.test. 1 3600 600 86400 3600" // says how long "no such records" is kept
	l.DNS("test."+soa, "10.in-addr.arpa."+soa, "bench.test. IN MX 10 client.test.", "ours.test. IN A 10.77.0.2", "pf.test. IN A 10.77.0.3", "client.test. IN A 10.77.0.4")
	ours := oursWith(l.Host("ours.test"), "greylist=on", "verify-from=no", "hard-errors=10000", "soft-errors=10000", "clients-per-address=0")
	theirs := postgreyContender(l.Host("pf.test"))
	client := l.Host("client.test")
	client.Many("10.128.0.0/9", ours.Host, theirs.Host)
	sides := []*contender{ours, theirs}
	decisions, worst, used := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for round := range greyRounds {
		for turn := range sides {
			c := sides[(round+turn)%len(sides)]
			c.from = client
			p := c.start(benchMode{})
			c.decide(t, round, time.Second/2)
			before := c.processorTime()
			took := c.decide(t, greyRounds+round, greyTime)
			used[c.name] = append(used[c.name], float64((c.processorTime()-before)/time.Microsecond)/float64(len(took)))
			p.Stop()
			decisions[c.name] = append(decisions[c.name], float64(len(took))/greyTime.Seconds())
			worst[c.name] = append(worst[c.name], float64(took[len(took)*99/100])/1e6)
		}
	}
	line{"greylist decisions, 20 clients", "a second", "5 or more"}.print("p", sides, decisions)
	line{"one transaction, p99", "ms", ""}.print("p", sides, worst)
	line{"processor time of the servers, a decision", "µs", "0.2 or less"}.print("p", sides, used)
}

// decide has clients ask for decisions for a while, and returns how long each transaction
// took, the shortest first. run is another number each time.
func (c *contender) decide(t *testing.T, run int, span time.Duration) []time.Duration {
	t.Helper()
	took := make([][]time.Duration, greyClients)
	end := time.Now().Add(span)
	var all sync.WaitGroup
	for w := range greyClients {
		all.Go(func() {
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				some, err := c.decideSome(net.IPv4(10, byte(128+run), byte(w*12+n/250), byte(1+n%250)), fmt.Sprintf("%d-%d-%d", run, w, n), end)
				if err != nil {
					t.Error(err)
				}
				took[w] = append(took[w], some...)
			}
		})
	}
	all.Wait()
	flat := slices.Concat(took...)
	if len(flat) == 0 {
		t.Fatal("no decision was made")
	}
	slices.Sort(flat)
	return flat
}

// decideSome is one session.
func (c *contender) decideSome(local net.IP, name string, end time.Time) (took []time.Duration, err error) {
	conn, err := lan.Inside(c.from, func() (net.Conn, error) {
		d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: local}}
		return d.Dial("tcp4", net.JoinHostPort(c.IP, "25"))
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return nil, err
	}
	for i := 0; i < greyEach && time.Now().Before(end); i++ {
		began := time.Now()
		if err := d.Expect(fmt.Sprintf("MAIL FROM:<s%s-%d@bench.test>", name, i/2), "250"); err != nil {
			return nil, err
		}
		reply, err := d.Say("RCPT TO:<alice@" + c.Name + ">")
		if err == nil && strings.HasPrefix(reply, "250") {
			reply, err = d.Say("DATA")
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(reply, "45") || !strings.Contains(strings.ToLower(reply), "greylist") && !strings.Contains(reply, "postmaster finds you by") {
			return nil, fmt.Errorf("%s says %q, which is no greylist's", c.name, reply)
		}
		took = append(took, time.Since(began))
		if err := d.Expect("RSET", "250"); err != nil {
			return nil, err
		}
	}
	d.Quit()
	return took, nil
}

// postgreyContender is Postfix that asks postgrey, both unpacked from Debian's packages.
func postgreyContender(h *lan.Host) *contender {
	h.T.Helper()
	root, _ := lan.UnpackAll(h.T, "postgrey")
	postgrey := []string{"perl", "-T"} // as its first line has it; where modules are comes by flags then
	for _, pattern := range []string{"lib*-perl/usr/share/perl5", "lib*-perl/usr/lib/*/perl5/*"} {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(root), pattern))
		if err != nil {
			h.T.Fatal(err)
		}
		for _, dir := range found {
			postgrey = append(postgrey, "-I"+dir)
		}
	}
	c := &contender{Host: h, from: h, name: "postgrey"}
	dir := h.Path("postgrey")
	if err := os.Mkdir(dir, 0o755); err != nil {
		h.T.Fatal(err)
	}
	if err := os.Chown(dir, lan.Nobody.UID, lan.Nobody.GID); err != nil {
		h.T.Fatal(err)
	}
	none := h.Path("none")
	lan.WriteFile(h.T, none, "")
	h.Start(h.Command(context.Background(), append(postgrey, filepath.Join(root, "usr/sbin/postgrey"), "--inet="+h.IP+":10023", "--dbdir="+dir,
		"--user=nobody", fmt.Sprint("--group=", lan.Nobody.GID), "--whitelist-clients="+none, "--whitelist-recipients="+none, "--hostname="+h.Name)...))
	h.Listening("10023")
	c.start = func(benchMode) *lan.Process {
		return h.Postfix("default_process_limit=200", "mynetworks=127.0.0.1/32", "local_recipient_maps=",
			"smtpd_hard_error_limit=1000000", "smtpd_soft_error_limit=1000000", "smtpd_junk_command_limit=1000000", "smtpd_error_sleep_time=0",
			"smtpd_recipient_restrictions=reject_unauth_destination,check_policy_service inet:"+h.IP+":10023")
	}
	return c
}
