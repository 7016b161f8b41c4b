package filters

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/filterline"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// queue keeps what it takes in memory.
type queue struct {
	held peer.Held
	mu   sync.Mutex
	got  []*letter
}

type letter struct {
	q    *queue
	from string
	to   []string
	text strings.Builder
	held string
}

func (q *queue) Room(context.Context) (peer.Amount, error) {
	return peer.Amount{Octets: math.MaxInt64 / 2, Files: math.MaxInt64 / 2}, nil
}
func (q *queue) Held(context.Context) *peer.Held { return &q.held }
func (q *queue) NewID() (string, error)          { return "Q1", nil }

func (q *queue) Begin(_ context.Context, t *smtpd.Transaction) (smtpd.Incoming, error) {
	l := &letter{q: q, from: t.ReversePath.String()}
	for _, r := range t.Recipients {
		l.to = append(l.to, r.Path.String())
	}
	return l, nil
}

func (l *letter) Write(p []byte) (int, error) { return l.text.Write(p) }
func (l *letter) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(l.text.String()).ReadAt(p, off)
}
func (l *letter) Instead(ctx context.Context, t *smtpd.Transaction) (smtpd.Incoming, error) {
	return l.q.Begin(ctx, t)
}
func (l *letter) ID() string         { return "Q1" }
func (l *letter) More() []string     { return nil }
func (l *letter) Hold(reason string) { l.held = reason }
func (l *letter) Release()           {}
func (l *letter) Abort()             {}
func (l *letter) Commit(context.Context) error {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.q.got = append(l.q.got, l)
	return nil
}

// checker asks the filters alone.
type checker struct {
	smtpd.Accepting
	s *Session
}

func (c checker) Connect(ctx context.Context) smtpd.Verdict { return c.s.Connect(ctx) }
func (c checker) Helo(ctx context.Context) smtpd.Verdict    { return c.s.Helo(ctx) }
func (c checker) Mail(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return c.s.Mail(ctx, t)
}
func (c checker) Rcpt(ctx context.Context, t *smtpd.Transaction, to smtp.Path) smtpd.Verdict {
	return c.s.Rcpt(ctx, t, to)
}
func (c checker) Data(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return c.s.Data(ctx, t)
}
func (c checker) Message(ctx context.Context, t *smtpd.Transaction, m smtpd.Message) smtpd.Verdict {
	return c.s.Message(ctx, t, m)
}
func (c checker) Unknown(ctx context.Context, line string) smtpd.Verdict {
	return c.s.Unknown(ctx, line)
}
func (c checker) Aborted() { c.s.Aborted() }
func (c checker) Close()   { c.s.Close() }

// world is a server with filters at sockets.
type world struct {
	t    *testing.T
	q    queue
	set  *Set
	smtp *smtpd.Server
	log  lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newWorld has lines of option filter, without addresses: those are the filters'.
func newWorld(t *testing.T, filters []*testfilter.Filter, words ...string) *world {
	t.Helper()
	var lines []filterline.Filter
	for i, f := range filters {
		line, err := filterline.Parse(fmt.Sprintf("%s name=f%d %s", testenv.ServeFilter(t, f), i, words[i]), func(s string) (string, bool) { return s, true })
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line...)
	}
	w := &world{t: t}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	w.set = New(Options{Filters: lines, Hostname: "us.example", Version: "0", Log: log}, nil)
	w.smtp = smtpd.New(smtpd.Options{
		Hostname: "us.example", Queue: &w.q, Crash: true, Log: log,
		Trusted: func(netip.Addr) (local, trusted bool) { return false, false },
		Checker: func(c *smtpd.Client) smtpd.Checker { return checker{s: w.set.Session(c)} },
	})
	return w
}

// from is a connection from an address.
type from struct {
	net.Conn
	addr, at string
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }
func (f from) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.at)) }

// connect opens a session of a stranger's. end ends it, and waits for that.
func (w *world) connect() (ours net.Conn, end func()) {
	ours, theirs := net.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.smtp.ServeConn(context.Background(), from{theirs, "192.0.2.7:40000", "192.0.2.1:25"}, smtpd.Relay)
	}()
	return ours, func() {
		ours.Close()
		<-over
	}
}

// say sends lines, each behind the reply to the one before, and returns the replies: the
// greeting is the first.
func (w *world) say(lines ...string) (replies []smtp.Reply) {
	w.t.Helper()
	ours, end := w.connect()
	defer end()
	r := bufio.NewReader(ours)
	read := func() bool {
		ours.SetReadDeadline(time.Now().Add(time.Minute))
		reply, err := smtp.ReadReply(r)
		if err == nil {
			replies = append(replies, reply)
		}
		return err == nil
	}
	if !read() {
		return replies
	}
	for _, line := range lines {
		if _, err := io.WriteString(ours, strings.ReplaceAll(line, "\n", "\r\n")+"\r\n"); err != nil || !read() {
			break
		}
	}
	return replies
}

