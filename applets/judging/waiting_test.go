package judging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/filters"
	"postoffice/applets/smtpd/edits"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// stage is a queue in which mail waits, and what was done with it.
type stage struct {
	*Waiting
	t     *testing.T
	queue *spool.Queue
	log   bytes.Buffer

	mu     sync.Mutex // guards what follows
	judge  func(from string) (Verdict, error)
	judged []string // senders, in order
	inside map[string]int
	most   map[string]int
	passed []string
	waits  []string
	refuse []string
	over   []string

	replies []string // with which recipients were refused
	old     bool     // what can't be judged has waited too long
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, inside: map[string]int{}, most: map[string]int{}}
	s.judge = func(string) (Verdict, error) { return Verdict{}, nil }
	q, err := spool.Open(spool.Options{Dir: t.TempDir() + "/q"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	s.queue = q
	s.Waiting = NewWaiting(Options{
		Queue: q, Log: slog.New(slog.NewTextHandler(&s.log, nil)), Judges: func() bool { return true }, Judge: s.look,
		Refuse: func(m *spool.Message, reply func(envelope.Key) smtp.Reply) (left bool, err error) {
			s.note(&s.refuse, m.Envelope().ReversePath.Local)
			var keys []envelope.Key
			for r := range m.Pending() {
				said := reply(r.Key)
				if left = left || said.IsZero(); !said.IsZero() {
					keys = append(keys, r.Key)
					s.note(&s.replies, r.Path.Local+" "+said.String())
				}
			}
			if err := m.Record(keys, envelope.Bounced); err != nil || left {
				return left, err
			}
			return false, m.Finish()
		},
		GiveUp: func(m *spool.Message, reply smtp.Reply) (bool, error) {
			s.mu.Lock()
			old := s.old
			s.mu.Unlock()
			if !old {
				return false, nil
			}
			s.note(&s.replies, m.Envelope().ReversePath.Local+" "+reply.String())
			var keys []envelope.Key
			for r := range m.Pending() {
				keys = append(keys, r.Key)
			}
			return true, errors.Join(m.Record(keys, envelope.Bounced), m.Finish())
		},
		Passed: func(_ spool.ID, env envelope.Envelope, later bool) {
			s.note(&s.passed, env.ReversePath.Local+strings.Repeat(" later", map[bool]int{true: 1}[later]))
		},
		Waits: func(_ spool.ID, env envelope.Envelope) { s.note(&s.waits, env.ReversePath.Local) },
		Over:  func(_ spool.ID, env envelope.Envelope) { s.note(&s.over, env.ReversePath.Local) },
		Who:   func(client string) string { return client },
	})
	return s
}

func (s *stage) note(list *[]string, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, what)
}

// look takes a second, and notes how many of whom are looked at.
func (s *stage) look(ctx context.Context, m *spool.Message) (Verdict, error) {
	env := m.Envelope()
	s.mu.Lock()
	s.judged = append(s.judged, env.ReversePath.Local)
	for _, who := range []string{env.Client, "all"} {
		s.inside[who]++
		s.most[who] = max(s.most[who], s.inside[who])
	}
	judge := s.judge
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.inside[env.Client]--
	s.inside["all"]--
	s.mu.Unlock()
	if ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	}
	return judge(env.ReversePath.Local)
}

func (s *stage) come(client, from string, later bool, more ...string) spool.ID {
	s.t.Helper()
	env := envelope.Envelope{Arrived: time.Now(), Client: client, ReversePath: smtp.Path{Local: from, Domain: "a.example"}}
	for _, to := range append([]string{"r"}, more...) {
		env.Recipients = append(env.Recipients, smtp.Recipient{Path: smtp.Path{Local: to, Domain: "b.example"}})
	}
	in, err := s.queue.Create(env)
	if err != nil {
		s.t.Fatal(err)
	}
	in.Await()
	if _, err := io.WriteString(in, "Received: by us\nSubject: x\n\nhello\n"); err != nil {
		s.t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		s.t.Fatal(err)
	}
	s.Arrived(in.ID(), client, later)
	return in.ID()
}

// run has it judge until do is over.
func (s *stage) run(do func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); s.Run(ctx) }()
	do()
	cancel()
	<-over
}

// TestTurns: one user's many messages hold up nobody's, and no more than a few are judged
// at once.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		for i := range 50 {
			s.come("many", fmt.Sprint("m", i), false)
		}
		s.run(func() {
			time.Sleep(500 * time.Millisecond)
			s.come("one", "other", true)
			time.Sleep(1200 * time.Millisecond)
			s.mu.Lock()
			if len(s.passed) < 3 || s.passed[2] != "other later" {
				t.Errorf("after 1.7 s there passed %v", s.passed)
			}
			s.mu.Unlock()
			time.Sleep(time.Minute)
		})
		if len(s.passed) != 51 || s.most["all"] != maxJudged || s.most["many"] != eachJudged {
			t.Errorf("%d passed, at most %v at once", len(s.passed), s.most)
		}
		if len(s.known) != 0 || len(s.of) != 0 || len(s.turns) != 0 || len(s.running) != 0 {
			t.Errorf("it keeps %d, %v, %v, %v", len(s.known), s.of, s.turns, s.running)
		}
	})
}

