package smtpd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

// stored is a message that a memQueue took.
type stored struct {
	ID     string
	From   smtp.Path
	To     []smtp.Path
	Params []smtp.Param // of MAIL, then of each recipient
	Client Client
	Mark   Mark
	Data   string
	Held   string // why it is held
}

// memQueue is a queue in memory with faults to order.
type memQueue struct {
	room, begin, write, commit, noID error
	spare                            func() int64          // octets that there is room for; nil: for all
	committing                       func(context.Context) // called before a message is committed
	released                         func()                // called when a message may be worked on

	held peer.Held

	mu      sync.Mutex
	n       int
	open    int // begun, neither committed nor aborted
	written int64
	kept    int64 // of written, what was not aborted
	all     []stored
}

func (q *memQueue) Room(context.Context) (peer.Amount, error) {
	free := plenty
	if q.spare != nil {
		free.Octets = q.spare()
	}
	return free, q.room
}

// plenty is room for all.
var plenty = peer.Amount{Octets: math.MaxInt64 / 2, Files: math.MaxInt64 / 2}

func (q *memQueue) Held(context.Context) *peer.Held { return &q.held }

func (q *memQueue) NewID() (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
	return fmt.Sprintf("Q%d", q.n), q.noID
}

func (q *memQueue) Begin(_ context.Context, t *Transaction) (Incoming, error) {
	if q.begin != nil {
		return nil, q.begin
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open++
	m := &memMessage{q: q, stored: stored{ID: t.ID, From: t.ReversePath, Client: *t.Client, Mark: t.Mark, Params: t.Params}}
	for _, r := range t.Recipients {
		m.To = append(m.To, r.Path)
		m.Params = append(m.Params, r.Params...)
	}
	return m, nil
}

// String shows what a failing test got.
func (m stored) String() string { return fmt.Sprintf("%s %v %v %q", m.ID, m.From, m.To, m.Data) }

func (q *memQueue) messages() []stored {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]stored(nil), q.all...)
}

// unfinished is how many messages are neither committed nor aborted.
func (q *memQueue) unfinished() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open
}

type memMessage struct {
	q    *memQueue
	b    strings.Builder
	done bool
	stored
}

func (m *memMessage) ID() string { return m.stored.ID }

func (m *memMessage) More() []string { return nil }

func (m *memMessage) Write(p []byte) (int, error) {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	if m.done {
		return 0, errors.New("write to a finished message")
	}
	if m.q.write != nil {
		return 0, m.q.write
	}
	m.q.written += int64(len(p))
	m.q.kept += int64(len(p))
	return m.b.Write(p)
}

func (m *memMessage) Commit(ctx context.Context) error {
	if m.q.committing != nil {
		m.q.committing(ctx)
	}
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	if m.q.commit != nil {
		return m.q.commit
	}
	m.Data = m.b.String()
	m.q.all = append(m.q.all, m.stored)
	m.done = true
	m.q.open--
	return nil
}

func (m *memMessage) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(m.b.String()).ReadAt(p, off)
}

func (m *memMessage) Instead(ctx context.Context, t *Transaction) (Incoming, error) {
	return m.q.Begin(ctx, t)
}

func (m *memMessage) Hold(reason string) { m.Held = reason }

func (m *memMessage) Release() {
	if m.q.released != nil {
		m.q.released()
	}
}

func (m *memMessage) Abort() {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	if !m.done {
		m.done = true
		m.q.open--
		m.q.kept -= int64(m.b.Len())
	}
}

// domainPolicy takes mail for alice, bob and postmaster at us.example from
// everybody, and for other domains from those who may relay.
type domainPolicy struct {
	Accepting
	*Client
}

// domains makes the judge of a test server's session.
func domains(c *Client) Checker { return domainPolicy{Client: c} }

// Mail refuses one domain.
func (domainPolicy) Mail(_ context.Context, t *Transaction) Verdict {
	if t.ReversePath.Domain == "evil.example" {
		return Refusal(smtp.Reply{Code: 550, Status: "5.7.1", Text: "not you"})
	}
	return Verdict{}
}

func (c domainPolicy) Rcpt(_ context.Context, _ *Transaction, to smtp.Path) Verdict {
	return Refusal(c.recipient(to))
}