func codes(all []smtp.Reply) string {
	var b strings.Builder
	for _, r := range all {
		fmt.Fprint(&b, r.Code, " ")
	}
	return strings.TrimSpace(b.String())
}

const letterText = "Subject: one\nMessage-ID: <m@c.example>\n\nbody\n."

var session = []string{"EHLO c.example", "MAIL FROM:<joe@far.example> SIZE=10", "RCPT TO:<alice@us.example>", "RCPT TO:<bob@us.example>", "DATA", letterText, "QUIT"}

// TestVerdicts has what a filter may say at each step, and what the client hears.
func TestVerdicts(t *testing.T) {
	const fine = "220 250 250 250 250 354 250 221"
	for _, tt := range []struct {
		at     byte
		answer string
		want   string
		taken  bool
	}{
		{'C', testfilter.Reply('c', ""), fine, true},
		{'C', testfilter.Reply('a', ""), fine, true},
		{'C', testfilter.Reply('r', ""), "554", false},
		{'C', testfilter.Reply('t', ""), "421", false},
		{'H', testfilter.Reply('y', "450 4.7.1 later\x00"), "220 450", false},
		{'M', testfilter.Reply('r', ""), "220 250 550 503 503 503", false},
		{'M', testfilter.Reply('a', ""), fine, true},
		{'M', testfilter.Reply('d', ""), fine, false},
		{'R', testfilter.Reply('t', ""), "220 250 250 451 451 554", false},
		{'R', testfilter.Reply('y', "550 5.1.1 100%% no %s\x00"), "220 250 250 550 550 554", false},
		{'T', testfilter.Reply('r', ""), "220 250 250 250 250 550", false},
		{'L', testfilter.Reply('r', ""), "220 250 250 250 250 354 550 221", false},
		{'N', testfilter.Reply('t', ""), "220 250 250 250 250 354 451 221", false},
		{'B', testfilter.Reply('d', ""), fine, false},
		{'B', testfilter.Reply('s', ""), fine, true},
		{'E', testfilter.Reply('r', ""), "220 250 250 250 250 354 550 221", false},
		{'E', testfilter.Reply('4', ""), "220 250 250 250 250 354 421", false},
		{'E', testfilter.Reply('a', ""), fine, true},
	} {
		t.Run(fmt.Sprintf("%c %q", tt.at, tt.answer[4:]), func(t *testing.T) {
			f := &testfilter.Filter{Answers: map[byte]string{tt.at: tt.answer}}
			w := newWorld(t, []*testfilter.Filter{f}, "")
			lines := session
			if n := len(strings.Fields(tt.want)) - 1; n < len(lines) {
				lines = lines[:n]
			}
			got := codes(w.say(lines...))
			if got != tt.want || len(w.q.got) > 0 != tt.taken {
				t.Errorf("got %s, want %s; %d messages\n%s", got, tt.want, len(w.q.got), &w.log)
			}
		})
	}
}

// TestEdits: each edit is made, a later filter sees what an earlier one did and not our
// own trace field, and what would break the message is told and not made.
func TestEdits(t *testing.T) {
	edit := testfilter.Reply('h', "X-Added\x00one\r\n\ttwo\x00") +
		testfilter.Reply('i', testfilter.Number(0)+"X-First\x00f\x00") +
		testfilter.Reply('i', testfilter.Number(1)+"X-Second\x00s\x00") +
		testfilter.Reply('m', testfilter.Number(1)+"Subject\x00changed\x00") +
		testfilter.Reply('h', "X-Bad\x00x\r\nBcc: all\x00") +
		testfilter.Reply('b', "other\r\nbo") + testfilter.Reply('b', "dy\r\n") +
		testfilter.Reply('+', "<carol@us.example>\x00") + testfilter.Reply('-', "<alice@us.example>\x00") +
		testfilter.Reply('e', "<ann@far.example>\x00") + testfilter.Reply('q', "odd\x00") + testfilter.Reply('c', "")
	first := &testfilter.Filter{Answers: map[byte]string{'E': edit}}
	second := &testfilter.Filter{Answers: map[byte]string{'E': testfilter.Reply('m', testfilter.Number(1)+"X-Added\x00\x00") + testfilter.Reply('c', "")}}
	w := newWorld(t, []*testfilter.Filter{first, second}, "", "")
	if got := codes(w.say(session...)); !strings.HasSuffix(got, "354 250 221") || len(w.q.got) != 1 {
		t.Fatalf("got %s, %d messages\n%s", got, len(w.q.got), &w.log)
	}
	l := w.q.got[0]
	head, rest, _ := strings.Cut(l.text.String(), "Received: ")
	_, rest, _ = strings.Cut(rest, "\nSubject:")
	if head != "X-First: f\nX-Second: s\n" || rest != " changed\nMessage-ID: <m@c.example>\n\nother\nbody\n" {
		t.Errorf("got %q", l.text.String())
	}
	if l.from != "ann@far.example" || !slices.Equal(l.to, []string{"bob@us.example", "carol@us.example"}) || l.held != "filter f0: odd" {
		t.Errorf("from %s to %q, held %q", l.from, l.to, l.held)
	}
	if n := strings.Count(w.log.String(), "filter's edit refused"); n != 1 {
		t.Errorf("%d lines tell of the edit that was refused:\n%s", n, &w.log)
	}
	if log := w.log.String(); strings.Count(log, "filter changed envelope") != 1 || !strings.Contains(log, "add a recipient <carol@us.example>, delete a recipient <alice@us.example>, change the sender <ann@far.example>") {
		t.Errorf("the log doesn't tell whose mail it is now:\n%s", log)
	}
	var saw []string
	for _, p := range second.Seen() {
		if p.Command == 'L' || p.Command == 'B' {
			saw = append(saw, p.Data)
		}
	}
	want := []string{"X-First\x00f\x00", "X-Second\x00s\x00", "Subject\x00changed\x00", "Message-ID\x00<m@c.example>\x00", "X-Added\x00one\n\ttwo\x00", "other\r\nbody\r\n"}
	if !slices.Equal(saw, want) {
		t.Errorf("the second filter saw %q", saw)
	}
}

