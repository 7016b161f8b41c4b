package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/resolver"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A scene is mail in a queue and a world that takes it. Who gets something
// tells the outside, once for each copy: "m1 alice", or "report alice" for a
// bounce.
type scene struct {
	name    string
	from    string
	to      []string
	age     time.Duration
	aliases string
	box     func(user string, again bool) (local.Result, bool)
	peer    func(ev testenv.Event, again bool) string // the reply, "" as usual
	down    bool                                      // no peer at all
	item    func(name string, again bool) (local.Result, bool)
	agents  map[string]string // the lists of aliases, and the .forward files of users
	want    []string          // who gets one copy; "m1 nobody: list" is an item's
	held    int               // messages that end in hold/
	before  *scene            // aliases and agents at an earlier attempt, when no item could be run
}

func refusing(who string) func(string, bool) (local.Result, bool) {
	return func(user string, _ bool) (local.Result, bool) { return refuse("closed"), user == who }
}

var scenes = []scene{
	{name: "local delivered", to: []string{"alice", "bob", "BOB"}, want: []string{"m1 alice", "m1 bob"}},
	{name: "local deferred", to: []string{"alice", "bob"}, want: []string{"m1 alice", "m1 bob"},
		box: func(user string, again bool) (local.Result, bool) { return later("locked"), user == "bob" && !again }},
	{name: "local refused", to: []string{"alice", "bob"}, want: []string{"m1 alice", "report carol"}, box: refusing("bob")},
	{name: "remote in part", to: []string{"a@[192.0.2.1]", "b@[192.0.2.1]", "c@[192.0.2.1]"},
		want: []string{"m1 a@[192.0.2.1]", "m1 b@[192.0.2.1]", "report carol"},
		peer: func(ev testenv.Event, again bool) string {
			switch {
			case strings.Contains(ev.Line, "TO:<b@") && !again:
				return "450 4.2.0 later"
			case strings.Contains(ev.Line, "TO:<c@"):
				return "550 5.1.1 never"
			}
			return ""
		}},
	{name: "two hosts and two users", to: []string{"a@[192.0.2.1]", "alice", "b@[192.0.2.2]", "bob"}, // R23, R24, R33
		want: []string{"m1 a@[192.0.2.1]", "m1 alice", "m1 b@[192.0.2.2]", "m1 bob"}},
	{name: "expansion", to: []string{"list"}, want: []string{"m1 alice", "m1 bob", "m1 a@[192.0.2.1]"},
		aliases: "list: sub, a@[192.0.2.1]\nsub: alice, Bob, \\bob\n"},
	{name: "items, lists and forwards", to: []string{"list", "prog"}, aliases: "list: :include:/l\nprog: \"|x\", alice\nowner-list: carol\n",
		agents: map[string]string{"list": "bob\n\\alice\ncarol\ngone\n", "bob": "carol, b@[192.0.2.1]", "carol": "bob, \\carol, \"|y\""},
		want:   []string{"m1 alice", "m1 bob", "m1 carol", "m1 b@[192.0.2.1]", "m1 nobody: prog", "m1 carol: carol", "report carol", "report carol: carol", "report b@[192.0.2.1]"},
		item: func(name string, again bool) (local.Result, bool) {
			return local.Result{}, name == "carol" && !again
		}},
	{name: "mended alias", to: []string{"list", "less"}, aliases: "list: \"|z\", alice, sub\nsub: bob\nless: alice\n",
		before: &scene{aliases: "list: \"|x\", alice, \"|y\"\nless: alice, \"|x\"\n"}, want: []string{"m1 nobody: list", "m1 bob"}},
	{name: "mended forward", to: []string{"carol"}, agents: map[string]string{"carol": "bob, \"|y\", \\carol"},
		before: &scene{agents: map[string]string{"carol": "\"|x\", \\carol"}}, want: []string{"m1 carol: carol", "m1 bob"}},
	{name: "expiry", to: []string{"a@[192.0.2.1]", "b@[192.0.2.1]"}, age: 30 * 24 * time.Hour, down: true, want: []string{"report carol"}},
	{name: "double bounce", from: "none", to: []string{"no-one"}, want: []string{"report root"}},
	{name: "report undeliverable", from: "no-one", to: []string{"no-one"}, held: 1, box: refusing("root")},
}

