//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// letter is a message of a fault test. It proves by itself that it is whole.
type letter struct {
	token string
	to    string
	text  string // header and body, LF line ends
}

// newLetter makes a letter with a random body of at most size octets, some of
// whose lines begin with a dot.
func newLetter(to string, size int) letter {
	token := strings.ToLower(rand.Text())
	raw := make([]byte, 1+roll(size*3/4))
	rand.Read(raw)
	var body strings.Builder
	for code := base64.StdEncoding.EncodeToString(raw); code != ""; {
		n := min(72, len(code))
		if roll(8) == 0 {
			body.WriteByte('.')
		}
		body.WriteString(code[:n] + "\n")
		code = code[n:]
	}
	text := fmt.Sprintf("From: <writer@two.test>\nTo: <%s>\nSubject: fault\nX-Token: %s\nX-Sum: %s\n\n%s",
		to, token, bodySum(body.String()), body.String())
	return letter{token, to, text}
}

func bodySum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// roll is a random number from 0 up to, not including, n.
func roll(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(max(n, 1))))
	if err != nil {
		panic(err)
	}
	return int(v.Int64())
}

// span is a random duration between the two.
func span(from, to time.Duration) time.Duration { return from + time.Duration(roll(int(to-from))) }

// ledger knows what was sent and what was acknowledged. It is kept in the test's
// own process, which no fault touches.
type ledger struct {
	mu      sync.Mutex
	sent    map[string]letter
	acked   map[string]bool
	refused map[string]int // replies that were no 2xx, and exit codes
}

func newLedger() *ledger {
	return &ledger{sent: map[string]letter{}, acked: map[string]bool{}, refused: map[string]int{}}
}

func (l *ledger) begin(x letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[x.token] = x
}

// end notes what the sender heard.
func (l *ledger) end(x letter, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.acked[x.token] = true
		return
	}
	l.refused[err.Error()]++
}

// snapshot is what is acknowledged now.
func (l *ledger) snapshot() map[string]letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]letter, len(l.acked))
	for token := range l.acked {
		all[token] = l.sent[token]
	}
	return all
}

func (l *ledger) known(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.sent[token]
	return ok
}

// fleet sends letters to one site until it is stopped.
type fleet struct {
	*ledger
	s      *site
	from   *host    // where the SMTP writers are
	to     []string // recipients, in turn
	size   int      // octets of a body, at most
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newFleet(s *site, from *host, size int, to ...string) *fleet {
	f := &fleet{ledger: newLedger(), s: s, from: from, to: to, size: size}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	s.t.Cleanup(f.stop)
	return f
}

// stop ends the writers and waits for them.
func (f *fleet) stop() {
	f.cancel()
	f.wg.Wait()
}

// write starts n SMTP writers, each with a session after the other.
func (f *fleet) write(n int, address string) {
	for range n {
		f.wg.Go(func() {
			for f.ctx.Err() == nil {
				if err := f.session(address); err != nil && !pause(f.ctx, 20*time.Millisecond) {
					return
				}
			}
		})
	}
}

// session sends a few letters over one connection.
func (f *fleet) session(address string) error {
	conn, err := f.from.dial(address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(f.ctx, func() { conn.SetDeadline(time.Now().Add(5 * time.Second)) })
	defer stop()
	d, err := newDialogue(conn, "writer.two.test")
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 1 + roll(8) {
		if f.ctx.Err() != nil {
			break
		}
		x := newLetter(f.to[roll(len(f.to))], f.size)
		f.begin(x)
		err := d.send("writer@two.test", x.to, x.text)
		f.end(x, plain(err))
		if err != nil {
			return err
		}
	}
	d.quit()
	return nil
}

// plain is an error without the addresses in it, so that equal ones are counted
// together.
func plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// submit starts a sender that calls sendmail, one after the other, each
// followed by a short rest.
func (f *fleet) submit(user string) {
	f.wg.Go(func() {
		for f.ctx.Err() == nil {
			x := newLetter(f.to[roll(len(f.to))], f.size)
			f.begin(x)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			cmd := f.s.as(ctx, user, applet("sendmail"), "-C", f.s.cf, "-i", "-f", "writer@two.test", x.to)
			cmd.Stdin = strings.NewReader(x.text)
			out, err := cmd.CombinedOutput()
			cancel()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != 75 {
				f.s.t.Errorf("sendmail: exit code %d, want 0 or 75: %s", exit.ExitCode(), out)
			}
			f.end(x, err)
			pause(f.ctx, span(5*time.Millisecond, 50*time.Millisecond))
		}
	})
}