// TestTooOld: what can't be judged and has waited too long goes back, with a filter's words
// where it had any, whatever else waits; it tells nothing of whether anybody judges.
func TestTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.judge = func(from string) (Verdict, error) {
			if from == "later" {
				return Verdict{}, fmt.Errorf("f: %w", &filters.Later{Reply: smtp.Reply{Code: 450, Status: "4.7.1", Text: "ask tomorrow"}})
			}
			return Verdict{}, errors.New("dial /run/secret: gone")
		}
		s.come("a", "later", false)
		s.come("b", "away", false)
		s.run(func() {
			time.Sleep(time.Minute)
			s.mu.Lock()
			if len(s.over) > 0 {
				t.Errorf("before its time there went back %v", s.over)
			}
			s.old = true
			s.mu.Unlock()
			time.Sleep(time.Hour)
		})
		slices.Sort(s.replies)
		slices.Sort(s.over)
		if len(s.replies) != 2 || !strings.Contains(s.replies[1], "ask tomorrow") || strings.Contains(s.replies[0], "secret") || !slices.Equal(s.over, []string{"away", "later"}) {
			t.Errorf("there went back %v with %q", s.over, s.replies)
		}
		if len(s.known) != 0 || strings.Contains(s.log.String(), "filters judge again") {
			t.Errorf("it keeps %d:\n%s", len(s.known), &s.log)
		}
	})
}

// TestTooOldAtEnd: a server that ends while it has a message judged that has waited too long
// returns it to nobody, since nobody has said anything of it.
func TestTooOldAtEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.old = true
		s.judge = func(string) (Verdict, error) { return Verdict{}, nil }
		var id spool.ID
		s.run(func() {
			time.Sleep(startWait)
			id = s.come("a", "asked", false)
			time.Sleep(500 * time.Millisecond)
		})
		if len(s.judged) != 1 || len(s.replies) != 0 || len(s.over) != 0 {
			t.Errorf("judged %v, there went back %v with %q", s.judged, s.over, s.replies)
		}
		m, _, err := s.queue.ClaimWaiting(id)
		if err != nil {
			t.Fatalf("it waits no more: %v", err)
		}
		m.Close()
	})
}

// TestTooOldAtStart: what became too old while no server was there is shown to filters that
// begin minutes later than it, and passes.
func TestTooOldAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.old = true
		ready := time.Now().Add(startWait / 2)
		s.judge = func(string) (Verdict, error) {
			if time.Now().Before(ready) {
				return Verdict{}, errors.New("dial: refused")
			}
			return Verdict{}, nil
		}
		s.come("a", "old", false)
		s.run(func() { time.Sleep(startWait) })
		if len(s.over) != 0 || !slices.Equal(s.passed, []string{"old"}) {
			t.Errorf("there went back %v, there passed %v", s.over, s.passed)
		}
	})
}

// TestAway: while nobody judges everything waits with growing pauses and is told once; then
// all of it passes, once.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.judge = func(string) (Verdict, error) { return Verdict{}, errors.New("the program is away") }
		first := s.come("a", "m0", false)
		for i := range 20 {
			s.come(fmt.Sprint("c", i%3), fmt.Sprint("m", i+1), false)
		}
		s.run(func() {
			time.Sleep(time.Hour)
			s.mu.Lock()
			tries := len(s.judged)
			s.mu.Unlock()
			if tries > 25 {
				t.Errorf("%d tries in an hour", tries)
			}
			if l, err := s.queue.Look(first); err != nil || l.Location != spool.Waiting || l.Reason != "the program is away" {
				t.Errorf("mailq sees %+v, %v", l, err)
			} else {
				l.Close()
			}
			s.mu.Lock()
			s.judge = func(string) (Verdict, error) { return Verdict{}, nil }
			s.mu.Unlock()
			time.Sleep(10 * time.Minute)
		})
		if len(s.passed) != 21 {
			t.Errorf("%d passed: %v", len(s.passed), s.passed)
		}
		log := s.log.String()
		if n := strings.Count(log, "message not judged"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log)
		}
		if !strings.Contains(log, "filters judge again") {
			t.Errorf("its end is not told:\n%s", log)
		}
	})
}

// TestPoison: a message that can't be judged holds up no others, and Now has it tried.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.judge = func(from string) (Verdict, error) {
			if from == "poison" {
				return Verdict{}, errors.New("it crashed")
			}
			return Verdict{}, nil
		}
		s.come("a", "poison", false)
		for i := range 10 {
			s.come("a", fmt.Sprint("m", i), false)
		}
		s.run(func() {
			time.Sleep(7 * time.Second)
			s.mu.Lock()
			if len(s.passed) != 10 || len(s.waits) != 1 {
				t.Errorf("passed %v, waiting %v", s.passed, s.waits)
			}
			s.judge = func(string) (Verdict, error) { return Verdict{}, nil }
			s.mu.Unlock()
			s.Now()
			time.Sleep(2 * time.Second)
		})
		if len(s.passed) != 11 {
			t.Errorf("passed %v", s.passed)
		}
	})
}

