package deliver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/testenv"
	"postoffice/spool"
)

// spy is a Watcher that writes events down as lines.
type spy struct {
	blind bool
	mu    sync.Mutex
	seen  map[spool.ID][]string
	next  map[spool.ID]time.Time // of the one deferred last
}

func (s *spy) Watching() bool { return !s.blind }

func (s *spy) Watch(id spool.ID, client string, e Event) {
	line := client + " "
	switch e := e.(type) {
	case SessionLine:
		line += fmt.Sprintf("%s %c%.4s", e.Relay, e.Dir, e.Text)
	case RecipientOutcome:
		line += fmt.Sprintf("%s of %s %s %s %s", e.To, e.Original, e.Status, e.Outcome.Relay, e.Outcome.Reply)
		if (e.Status == "deferred") == e.Next.IsZero() {
			line += fmt.Sprintf(" next %v", e.Next)
		}
		if s.next != nil && e.Status == "deferred" {
			s.mu.Lock()
			s.next[id] = e.Next
			s.mu.Unlock()
		}
	case AttemptEnd:
		line += fmt.Sprintf("end, %d pending, again %v", e.Pending, e.Again)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = append(s.seen[id], line)
}

func (s *spy) want(t *testing.T, id spool.ID, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.seen[id]; !slices.Equal(got, want) {
		t.Errorf("saw\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWatchOutcomes(t *testing.T) {
	r := newRig(t)
	watch := &spy{seen: map[spool.ID][]string{}, next: map[spool.ID]time.Time{}}
	r.o.Watch = watch
	r.alias("team: alice, nobody-here\nprog: \"|/bin/x\"\n")
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "bob" }
	id := r.mail("s@x.example", "team", "bob")
	r.pass()
	for _, n := range r.snapshot(id).Notes {
		if !n.Next.IsZero() && !n.Next.Equal(watch.next[id].Truncate(time.Microsecond)) { // as spool(5) has it
			t.Errorf("told of a next attempt at %v, noted is %v", watch.next[id], n.Next)
		}
	}
	got := watch.seen[id]
	slices.Sort(got[:len(got)-1])
	watch.want(t, id,
		"client alice of team sent local 250 2.0.0 delivered",
		"client bob of bob deferred local 450 4.2.0 locked",
		"client nobody-here of team bounced  550 5.1.1 no such user here",
		"client end, 1 pending, again false")

	item := r.mail("s@x.example", "prog")
	r.pass()
	if got := watch.seen[item]; len(got) != 2 || !strings.HasPrefix(got[0], "client program, file or list of alias prog of prog ") {
		t.Errorf("of a program was seen\n%s", strings.Join(got, "\n"))
	}

	watch.blind = true
	n := len(watch.seen)
	quiet := r.mail("s@x.example", "carol")
	r.pass()
	if len(watch.seen) != n || len(watch.seen[quiet]) > 0 {
		t.Error("events were made that nobody looks at")
	}
}

// TestWatchSession: all that is said about a message, and a host that is not
// there; how a session ends may come behind the end of the attempt.
func TestWatchSession(t *testing.T) {
	r := newRig(t)
	watch := &spy{seen: map[spool.ID][]string{}}
	r.o.Watch = watch
	r.peer("192.0.2.1", &testenv.Sink{Extensions: []string{"X"}})
	there := r.mail("s@x.example", "a@[192.0.2.1]")
	away := r.mail("s@x.example", "a@[192.0.2.2]")
	r.pass()
	const relay = "client [192.0.2.1]:25 "
	bye := []string{relay + ">QUIT", relay + "<221 ", relay + "-"}
	for _, line := range bye {
		if !slices.Contains(watch.seen[there], line) {
			t.Errorf("no line %q", line)
		}
	}
	watch.seen[there] = slices.DeleteFunc(watch.seen[there], func(l string) bool { return slices.Contains(bye, l) })
	watch.want(t, there,
		relay+"+", relay+"<220 ", relay+">EHLO", relay+"<250-", relay+"<250 ",
		relay+">MAIL", relay+"<250 ", relay+">RCPT", relay+"<250 ", relay+">DATA", relay+"<354 ", relay+">.", relay+"<250 ",
		"client a@[192.0.2.1] of a@[192.0.2.1] sent [192.0.2.1]:25 250 2.0.0 message taken", "client end, 0 pending, again false")
	watch.want(t, away, "client [192.0.2.2]:25 -conn",
		"client a@[192.0.2.2] of a@[192.0.2.2] deferred [192.0.2.2]:25 0", "client end, 1 pending, again false")
}
