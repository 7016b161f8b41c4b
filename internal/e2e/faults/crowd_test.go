//go:build e2e

package faults

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// besieged is a site, and a host of strangers with any number of addresses.
type besieged struct {
	*lan.Site
	strangers, client *lan.Host
	server            int // its process
	letters           int
}

func besiege(t *testing.T, settings ...string) *besieged {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	b := &besieged{Site: l.Host("one.test").Install(settings...), strangers: l.Host("strangers.test"), client: l.Host("client.test")}
	b.strangers.Many("10.78.0.0/16", b.Host)
	b.Serve()
	b.server = b.PidOf("postoffice: server")
	return b
}

// descriptors is how many the server has open.
func (b *besieged) descriptors() int {
	return len(lan.ReadDir(b.T, filepath.Join("/proc", strconv.Itoa(b.server), "fd")))
}

// sessions is how many the server has.
func (b *besieged) sessions() int {
	return strings.Count(b.Run(lan.Binary, "sessions", "-C", b.Config, "--json"), "\n")
}

// letter sends a letter as a stranger with nothing against them, who comes again while
// there is no place, and returns how long that took.
func (b *besieged) letter() time.Duration {
	b.T.Helper()
	b.letters++
	subject := fmt.Sprintf("Subject: letter %d", b.letters)
	start := time.Now()
	lan.Until(b.T, 2*time.Minute, subject+" is taken", func() bool {
		return sendFrom(b.client, b.IP+":25", subject+"\n\n") == nil
	})
	took := time.Since(start)
	lan.Until(b.T, time.Minute, subject+" is delivered", func() bool { return lan.Contains(b.Mailbox("alice"), subject+"\n") })
	return took
}

// sendFrom sends one message to alice.
func sendFrom(h *lan.Host, address, text string) error {
	conn, err := h.Dial(address)
	if err != nil {
		return err
	}
	d, err := lan.NewDialogue(conn, h.Name)
	if err != nil {
		return err
	}
	defer d.Quit()
	return d.Send("writer@"+h.Name, "alice@one.test", text)
}

// from connects from an address of the strangers'.
func (b *besieged) from(i int) (net.Conn, error) {
	return lan.Inside(b.strangers, func() (net.Conn, error) {
		d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 78, byte(i>>8), byte(i))}}
		return d.Dial("tcp4", b.IP+":25")
	})
}

// What stays of a crowd: after the first nothing but what a server that has run a while has
// beyond one that has just begun, as the table of who came too often; after one within the
// hour besides Go's own records, 1.6 KiB of each connection that there was at one time.
const (
	keptOfEach = 2 << 10 // octets
	keptOfAll  = 8 << 10 // KiB
)

// TestA81IdleAndSlow: thousands of connections that say nothing, a tenth of them in TLS,
// and hundreds that send a command octet by octet, in as many places, keep nobody's mail
// for more than a second; and when they are gone the server has no more descriptors and
// sessions than before. What they took of memory is given back, by another server that
// comes in this one's place without a word to anybody, and after a second crowd within the
// hour but for what Go's runtime keeps of each connection.
func TestA81IdleAndSlow(t *testing.T) {
	idle, slow, secure := many(2000, 10_000), many(200, 1000), many(200, 1000)
	b := besiege(t, fmt.Sprintf("clients=%d", (idle+slow)*12/11))
	b.letter()
	descriptors, memory := b.descriptors(), b.Anon()
	var most, after [2]int // memory in each round, in KiB
	for round := range most {
		conns := b.open(idle + slow)
		b.secure(conns[len(conns)-secure:])
		b.unhindered(t, round+1, conns[:slow])
		most[round] = b.Anon()
		for _, c := range conns {
			c.Close()
		}
		left := keptOfAll
		if round == 0 {
			b.renewed(t)
		} else {
			left += (idle + slow) * keptOfEach >> 10
		}
		lan.Until(t, 2*time.Minute, "the sessions are gone", func() bool { return b.sessions() == 0 })
		lan.Until(t, 2*time.Minute, "the descriptors are given back", func() bool { return b.descriptors() <= descriptors })
		lan.Until(t, 2*time.Minute, fmt.Sprintf("all but %d KiB of the memory is given back", left), func() bool {
			after[round] = b.Anon()
			return after[round] < memory+left
		})
	}
	t.Logf("memory: %d KiB before, %v in each round, %v after it", memory, most, after)
}

// unhindered sends letters while some of those who are connected write octet by octet.
func (b *besieged) unhindered(t *testing.T, round int, slow []net.Conn) {
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer cancel()
	writers.Go(func() {
		for lan.Pause(ctx, time.Second) {
			for _, c := range slow {
				c.SetWriteDeadline(time.Now().Add(time.Second))
				c.Write([]byte("x")) // one that was ended is written to no more than once
			}
		}
	})
	var took []time.Duration
	for range 5 {
		took = append(took, b.letter())
	}
	t.Logf("round %d: letters in %v, %d descriptors", round, took, b.descriptors())
	slices.Sort(took)
	if median := took[2]; median > time.Second {
		t.Errorf("half of the letters took more than %v", median)
	}
}