func (c domainPolicy) recipient(to smtp.Path) smtp.Reply {
	switch {
	case to.Domain != "" && !strings.EqualFold(to.Domain, "us.example"):
		if to.Domain == "slow.example" {
			return smtp.Reply{Code: 451, Status: "4.4.3", Text: "the DNS does not answer"}
		}
		if !c.Trusted {
			return smtp.Reply{Code: 550, Status: "5.7.1", Text: "no relaying for you"}
		}
	case to.Local == "unqueueable":
		return smtp.Reply{Code: 553, Status: "5.1.3", Text: "no mailbox has such a name"}
	case !isUser(to.Local):
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: "no such user"}
	}
	return smtp.Reply{}
}

func isUser(name string) bool {
	for _, u := range []string{"alice", "bob", "postmaster"} {
		if strings.EqualFold(u, name) {
			return true
		}
	}
	return false
}

// options are a test server's: us.example, a queue in memory.
func options(q Queue) Options {
	return Options{Hostname: "us.example", Queue: q, Checker: domains, Crash: true}
}

// addrConn is a connection from a given address.
type addrConn struct {
	net.Conn
	addr net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.addr }

func from(addr string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }

const strangerAddr = "192.0.2.7:40000"

// peerOf starts a session of s over a pipe and returns the client's end. The
// channel gets what the session returned.
func peerOf(s *Server, k Kind, addr string) (net.Conn, <-chan error) {
	client, server := net.Pipe()
	end := make(chan error, 1)
	go func() { end <- s.ServeConn(context.Background(), addrConn{server, from(addr)}, k) }()
	return client, end
}

// talker is a client for tests that look at every reply.
type talker struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial starts a session with a stranger and reads the greeting.
func dial(t *testing.T, s *Server) *talker { return dialFrom(t, s, Relay, strangerAddr) }

func dialFrom(t *testing.T, s *Server, k Kind, addr string) *talker {
	t.Helper()
	conn, end := peerOf(s, k, addr)
	c := &talker{t: t, conn: conn, r: bufio.NewReader(conn)}
	t.Cleanup(func() {
		conn.Close()
		<-end
	})
	c.want(220)
	return c
}

// read returns the next reply; the zero Reply is the end of the connection.
func (c *talker) read() smtp.Reply {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
	r, err := smtp.ReadReply(c.r)
	if err != nil {
		return smtp.Reply{}
	}
	return r
}

func (c *talker) want(code int) smtp.Reply {
	c.t.Helper()
	r := c.read()
	if r.Code != code {
		c.t.Fatalf("got %v, want %d", r, code)
	}
	return r
}

// send writes octets while replies may come.
func (c *talker) send(text string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(10 * time.Minute))
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Logf("write: %v", err)
	}
}

// do sends a command and returns its reply.
func (c *talker) do(line string) smtp.Reply {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.read()
}

// envelope opens a transaction up to and with 354.
func (c *talker) envelope(from string, to ...string) {
	c.t.Helper()
	lines := []string{"EHLO client.example", "MAIL FROM:<" + from + ">"}
	for _, r := range to {
		lines = append(lines, "RCPT TO:<"+r+">")
	}
	for _, l := range lines {
		if r := c.do(l); r.Code != 250 {
			c.t.Fatalf("%s: %v", l, r)
		}
	}
	if r := c.do("DATA"); r.Code != 354 {
		c.t.Fatalf("DATA: %v", r)
	}
}

var errNoSpace = fmt.Errorf("write /q/tmp/1: %w", syscall.ENOSPC)

// complete returns what completeAddresses writes.
func complete(t testing.TB, field, host string) string {
	var b strings.Builder
	w := bufio.NewWriter(&b)
	if err := completeAddresses(w, []byte(field), host); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.String()
}

func newReader(c net.Conn) *bufio.Reader { return bufio.NewReader(c) }

// What package wire waits, as a client sees it.
const (
	lingerWait = 2 * time.Second
	refuseWait = 5 * time.Second
	idleWait   = 4 * time.Second  // strangers
	programs   = 10 * time.Second // in the same
	lostWait   = 10 * time.Second
	dataWait   = 4 * time.Hour
)
