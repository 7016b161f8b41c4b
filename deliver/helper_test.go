package deliver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/resolver"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// users are the accounts of a rig; broken makes every lookup fail.
type users struct {
	mu     sync.Mutex
	names  []string
	broken error
}

func (u *users) Lookup(_ context.Context, name string) (account.Account, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken != nil {
		return account.Account{}, u.broken
	}
	for _, n := range u.names {
		if smtp.Fold(n) == smtp.Fold(name) {
			if n == "root" {
				return account.Account{Name: n}, nil
			}
			return account.Account{Name: n, UID: 1000, GID: 1000}, nil
		}
	}
	return account.Account{}, account.ErrNoUser
}

func (u *users) breakWith(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.broken = err
}

// mailer is a local.Mailer that keeps what it got. answer decides instead of
// it where it is set and returns ok.
type mailer struct {
	mu       sync.Mutex
	seen     func(local.Delivery) // of each that is asked for; nil
	boxes    map[string][]string
	tokens   map[string]int // deliveries begun, by token
	recorded map[string]bool
	answer   func(user string) (res local.Result, ok bool)
	agents
}

func (m *mailer) Deliver(ctx context.Context, token string, d local.Delivery) local.Result {
	body, err := io.ReadAll(d.Body)
	if err != nil {
		return local.Result{Outcome: outcome.Outcome{Action: outcome.Deferred, Err: err}}
	}
	m.mu.Lock()
	if m.seen != nil {
		m.seen(d)
	}
	m.tokens[token]++
	answer := m.answer
	m.mu.Unlock()
	if answer != nil {
		if res, ok := answer(d.User); ok {
			return res
		}
	}
	if yes, _ := m.Forwards(ctx, d.User, d.Extension); yes && !d.Final {
		return local.Result{Answer: local.Forwarded}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes[d.User] = append(m.boxes[d.User], string(body))
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered, Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "delivered"}}}
}

func (m *mailer) Recorded(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recorded[token] = true
}

func (m *mailer) box(user string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.boxes[user])
}

func refuse(text string) local.Result {
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Bounced, Reply: smtp.Reply{Code: 550, Status: "5.2.1", Text: text}, Err: errors.New(text)}}
}

func later(text string) local.Result {
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Deferred, Reply: smtp.Reply{Code: 450, Status: "4.2.0", Text: text}, Err: errors.New(text)}}
}

// network connects remote.Options.Dial with scripted peers over net.Pipe.
// An address without a peer refuses the connection.
type network struct {
	mu    sync.Mutex
	peers map[string]func(net.Conn)
	dials map[string]int
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	serve := n.peers[address]
	n.dials[address]++
	n.mu.Unlock()
	if serve == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	go serve(theirs)
	return ours, nil
}

func (n *network) dialled(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

// rig is a queue with everything around it.
type rig struct {
	t       testing.TB
	o       Options
	queue   *spool.Queue
	dir     string
	users   *users
	mailer  *mailer
	network *network
	aliases string
	log     *logBuffer
	client  string        // who mail comes from; "": a client without an address
	params  []smtp.Param  // of MAIL
	folder  string        // see envelope.Envelope
	skew    time.Duration // of the wall clock
	stuck   atomic.Bool   // nothing can be recorded
	full    atomic.Bool   // no message can be queued
	tight   atomic.Bool   // no large one can
	syncs   atomic.Int64  // of what has been recorded
	mu      sync.Mutex
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{
		t: t, dir: filepath.Join(t.TempDir(), "queue"), log: &logBuffer{},
		users:   &users{names: []string{"alice", "bob", "carol", "root"}},
		mailer:  &mailer{boxes: map[string][]string{}, tokens: map[string]int{}, recorded: map[string]bool{}},
		network: &network{peers: map[string]func(net.Conn){}, dials: map[string]int{}},
	}
	r.aliases = filepath.Join(t.TempDir(), "aliases")
	r.open(unsynced{disk.OS(), &r.stuck, &r.full, &r.tight, &r.syncs})
	r.o = Options{
		Options: route.Options{
			Hostname:     "us.example",
			LocalDomains: []string{"also.example"},
			Aliases:      alias.Open(r.aliases),
			Accounts:     r.users,
		},
		Queue:  r.queue,
		Local:  r.mailer,
		Remote: remote.Options{Hostname: "us.example", Dial: r.network.dial},
		Log:    slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    r.now,
	}
	r.dns("127.0.0.1:1")
	return r
}

// router is one of the rig's settings.
func (r *rig) router() *route.Router { return route.New(r.o.filled().Options) }

// dns makes the rig ask one server. Our address is 192.0.2.99.
func (r *rig) dns(server string) {
	r.o.Resolver = resolver.New(resolver.Options{
		Servers:    []string{server},
		HostsFile:  filepath.Join(r.dir, "no-hosts"),
		Timeout:    5 * time.Second,
		Interfaces: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.99")}, nil },
	})
}

func (r *rig) open(fs disk.FS) {
	q, err := spool.Open(spool.Options{FS: fs, Dir: r.dir, Now: r.now})
	if err != nil {
		r.t.Fatal(err)
	}
	r.queue = q
	r.t.Cleanup(func() { q.Close() })
}

// now is the rig's wall clock.
func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.skew)
}