// world is one process with its outside.
type world struct {
	agents
	s   *scene
	nth int // of the processes one after the other: each an hour later
	ack func(string)
}

var begin = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func (w *world) Recorded(string) {}

func (w *world) Deliver(ctx context.Context, _ string, d local.Delivery) local.Result {
	body, err := io.ReadAll(d.Body)
	if err != nil {
		return local.Result{Outcome: outcome.Outcome{Err: err}}
	}
	if yes, _ := w.Forwards(ctx, d.User, d.Extension); yes && !d.Final {
		return local.Result{Answer: local.Forwarded}
	}
	if w.s.box != nil {
		if res, ok := w.s.box(d.User, w.nth > 0); ok {
			return res
		}
	}
	w.got(string(body), d.User)
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
}

// got tells the outside of a copy.
func (w *world) got(text, who string) {
	switch {
	case strings.Contains(text, "Auto-Submitted: auto-replied"):
		w.ack("report " + who)
	case strings.HasSuffix(strings.TrimRight(text, "\n"), "the last line"):
		w.ack("m1 " + who)
	default:
		w.ack("torn copy for " + who)
	}
}

// runner opens the queue of a disk for one process.
func (w *world) runner(d disk.FS, aliases string) (*Runner, func(), error) {
	q, err := spool.Open(spool.Options{FS: d, Dir: "/q", Now: w.now, Ballast: 512})
	if err != nil {
		return nil, nil, err
	}
	sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		if w.s.peer != nil {
			if reply := w.s.peer(ev, w.nth > 0); reply != "" {
				return testenv.Action{Reply: reply}
			}
		}
		if ev.Verb == "." {
			for _, to := range ev.Message.To() {
				w.got(ev.Message.Text(), to)
			}
		}
		return testenv.Action{}
	}}
	run := NewRunner(Options{
		Options: route.Options{
			Hostname: "us.example", Resolver: resolver.New(resolver.Options{Servers: []string{"127.0.0.1:1"}, HostsFile: "/dev/null", Interfaces: noInterfaces}),
			Aliases: alias.Open(aliases), Accounts: &users{names: []string{"alice", "bob", "carol", "root"}},
		},
		Queue: q, Local: w, Now: w.now,
		Remote: remote.Options{Hostname: "us.example", Dial: func(context.Context, string, string) (net.Conn, error) {
			if w.s.down {
				return nil, errors.New("connection refused")
			}
			ours, theirs := net.Pipe()
			go sink.ServeConn(theirs)
			return ours, nil
		}},
	})
	return run, func() { sink.Close(); q.Close() }, nil
}

// noInterfaces is a machine whose addresses are none of those of the scenes.
func noInterfaces() ([]netip.Addr, error) { return nil, nil }

func (w *world) now() time.Time { return begin.Add(time.Duration(w.nth) * time.Hour) }

// queue puts the scene's message into a disk.
func (s *scene) queue(d disk.FS) error {
	q, err := spool.Open(spool.Options{FS: d, Dir: "/q", Ballast: 512, Now: func() time.Time { return begin }})
	if err != nil {
		return err
	}
	defer q.Close()
	unlock, err := q.Lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	if err := q.Clean(context.Background()); err != nil { // makes the ballast, once
		return err
	}
	env := envelope.Envelope{Arrived: begin.Add(-s.age), Client: "c", ReversePath: smtp.Path{Local: "carol"}}
	switch s.from {
	case "none":
		env.ReversePath = smtp.Path{}
	case "":
	default:
		env.ReversePath = smtp.Path{Local: s.from}
	}
	for _, to := range s.to {
		p, err := smtp.ParseAddress(to)
		if err != nil {
			return err
		}
		env.Recipients = append(env.Recipients, smtp.Recipient{Path: p})
	}
	in, err := q.Create(env)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(in, "Received: x\nSubject: m1\n\nthe last line\n"); err != nil {
		return err
	}
	return in.Commit()
}

// scenario is one pass over the queue.
func (s *scene) scenario(aliases string, nth int) crashfs.Scenario {
	return func(d disk.FS, ack func(string)) error {
		w := &world{s: s, ack: ack, nth: nth, agents: agents{members: s.agents, forwards: s.agents}}
		run, done, err := w.runner(d, aliases)
		if err != nil {
			return err
		}
		defer done()
		return run.Pass(context.Background())
	}
}

