package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// The crash tests work on messages whose first line is a token that says all
// about them: how many recipients, how long, whether one is a list. What
// somebody outside was told is written down as acknowledgements:
//
//	kept TOKEN          the client has its 250
//	took TOKEN WHO      a sink has taken the message for WHO
//	done TOKEN WHO      that is recorded
//	fail TOKEN          recording it gave an error
//	held TOKEN          Hold has returned nil
//	back TOKEN          Release is about to be called
//	refused TOKEN       Commit gave an error
//	lock NAME           NAME has got the queue lock
//	unlock NAME         and is about to give it back

// noRandom makes IDs repeat: with a clock that stands still every process
// makes the same ones (A30).
type noRandom struct{}

func (noRandom) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func still() time.Time { return arrived }

// reopen opens the spool of a crash test as a process does.
func reopen(d disk.FS, now func() time.Time) (*Queue, error) {
	q, err := Open(Options{FS: d, Dir: "/q", Now: now, Rand: noRandom{}, Ballast: 64})
	if err == nil {
		q.buffer = large / 4
	}
	return q, err
}

// heldFor is why the tests hold a message.
const heldFor = "to be looked at"

// neverActive names a message that may be in the queue only when it has been
// released.
const neverActive = "held"

// large is a message that is written in several pieces.
const large = 2000

// token names a message of n recipients with about size octets.
func token(name string, n, size int, list bool) string {
	return fmt.Sprintf("Token: %s %d %d %v", name, n, size, list)
}

// letterOf is the message that the token stands for.
func letterOf(token string) string {
	_, n, size, _ := takeApart(token)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", token)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "line %d of %d\n", i, n)
	}
	return b.String()
}

func takeApart(token string) (name string, n, size int, list bool) {
	if _, err := fmt.Sscanf(token, "Token: %s %d %d %t", &name, &n, &size, &list); err != nil {
		panic(fmt.Sprintf("token %q: %v", token, err))
	}
	return name, n, size, list
}

// listed are the targets of the recipient "list".
var listed = []string{"x0", "x1", "x2"}

// awaited are the final recipients of a message.
func awaited(token string) []string {
	_, n, _, list := takeApart(token)
	var who []string
	for i := range n {
		who = append(who, fmt.Sprintf("r%d", i))
	}
	if list {
		who = append(who, listed...)
	}
	return who
}

// keep accepts the token's message and acknowledges it.
func keep(q *Queue, token string, ack func(string)) error {
	_, n, _, list := takeApart(token)
	env := envelopeFor(n)
	if list {
		env.Recipients = append(env.Recipients, smtp.Recipient{Path: path("list@example.org")})
	}
	_, err := tryAccept(q, env, letterOf(token))
	if err == nil {
		ack("kept " + token)
	} else {
		ack("refused " + token)
	}
	return err
}