// renewed waits until another server has come in this one's place. Clients come all the
// while, one after the other with moments without anybody between them, are served by the
// one or the other, and none is turned away.
func (b *besieged) renewed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	clients.Go(func() {
		for lan.Pause(ctx, 300*time.Millisecond) {
			if err := sendFrom(b.client, b.IP+":25", "Subject: between\n\n"); err != nil {
				t.Errorf("a client was turned away meanwhile: %v", err)
			}
		}
	})
	lan.Until(t, 2*time.Minute, "another server is there", func() bool {
		before := b.server
		b.server = b.PidOf("postoffice: server")
		return b.server != before
	})
	cancel()
	clients.Wait()
	if !lan.Says(b.Log, "server renewed") || lan.Contains(b.Log, "server ended") {
		t.Error("the log doesn't say that the server was renewed, or says that it died")
	}
}

// open connects n times from as many addresses, and waits for each greeting.
func (b *besieged) open(n int) []net.Conn {
	b.T.Helper()
	conns := make([]net.Conn, n)
	b.each(n, func(i int) (err error) {
		if conns[i], err = b.from(i); err != nil {
			return err
		}
		conns[i].SetReadDeadline(time.Now().Add(time.Minute))
		line, err := bufio.NewReader(conns[i]).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "220 ") {
			err = errors.New(strings.TrimSpace(line))
		}
		return err
	})
	return conns
}

// secure has each of some sessions begin TLS, and say EHLO under it.
func (b *besieged) secure(conns []net.Conn) {
	b.T.Helper()
	b.each(len(conns), func(i int) error {
		d := &lan.Dialogue{Conn: conns[i], R: bufio.NewReader(conns[i])}
		for _, line := range []string{"EHLO strangers.test", "STARTTLS"} {
			if err := d.Expect(line, "2"); err != nil {
				return err
			}
		}
		conn := tls.Client(conns[i], &tls.Config{InsecureSkipVerify: true})
		d = &lan.Dialogue{Conn: conn, R: bufio.NewReader(conn)}
		return d.Expect("EHLO strangers.test", "250")
	})
}

// each does something n times, 50 at a time, until all is done or one fails.
func (b *besieged) each(n int, do func(i int) error) {
	b.T.Helper()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					err = fmt.Errorf("connection %d: %w", i+1, err)
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		b.T.Fatal(*err)
	}
}

// TestA81Attackers: 200 addresses, each in a network of its own, that take every session
// that they get as soon as they are rid of the last one, half of them silent and half
// octet by octet, don't keep out who comes with mail, with the limits that we ship: a letter
// waits for a place that an attacker doesn't get first, and each of them gets one for four
// seconds, 75 or more at a time.
func TestA81Attackers(t *testing.T) {
	const addresses, longestSiege = 200, 10 * time.Second
	b := besiege(t, "clients-per-address=1")
	b.letter()
	descriptors := b.descriptors()
	ctx, cancel := context.WithCancel(t.Context())
	var attackers sync.WaitGroup
	var tries, greeted atomic.Int64
	for i := range addresses {
		attackers.Go(func() {
			for lan.Pause(ctx, 100*time.Millisecond) {
				conn, err := b.from(i<<8 | 1)
				if err != nil {
					continue
				}
				tries.Add(1)
				if b.attack(ctx, conn, i%2 == 0) {
					greeted.Add(1)
				}
			}
		})
	}
	defer attackers.Wait()
	defer cancel()
	lan.Until(t, time.Minute, "all places are taken", func() bool { return b.sessions() >= 75 })
	for range 10 {
		took := b.letter()
		t.Logf("a letter in %v, when %d tries had got %d sessions", took, tries.Load(), greeted.Load())
		if took > longestSiege {
			t.Errorf("a letter took %v", took)
		}
	}
	if out := b.Run(lan.Binary, "limits", "-C", b.Config); !strings.Contains(out, "10.78.") {
		t.Errorf("limits shows none of them:\n%s", out)
	}
	cancel()
	attackers.Wait()
	lan.Until(t, 2*time.Minute, "the sessions are gone", func() bool { return b.sessions() == 0 })
	lan.Until(t, 2*time.Minute, "the descriptors are given back", func() bool { return b.descriptors() <= descriptors })
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(b.server))); err != nil {
		t.Errorf("the server is another one: %v", err)
	}
}

// attack holds a session until it is ended, and reports whether it was greeted.
func (b *besieged) attack(ctx context.Context, conn net.Conn, silent bool) (greeted bool) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220 ") {
		return false
	}
	if !silent {
		over := make(chan bool)
		defer func() { <-over }()
		go func() {
			defer close(over)
			for lan.Pause(ctx, time.Second) {
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
	}
	for err == nil {
		_, err = r.ReadString('\n')
	}
	conn.Close()
	return true
}