// TestClosedBetween: a filter that closes its connection behind each message, as one that is
// started again, is asked about the next one of the session too, and has not failed.
func TestClosedBetween(t *testing.T) {
	f := &testfilter.Filter{Closes: "E"}
	w := newWorld(t, []*testfilter.Filter{f}, "fail=tempfail", "")
	lines := append(slices.Clone(session[:len(session)-1]), session[1:]...)
	if got, want := codes(w.say(lines...)), "220 250 250 250 250 354 250 250 250 250 354 250 221"; got != want {
		t.Errorf("got %s, want %s\n%s", got, want, &w.log)
	}
	if n := strings.Count(f.Commands(""), "E"); n != 2 || strings.Contains(w.log.String(), "filter failed") {
		t.Errorf("it heard of %d messages: %s\n%s", n, f.Commands("D"), &w.log)
	}
}

// TestFailures: at each step a filter that dies has the mail go where fail= says, while
// another goes on, and the session. Without fail= mail is taken (R56, S116).
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		fail string
		want map[byte]string // what the client hears, by the step
		held bool
	}{
		{"open", map[byte]string{'C': "220 250 250 250 250 354 250 221", 'M': "220 250 250 250 250 354 250 221", 'R': "220 250 250 250 250 354 250 221", 'B': "220 250 250 250 250 354 250 221", 'E': "220 250 250 250 250 354 250 221"}, false},
		{"tempfail", map[byte]string{'C': "220 250 451 503 503 503", 'M': "220 250 451 503 503 503", 'R': "220 250 250 451 250 354 250 221", 'B': "220 250 250 250 250 354 451 221", 'E': "220 250 250 250 250 354 451 221"}, false},
		{"reject", map[byte]string{'C': "220 250 550 503 503 503", 'M': "220 250 550 503 503 503", 'B': "220 250 250 250 250 354 550 221", 'E': "220 250 250 250 250 354 550 221"}, false},
		{"quarantine", map[byte]string{'C': "220 250 250 250 250 354 250 221", 'R': "220 250 250 250 250 354 250 221", 'E': "220 250 250 250 250 354 250 221"}, true},
	} {
		for at, want := range tt.want {
			t.Run(fmt.Sprintf("%s at %c", tt.fail, at), func(t *testing.T) {
				bad := &testfilter.Filter{Answers: map[byte]string{at: ""}, Closes: string(at)}
				good := &testfilter.Filter{}
				words := ""
				if tt.fail != "open" {
					words = "fail=" + tt.fail
				}
				w := newWorld(t, []*testfilter.Filter{bad, good}, words, "")
				lines := session
				if n := len(strings.Fields(want)) - 1; n < len(lines) {
					lines = lines[:n]
				}
				if got := codes(w.say(lines...)); got != want {
					t.Errorf("got %s, want %s\n%s", got, want, &w.log)
				}
				told := 1
				if at == 'C' {
					told = 2 // MAIL is its second chance
				}
				if n := strings.Count(w.log.String(), "filter failed"); n != told {
					t.Errorf("%d lines tell of the failure, want %d:\n%s", n, told, &w.log)
				}
				if taken := strings.HasSuffix(want, "250 221"); taken != (len(w.q.got) == 1) || taken && tt.held != (w.q.got[0].held != "") {
					t.Errorf("%d messages, %+v", len(w.q.got), w.q.got)
				}
				if strings.HasSuffix(want, "250 221") && !strings.HasSuffix(strings.TrimSuffix(good.Commands("D"), "Q"), "NBE") {
					t.Errorf("the other filter heard %q", good.Commands(""))
				}
			})
		}
	}
}
