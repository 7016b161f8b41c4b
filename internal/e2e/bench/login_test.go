//go:build e2e && bench

package bench

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// schemes are the hashes whose logins are compared: the user, and what makes the hash
// where vpasswd doesn't.
var schemes = []struct {
	user, what string
	each       int // logins of a client in a round
	goal, run  string
}{
	{"sha512", "SHA-512-crypt, 5,000 rounds", 50, "0.83 or more", `printf '{SHA512-CRYPT}'; openssl passwd -6 -salt saltsaltsalt sesame`},
	{"argon", "argon2id, as vpasswd writes it", 6, "0.83 or more", ""},
	{"bcrypt", "bcrypt, cost 10", 3, "", `perl -e 'print "{BLF-CRYPT}", crypt("sesame", "\$2b\$10\$saltsaltsaltsaltsaltsu")'`},
	{"yescrypt", "yescrypt, as Debian's passwd(1) writes it", 3, "", `perl -e 'print "{CRYPT}", crypt("sesame", "\$y\$j9T\$saltsaltsaltsalt")'`},
}

// benchDovecot is Dovecot's authentication service for the same passwd file.
const benchDovecot = `
protocols =
base_dir = DIR/dovecot
state_dir = DIR/dovecot-state
log_path = DIR/dovecot.log
mail_location = maildir:~/Maildir
ssl = no
auth_mechanisms = plain
passdb {
  driver = passwd-file
  args = username_format=%n DIR/virtual/%d/passwd
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR
}
service auth {
  extra_groups = mail
  unix_listener DIR/auth {
    user = postoffice
    mode = 0600
  }
}
`

// TestBenchLogins prints how many logins a second there are by each kind of hash, beside
// Dovecot: our server on two hosts with one client, of which the one asks its own process
// and the other one Dovecot, which reads a passwd file with the same lines. Eight clients
// log in one time after the other by PLAIN, in a session of its own each time, without
// TLS; before that, one alone. Of eight ours has one hash fewer in work than there are
// processors (decisions/0024), Dovecot as many as it has processes. Those that Dovecot doesn't answer in time are told and end their client's round.
func TestBenchLogins(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "u") {
		return
	}
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "dovecot.test. IN A 10.77.0.3", "client.test. IN A 10.77.0.4")
	one, other := l.Host("ours.test"), l.Host("dovecot.test", lan.Account("dovecot", 905), lan.Account("dovenull", 906))
	client := l.Host("client.test")
	ours, theirs := loginsWith(one, "auth=virtual"), loginsWith(other, "auth=dovecot:"+other.Path("auth"))
	theirs.name = "dovecot"
	ours.from, theirs.from = client, client
	other.Lay("dovecot-core")
	conf := other.Path("dovecot.conf")
	lan.WriteFile(t, conf, strings.ReplaceAll(benchDovecot, "DIR", other.Dir))
	other.Start(other.Command(t.Context(), "dovecot", "-F", "-c", conf))
	lan.Until(t, 20*time.Second, "Dovecot listens", func() bool { _, err := os.Stat(other.Path("auth")); return err == nil })

	for _, s := range schemes {
		one := ""
		if s.goal != "" {
			one = "1.2 or less"
		}
		workload{key: "u", mode: benchMode{queueOnly: true}, rounds: 9, lines: []line{{"one login at a time, " + s.what, "ms", one}},
			run: func(t *testing.T, c *contender) []float64 {
				return []float64{1000 / c.logins(t, s.user+"@v.test", 1, 2*s.each)}
			}}.measure(t, []*contender{ours, theirs})
		workload{key: "u", mode: benchMode{queueOnly: true}, rounds: 3, lines: []line{{"logins by " + s.what, "logins/s", s.goal}},
			run: func(t *testing.T, c *contender) []float64 { return []float64{c.logins(t, s.user+"@v.test", 8, s.each)} }}.measure(t, []*contender{ours, theirs})
	}
}

// TestBenchBesideLogins prints what mail without a login waits while 200 clients log in,
// each from a network of its own.
func TestBenchBesideLogins(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "w") {
		return
	}
	l := lan.New(t)
	l.DNS("ours.test. IN A 10.77.0.2", "client.test. IN A 10.77.0.3")
	c := loginsWith(l.Host("ours.test"), "auth=virtual")
	c.from = l.Host("client.test")
	c.from.Many("10.128.0.0/9", c.Host)
	c.start(benchMode{queueOnly: true})
	c.warm(t, benchMode{queueOnly: true})
	fmt.Println("(w)", c.besideLogins(t))
}