// setClock moves the wall clock and nothing else.
func (r *rig) setClock(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skew += by
}

func (r *rig) alias(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.aliases, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// peer puts a sink at an address.
func (r *rig) peer(address string, s *testenv.Sink) *testenv.Sink {
	r.network.mu.Lock()
	defer r.network.mu.Unlock()
	r.network.peers[address+":25"] = s.ServeConn
	r.t.Cleanup(s.Close)
	return s
}

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	if s == "" {
		return smtp.Path{}
	}
	p, err := smtp.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return p
}

const plain = "Received: by us.example; Tue, 24 Nov 2026 12:00:00 +0000\nMessage-ID: <m1@x.example>\nSubject: hello\n\nbody\n"

// mail queues a message.
func (r *rig) mail(from string, to ...string) spool.ID {
	r.t.Helper()
	return r.mailText(plain, r.now(), from, to...)
}

func (r *rig) mailText(text string, arrived time.Time, from string, to ...string) spool.ID {
	r.t.Helper()
	env := envelope.Envelope{Arrived: arrived, Client: cmp.Or(r.client, "client"), Session: "s1", ReversePath: path(r.t, from), Params: r.params, Folder: r.folder}
	for _, a := range to {
		env.Recipients = append(env.Recipients, smtp.Recipient{Path: path(r.t, a)})
	}
	in, err := r.queue.Create(env)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(in, text); err != nil {
		r.t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		r.t.Fatal(err)
	}
	return in.ID()
}

// pass makes one pass with a new runner, as runq without a daemon does.
func (r *rig) pass() *Runner {
	r.t.Helper()
	run := NewRunner(r.o)
	if err := run.Pass(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	return run
}

// start runs a runner until the returned function is called.
func (r *rig) start() (*Runner, func()) {
	run := NewRunner(r.o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run.Run(ctx) }()
	return run, func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
}

// list is what is in the queue: one line for a recipient that is live.
func (r *rig) list() []string {
	r.t.Helper()
	var lines []string
	for e, err := range r.queue.Entries() {
		if err != nil {
			r.t.Fatal(err)
		}
		s, err := r.queue.Read(e.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, rc := range s.Recipients {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s %s", e.Location, s.Envelope.ReversePath, rc.Path, rc.State))
		}
	}
	slices.Sort(lines)
	return lines
}

// snapshot reads one message of the queue.
func (r *rig) snapshot(id spool.ID) *spool.Snapshot {
	r.t.Helper()
	s, err := r.queue.Read(id)
	if err != nil {
		r.t.Fatalf("read %s: %v\nlog:\n%s", id, err, r.log)
	}
	return s
}

// want compares the queue with the lines expected.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	slices.Sort(lines)
	if got := r.list(); !slices.Equal(got, lines) {
		r.t.Errorf("queue:\n%s\nwant:\n%s\nlog:\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"), r.log)
	}
}

// wantBox says how many messages a mailbox has to have.
func (r *rig) wantBox(user string, n int) []string {
	r.t.Helper()
	got := r.mailer.box(user)
	if len(got) != n {
		r.t.Errorf("mailbox %s has %d messages, want %d\nlog:\n%s", user, len(got), n, r.log)
	}
	return got
}

// until waits for a condition of the outside, looking at it after each event
// of the log.
func (r *rig) wantLog(parts ...string) {
	r.t.Helper()
	for line := range strings.Lines(r.log.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			return
		}
	}
	r.t.Errorf("no log line with %q in:\n%s", parts, r.log)
}

// plant puts a file of anybody's into a directory of the queue.
func (r *rig) plant(dir, name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}