// check recovers twice and counts the copies: one each, and at most one more of
// each delivery that a process that died had in hand; nobody else gets anything.
func (s *scene) check(aliases string, kills int) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		var mu sync.Mutex
		copies := map[string]int{}
		for _, a := range acked {
			copies[a]++
		}
		for pass := range 3 {
			before := len(copies)
			more := 0
			err := s.scenario(aliases, 2+pass)(d, func(who string) {
				mu.Lock()
				defer mu.Unlock()
				copies[who]++
				more++
			})
			if err != nil {
				t.Fatalf("recovery: %v", err)
			}
			if pass == 2 && (more > 0 || len(copies) != before) {
				t.Errorf("a third pass delivered %d more", more)
			}
		}
		for _, who := range s.want {
			most := 1 + kills
			if strings.HasPrefix(who, "report ") { // a kill between a report and its record leaves two, and the next may catch both
				most = 1 << kills
			}
			if n := copies[who]; n < 1 || n > most {
				t.Errorf("%q: %d copies, want 1 to %d", who, n, most)
			}
			delete(copies, who)
		}
		if len(copies) > 0 {
			t.Errorf("copies that nobody should have: %v", copies)
		}
		s.left(t, d, kills)
	}
}

// left looks at what is still in the queue.
func (s *scene) left(t testing.TB, d disk.FS, kills int) {
	q, err := spool.Open(spool.Options{FS: d, Dir: "/q", Ballast: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	held, other := 0, ""
	for e, err := range q.Entries() {
		switch {
		case err != nil:
			t.Error(err)
		case e.Location == spool.Held:
			held++
		default:
			other += fmt.Sprintf(" %s %s", e.Location, e.ID)
			if m, err := q.Read(e.ID); err == nil {
				other += " (" + m.Reason + ")"
			}
		}
	}
	if held < s.held || held > s.held<<kills || other != "" {
		t.Errorf("%d messages held, want %d; besides:%s", held, s.held, other)
	}
}

func (s *scene) run(t *testing.T) (crashfs.Run, string) {
	aliases := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(aliases, []byte(s.aliases), 0o600); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(t.TempDir(), "aliases")
	if s.before != nil {
		if err := os.WriteFile(before, []byte(s.before.aliases), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return crashfs.Run{Prepare: func(f *crashfs.FS) {
		f.SetClock(func() time.Time { return begin })
		if err := s.queue(f); err != nil {
			t.Fatal(err)
		}
		if s.before == nil {
			return
		}
		if err := s.before.scenario(before, -1)(f, func(string) {}); err != nil {
			t.Fatal(err)
		}
	}}, aliases
}

// The process dies, or the power fails, at every call of every scene: who had a
// copy before that gets no second one but for the delivery in hand (R23), the
// others get theirs (R33), and no lock is left (R24).
func TestCrashEveryStep(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			run, aliases := s.run(t)
			run.EveryStep(t, s.scenario(aliases, 0), s.check(aliases, 1))
		})
	}
}

// Every call fails with every errno, once and from then on.
func TestCrashEveryError(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			run, aliases := s.run(t)
			run.EveryError(t, s.scenario(aliases, 0), s.check(aliases, 1))
		})
	}
}

// The process that recovers dies as well.
func TestCrashTwice(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			run, aliases := s.run(t)
			recovery := func(d disk.FS, _ []string, ack func(string)) error { return s.scenario(aliases, 1)(d, ack) }
			run.EveryStepTwice(t, s.scenario(aliases, 0), recovery, s.check(aliases, 2), 400)
		})
	}
}

func (w *world) Run(ctx context.Context, _ string, j local.Job) local.Result {
	body, err := io.ReadAll(j.Body)
	if err != nil {
		return local.Result{Outcome: outcome.Outcome{Err: err}}
	}
	lines, err := w.List(ctx, local.Listing{User: j.User, Item: j.Item})
	switch {
	case w.nth < 0:
		return later("no such program")
	case j.Item.Source == local.FromForward && (err != nil || !slices.ContainsFunc(lines, func(l local.Line) bool { return l.Hash() == j.Item.Hash })):
		return local.Result{Outcome: outcome.Outcome{Err: local.ErrChanged}, Answer: local.Changed}
	}
	if w.s.item != nil {
		if res, ok := w.s.item(j.Item.Name, w.nth > 0); ok {
			return res
		}
	}
	w.got(string(body), j.User+": "+j.Item.Name)
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
}