// loginsWith is ours with a virtual domain, whose users have a hash of each kind.
func loginsWith(h *lan.Host, own ...string) *contender {
	h.T.Helper()
	dir := h.Path("virtual")
	if err := os.Mkdir(dir, 0o755); err != nil {
		h.T.Fatal(err)
	}
	c := oursWith(h, append(own, "msp=yes", "auth-without-tls=10.0.0.0/8", "vhost-dir="+dir, "vhost-spool="+h.Path("spool"), "local-by-dns=no")...)
	c.start(benchMode{queueOnly: true}).Stop() // which writes the configuration
	conf := h.Path("postoffice.cf")
	h.Run(lan.Binary, "vdomain", "-C", conf, "add", "v.test")
	for _, s := range schemes {
		if s.run == "" {
			h.Run("sh", "-c", `echo sesame | exec "$0" vpasswd -C "$1" add "$2@v.test"`, lan.Binary, conf, s.user)
			continue
		}
		hash := strings.TrimSpace(h.Run("sh", "-c", s.run))
		f, err := os.OpenFile(filepath.Join(dir, "v.test", "passwd"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			h.T.Fatal(err)
		}
		if _, err := fmt.Fprintf(f, "%s:%s\n", s.user, hash); err != nil {
			h.T.Fatal(err)
		}
		if err := f.Close(); err != nil {
			h.T.Fatal(err)
		}
	}
	return c
}

// login is a session with a login, from an address of the client.
func (c *contender) login(local net.IP, user string) error {
	conn, err := lan.Inside(c.from, func() (net.Conn, error) {
		d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: local}}
		return d.Dial("tcp4", net.JoinHostPort(c.IP, "587"))
	})
	if err != nil {
		return err
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return err
	}
	defer d.Quit()
	return d.Expect("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00sesame")), "235")
}

// logins has several clients log in, each so often, and returns logins a second. The first
// login, which starts a process, doesn't count.
func (c *contender) logins(t *testing.T, user string, clients, each int) float64 {
	if err := c.login(nil, user); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if err := c.login(nil, user); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(clients*each) / time.Since(begin).Seconds()
}

// besideLogins sends messages over one session on port 25, by turns alone and while 200
// clients log in without a pause, and says how long they took. Each of those clients is in
// a network of its own.
func (c *contender) besideLogins(t *testing.T) string {
	const crowd, each, rounds = 200, 100, 3
	var waits [2][]float64
	var logins, refused atomic.Int64
	for range rounds {
		for busy := range 2 {
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for i := range crowd * busy {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if c.login(net.IPv4(10, byte(128+i%100), byte(i), 1), "argon@v.test") != nil {
							refused.Add(1)
							continue
						}
						logins.Add(1)
					}
				})
			}
			if busy == 1 { // until they wait for each other
				before := logins.Load()
				lan.Until(t, time.Minute, "logins", func() bool { return logins.Load() > before+5 })
			}
			took, err := c.transactions(each)
			if err != nil {
				t.Error(err)
			}
			waits[busy] = append(waits[busy], took...)
			close(stop)
			wg.Wait()
		}
	}
	for i := range waits {
		slices.Sort(waits[i])
	}
	at := func(i, percent int) float64 { return waits[i][len(waits[i])*percent/100] }
	return fmt.Sprintf("a message without a login, MAIL to 250: p50 %.1f ms, p99 %.1f ms; beside %d clients that log in (%d logins, %d put off): p50 %.1f ms, p99 %.1f ms; %.1f ms more at p99, goal 50 or less",
		at(0, 50), at(0, 99), crowd, logins.Load(), refused.Load(), at(1, 50), at(1, 99), at(1, 99)-at(0, 99))
}

// transactions sends messages over one session and returns the milliseconds of each.
func (c *contender) transactions(n int) ([]float64, error) {
	conn, err := c.from.Dial(net.JoinHostPort(c.IP, "25"))
	if err != nil {
		return nil, err
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return nil, err
	}
	defer d.Quit()
	took := make([]float64, n)
	for i := range took {
		begin := time.Now()
		if err := d.Send("x@client.test", "alice@"+c.Name, "Subject: bench\n\nhello\n"); err != nil {
			return nil, err
		}
		took[i] = float64(time.Since(begin).Microseconds()) / 1000
	}
	return took, nil
}