// TestOthersPoison: one user's messages of which none can be judged keep nobody's waiting,
// however long they have, and whoever comes new.
func TestOthersPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		done := 0
		s.judge = func(from string) (Verdict, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			done-- // until it is called
			v := Verdict{Done: func() { s.mu.Lock(); defer s.mu.Unlock(); done++ }}
			if strings.HasPrefix(from, "poison") {
				return v, errors.New("it crashed")
			}
			return v, nil
		}
		for i := range 20 {
			s.come("bad", fmt.Sprint("poison", i), false)
		}
		s.run(func() {
			time.Sleep(time.Hour)
			for i := range 5 {
				s.come(fmt.Sprint("good", i%2), fmt.Sprint("m", i), false)
				time.Sleep(2500 * time.Millisecond) // a turn of those who fail, and one
				s.mu.Lock()
				if len(s.passed) != i+1 || len(s.waits) == 0 {
					t.Errorf("passed %v, waiting %v", s.passed, s.waits)
				}
				s.mu.Unlock()
				time.Sleep(time.Minute)
			}
		})
		if done != 0 {
			t.Errorf("what %d judgements have made is kept", -done)
		}
		if len(s.failing) > 1 {
			t.Errorf("it keeps %v", s.failing)
		}
	})
}

// TestTakenAway: that somebody takes away a message that waits is no sign that filters judge
// again.
func TestTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.judge = func(string) (Verdict, error) { return Verdict{}, errors.New("the program is away") }
		first := s.come("a", "m0", false)
		s.come("a", "m1", false)
		s.run(func() {
			time.Sleep(5 * time.Second)
			m, _, err := s.queue.ClaimWaiting(first)
			if err == nil {
				err = m.Pass()
			}
			if err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Minute)
		})
		if len(s.passed) != 1 || len(s.known) != 1 || len(s.judged) < 4 {
			t.Errorf("passed %v, %d wait, judged %v", s.passed, len(s.known), s.judged)
		}
		if log := s.log.String(); strings.Contains(log, "filters judge again") {
			t.Errorf("the log says that they do:\n%s", log)
		}
	})
}

// TestVerdicts: what becomes of each message, once.
func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var added edits.Edits
		if err := errors.Join(added.Add("X-Seen", " yes"), added.AddRecipient(smtp.Recipient{Path: smtp.Path{Local: "second", Domain: "b.example"}})); err != nil {
			t.Fatal(err)
		}
		var nobody edits.Edits
		if err := nobody.DeleteRecipient(smtp.Path{Local: "r", Domain: "b.example"}); err != nil {
			t.Fatal(err)
		}
		verdicts := map[string]Verdict{
			"refused": {Refuse: smtp.Reply{Code: 550, Text: "no"}}, "discarded": {Discard: "so it is"}, "held": {Hold: "look at it"},
			"marked": {Mark: "bad", Folder: "junk"}, "edited": {Edits: &added}, "emptied": {Edits: &nobody}, "plain": {},
		}
		s.judge = func(from string) (Verdict, error) { return verdicts[from], nil }
		ids := map[string]spool.ID{}
		for from := range verdicts {
			ids[from] = s.come("a", from, false)
		}
		s.Pass(t.Context())
		texts := map[string]string{
			"held": "Received: by us\nSubject: x\n\nhello\n", "plain": "Received: by us\nSubject: x\n\nhello\n",
			"marked": "Received: by us\nX-Spam: bad\nSubject: x\n\nhello\n", "edited": "Received: by us\nSubject: x\nX-Seen: yes\n\nhello\n",
		}
		for from, id := range ids {
			l, err := s.queue.Read(id)
			if texts[from] == "" {
				if !errors.Is(err, spool.ErrGone) {
					t.Errorf("%s: %+v, %v, want it gone", from, l, err)
				}
				continue
			}
			want := spool.Active
			if from == "held" {
				want = spool.Held
			}
			if err != nil || l.Location != want {
				t.Errorf("%s: %+v, %v, want it %v", from, l, err, want)
				continue
			}
			data, err := s.queue.OpenData(id)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(data)
			data.Close()
			if string(text) != texts[from] || err != nil {
				t.Errorf("%s: %q, %v, want %q", from, text, err, texts[from])
			}
			if want := map[string]int{"edited": 2}[from]; want > 0 && len(l.Recipients) != want {
				t.Errorf("%s goes to %d, want %d", from, len(l.Recipients), want)
			}
			if want := map[string]string{"marked": "junk"}[from]; l.Envelope.Folder != want {
				t.Errorf("%s goes into %q, want %q", from, l.Envelope.Folder, want)
			}
		}
		slices.Sort(s.over)
		if fmt.Sprint(s.refuse) != "[refused]" || len(s.passed) != 3 || fmt.Sprint(s.over) != "[discarded emptied held refused]" {
			t.Errorf("refused %v, passed %v, over %v", s.refuse, s.passed, s.over)
		}
	})
}