// deliverAll is a runner's pass over the queue.
func deliverAll(q *Queue, ack func(string)) error {
	var errs []error
	for e, err := range q.Entries() {
		if err != nil {
			return err
		}
		if e.Location != Active {
			continue
		}
		m, err := q.Claim(e.ID)
		if err == nil {
			err = deliver(m, ack)
		}
		if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrGone) && !errors.Is(err, ErrCorrupt) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// deliver works on one message: it expands "list", and everybody else takes a
// copy.
func deliver(m *Message, ack func(string)) error {
	defer m.Close()
	b, err := io.ReadAll(m.Data())
	if err != nil {
		return later(err)
	}
	tok, _, _ := strings.Cut(string(b), "\n")
	if string(b) != letterOf(tok) {
		return fmt.Errorf("%s: handed out with other octets: %.200q", m.ID(), b)
	}
	if name, _, _, _ := takeApart(tok); name == toBeEdited && m.Envelope().Folder != edited {
		return fmt.Errorf("%s: handed out without its edit", m.ID())
	}
	for r := range m.Pending() {
		who := r.Path.Local
		if who == "list" {
			var x envelope.Expansion
			for _, l := range listed {
				x.Targets = append(x.Targets, envelope.Target{Path: path(l + "@example.net")})
			}
			if err := m.Expand(r.Key, x); err != nil {
				return err
			}
			continue
		}
		ack("took " + tok + "|" + who)
		_ = m.Note(envelope.Note{Time: arrived, Keys: []envelope.Key{r.Key}, Attempt: 1, Reply: smtp.Reply{Code: 250, Text: "ok"}})
		if err := m.Record([]envelope.Key{r.Key}, envelope.Delivered); err != nil {
			ack("fail " + tok)
			return err
		}
		ack("done " + tok + "|" + who)
	}
	return m.Finish()
}

// ledger is what the world outside knows.
type ledger struct {
	kept       map[string]bool
	took, done map[string]int // by TOKEN|WHO
	fails      map[string]int // by TOKEN
	refused    []string
	wrong      []string // what must not follow on what
	held, back map[string]bool
}

func readLedger(acked []string) *ledger {
	l := &ledger{kept: map[string]bool{}, fails: map[string]int{}, took: map[string]int{}, done: map[string]int{}, held: map[string]bool{}, back: map[string]bool{}}
	for _, line := range acked {
		what, about, _ := strings.Cut(line, " ")
		switch what {
		case "unlock": // who was killed does not come here
			if overlaps(acked, about) {
				l.wrong = append(l.wrong, fmt.Sprintf("two had the queue lock: %q", acked))
			}
		case "kept":
			l.kept[about] = true
		case "took":
			tok, _, _ := strings.Cut(about, "|")
			if l.held[tok] && !l.back[tok] {
				l.wrong = append(l.wrong, "taken although held: "+about)
			}
			l.took[about]++
		case "done":
			l.done[about]++
		case "fail":
			if l.fails[about]++; l.fails[about] > 1 {
				l.wrong = append(l.wrong, "delivered although a record had failed: "+about)
			}
		case "refused":
			l.refused = append(l.refused, about)
		case "held":
			l.held[about] = true
		case "back":
			l.back[about] = true
		}
	}
	return l
}

// all reports whether every recipient of the message has got it: then it may be
// gone, also from hold/.
func (l *ledger) all(tok string) bool {
	for _, who := range awaited(tok) {
		if l.took[tok+"|"+who] == 0 {
			return false
		}
	}
	return true
}

// overlaps reports whether somebody got the queue lock between name's getting
// and giving back.
func overlaps(acked []string, name string) bool {
	mine := slices.Index(acked, "lock "+name)
	for _, line := range acked[mine+1:] {
		if line == "unlock "+name {
			return false
		}
		if strings.HasPrefix(line, "lock ") {
			return true
		}
	}
	return false
}

// recoverAll is what a process does when it starts.
func recoverAll(d disk.FS, now func() time.Time) (*Queue, error) {
	q, err := reopen(d, now)
	if err != nil {
		return nil, err
	}
	unlock, err := q.TryLock()
	if err == nil {
		err = q.Clean(context.Background())
		unlock()
	}
	if err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

// twoDaysOn is a clock by which all orphans are old.
func twoDaysOn() time.Time { return arrived.Add(48 * time.Hour) }

// oracle says what is right after a crash.
type oracle struct {
	kills   int               // processes that died, and may repeat a delivery
	wide    int               // recipients of a delivery beyond the first
	smooth  bool              // nothing failed: no arrival is refused
	damaged map[string]string // contents and the name each file was found with, to be in corrupt/
}

// check recovers and compares with what the world outside knows.
func (o oracle) check(t testing.TB, d disk.FS, acked []string) {
	l := readLedger(acked)
	if o.smooth && len(l.refused) > 0 {
		t.Errorf("refused without a reason: %q", l.refused)
	}
	for _, w := range l.wrong {
		t.Error(w)
	}
	q, err := recoverAll(d, twoDaysOn)
	if err != nil {
		t.Fatalf("recovery: %v", err)
	}
	defer q.Close()
	before := d.(*crashfs.FS).Tree()
	again, err := recoverAll(d, twoDaysOn)
	if err != nil {
		t.Fatalf("second recovery: %v", err)
	}
	again.Close()
	if after := d.(*crashfs.FS).Tree(); after != before {
		t.Errorf("the second recovery changed\n%s to\n%s", before, after)
	}
	explained(t, before)
	places := o.located(t, q, d.(*crashfs.FS))
	for tok := range l.held {
		if p, ok := places[tok]; (!ok || p != Held) && !l.back[tok] && !(!ok && l.all(tok)) {
			t.Errorf("%s is %v, %v, want it held", tok, p, ok)
		}
	}
	for tok, at := range places {
		if name, _, _, _ := takeApart(tok); name == neverActive && at == Active && !l.back[tok] {
			t.Errorf("%s is in the queue before its release", tok)
		}
	}
	o.finish(t, q, l)
}

// finish releases and delivers everything, and compares with the ledger.
func (o oracle) finish(t testing.TB, q *Queue, l *ledger) {
	for e, err := range q.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Location == Held {
			if err := q.Release(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := judgeAll(q); err != nil {
		t.Errorf("judging after recovery: %v", err)
	}
	if err := deliverAll(q, func(line string) {
		if who, ok := strings.CutPrefix(line, "took "); ok {
			if l.done[who] > 0 {
				t.Errorf("handed out again although recorded: %s", who)
			}
			l.took[who]++
		}
	}); err != nil {
		t.Errorf("delivery after recovery: %v", err)
	}
	for e := range q.Entries() {
		if e.Location != Corrupt {
			t.Errorf("still there after all was delivered: %v", e)
		}
	}
	twice := 0
	for _, n := range l.took {
		twice += n - 1
	}
	if most := (o.kills + len(l.fails)) * (1 + o.wide); twice > most {
		t.Errorf("%d deliveries too many, want at most %d: %v", twice, most, l.took)
	}
	for tok := range l.kept {
		for _, who := range awaited(tok) {
			if l.took[tok+"|"+who] == 0 {
				t.Errorf("lost: %s for %s", tok, who)
			}
		}
	}
}

// located reads all messages and says where each token is. In corrupt/ there
// must be what was damaged from the start, each once, and nothing else.
func (o oracle) located(t testing.TB, q *Queue, d *crashfs.FS) map[string]Location {
	places := map[string]Location{}
	damaged := map[string]int{}
	for e, err := range q.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		s, err := q.Read(e.ID)
		if err != nil || s.Damaged != (e.Location == Corrupt) {
			t.Errorf("%v: %+v, %v", e, s, err)
			continue
		}
		if e.Location == Corrupt {
			b, err := d.ReadFile("/q/corrupt/" + string(e.ID))
			if damaged[string(b)]++; err != nil || o.damaged[string(b)] == "" {
				t.Errorf("set aside without a reason: %v, %v, %.200q", s.Reason, err, b)
			}
			continue
		}
		tok := readToken(t, q, e)
		if e.Location == Held && s.Reason != heldFor {
			t.Errorf("%s is held for %q, want %q", tok, s.Reason, heldFor)
		}
		if p, ok := places[tok]; ok {
			t.Errorf("%s is in two places, %v and %v", tok, p, e.Location)
		}
		places[tok] = e.Location
	}
	for content, name := range o.damaged {
		if damaged[content] != 1 {
			t.Errorf("%s is %d times in corrupt/, want once", name, damaged[content])
		}
	}
	return places
}

// readToken reads a message and compares it with its token.
func readToken(t testing.TB, q *Queue, e Entry) string {
	m, err := q.take(e.Location, e.ID, true)
	if err != nil {
		t.Errorf("%v: %v", e, err)
		return ""
	}
	defer m.Close()
	b, err := io.ReadAll(m.Data())
	if err != nil {
		t.Fatal(err)
	}
	tok, _, _ := strings.Cut(string(b), "\n")
	if string(b) != letterOf(tok) {
		t.Errorf("%v: other octets than its token says: %.200q", e, b)
	}
	return tok
}

// explained fails for files that a recovery has no reason to leave.
func explained(t testing.TB, tree string) {
	for line := range strings.Lines(tree) {
		f := strings.Fields(line)
		name := f[len(f)-1]
		rest, in := strings.CutPrefix(name, "/q/")
		dir, base, deep := strings.Cut(rest, "/")
		switch {
		case !in, !deep && slices.Contains([]string{"tmp", "queue", "hold", "corrupt", "filter", "lock", "ballast"}, dir):
		case deep && dir != tmpDir:
			if _, ok := ParseID(base); !ok {
				t.Errorf("file without a reason: %s", line)
			}
		default:
			t.Errorf("file without a reason: %s", line)
		}
	}
}
