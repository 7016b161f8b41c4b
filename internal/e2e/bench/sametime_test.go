//go:build e2e && bench

package bench

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// ownDovecot is Dovecot with a user of its own, whom nobody else knows.
const ownDovecot = `
protocols =
base_dir = DIR/dovecot
state_dir = DIR/dovecot-state
log_path = DIR/dovecot.log
ssl = no
auth_mechanisms = plain
passdb {
  driver = passwd-file
  args = username_format=%u DIR/dovecot.users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR
}
service auth {
  unix_listener DIR/auth {
    user = postoffice
    mode = 0600
  }
}
`

const namesEach = 12 // names of each kind

// TestBenchSameTime prints how long 200 refused logins of each kind take, with all kinds of
// sources at once, as a client measures it, each from a network of its own. Of two kinds
// that can't be told apart the one is the slower one in half of all pairs. The kinds take
// turns in an order by chance. That they take the same work TestSameWork holds.
func TestBenchSameTime(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "x") {
		return
	}
	const each, crowd = 200, 16
	c := sameTimeServer(t)
	// Of each kind there are so many names that none of them is closed for guesses.
	names := []string{"argonN@v.test", "shaN@v.test", "closedN@v.test", "nobodyN@v.test", "systemN", "lockedN", "carolN", "nobodyN"}
	kinds := []string{"wrong password", "wrong password, another hash and no verifier", "disabled", "unknown name", "wrong password, system", "locked, system", "wrong password, Dovecot", "unknown name without a domain"}
	var turns []int
	for k := range names {
		turns = append(turns, slices.Repeat([]int{k}, each)...)
	}
	rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	took := make([][]float64, len(names))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range crowd {
		wg.Go(func() {
			for i := w; i < len(turns); i += crowd {
				ms, err := c.refused(net.IPv4(10, byte(128+i%100), byte(i/100), 1), strings.Replace(names[turns[i]], "N", strconv.Itoa(i%namesEach), 1))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				took[turns[i]] = append(took[turns[i]], ms)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for k, of := range took {
		slices.Sort(of)
		slower, pairs := 0.0, 0
		for o, other := range took {
			for _, a := range of {
				for _, b := range other {
					if o == k {
						continue
					}
					pairs++
					if a > b {
						slower++
					} else if a == b {
						slower += 0.5
					}
				}
			}
		}
		fmt.Printf("(x) %-45s %d logins: p25 %.1f ms, p50 %.1f ms, p75 %.1f ms; slower than another kind in %.1f %% of all pairs, goal 45 to 55\n", kinds[k]+":", len(of), of[len(of)/4], of[len(of)/2], of[len(of)*3/4], 100*slower/float64(pairs))
	}
}

// sameTimeServer is ours with three kinds of sources.
func sameTimeServer(t *testing.T) *contender {
	t.Helper()
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "client.test. IN A 10.77.0.3")
	people := []lan.User{lan.Account("dovecot", 905), lan.Account("dovenull", 906)}
	for i := range namesEach {
		people = append(people, lan.Account("system"+strconv.Itoa(i), 3000+i), lan.Account("locked"+strconv.Itoa(i), 3100+i))
	}
	h := l.Host("ours.test", people...)
	c := loginsWith(h, "auth=virtual,system,dovecot:"+h.Path("auth"), "rate-logins=0")
	c.from = l.Host("client.test")
	c.from.Many("10.128.0.0/9", c.Host)
	conf := h.Path("postoffice.cf")
	script := `for i in $(seq 0 $2); do
		for n in argon closed; do echo sesame | "$0" vpasswd -C "$1" add $n$i@v.test || exit; done
		"$0" vpasswd -C "$1" disable closed$i@v.test || exit
		printf 'system%d:open sesame\nlocked%d:open sesame\n' $i $i | chpasswd && usermod -L locked$i || exit
	done`
	h.Run("sh", "-c", script, lan.Binary, conf, strconv.Itoa(namesEach-1))
	var own strings.Builder
	for i := range namesEach {
		fmt.Fprintf(&own, "carol%d:{PLAIN}open sesame\n", i)
		h.Run("sh", "-c", `printf 'sha%d:{SHA512-CRYPT}%s\n' $1 "$(openssl passwd -6 -salt saltsaltsalt sesame)" >>$0`, h.Path("virtual", "v.test", "passwd"), strconv.Itoa(i))
	}
	h.Lay("dovecot-core")
	dovecot := h.Path("dovecot.conf")
	lan.WriteFile(t, h.Path("dovecot.users"), own.String())
	lan.WriteFile(t, dovecot, strings.ReplaceAll(ownDovecot, "DIR", h.Dir))
	h.Start(h.Command(t.Context(), "dovecot", "-F", "-c", dovecot))
	lan.Until(t, 20*time.Second, "Dovecot listens", func() bool { _, err := os.Stat(h.Path("auth")); return err == nil })
	c.start(benchMode{queueOnly: true})
	if _, err := c.refused(net.IPv4(10, 250, 0, 1), "nobody"); err != nil { // which starts the processes
		t.Fatal(err)
	}
	return c
}

// refused is a login with a wrong password, from an address of the client: how many
// milliseconds its refusal takes.
func (c *contender) refused(local net.IP, user string) (float64, error) {
	conn, err := lan.Inside(c.from, func() (net.Conn, error) {
		d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: local}}
		return d.Dial("tcp4", net.JoinHostPort(c.IP, "587"))
	})
	if err != nil {
		return 0, err
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return 0, err
	}
	defer d.Quit()
	begin := time.Now()
	err = d.Expect("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00wrong")), "535")
	return float64(time.Since(begin).Microseconds()) / 1000, err
}
