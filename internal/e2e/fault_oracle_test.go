//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/control"
	"postoffice/internal/testenv"
)

// delivery is one copy of a letter somewhere.
type delivery struct {
	token  string // "" when the copy ends before it
	whole  bool   // its checksum is right
	bounce bool   // it has the null reverse-path

	from, to int64 // its octets in the mailbox
	session  int   // of the sink that took it
}

// readLetter finds out what a copy is.
func readLetter(text string) delivery {
	head, body, _ := strings.Cut(text, "\n\n")
	var d delivery
	var sum string
	for line := range strings.Lines(head + "\n") {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "X-Token":
			d.token = value
		case "X-Sum":
			sum = value
		case "Return-Path":
			d.bounce = value == "<>"
		}
	}
	d.whole = d.token != "" && bodySum(body) == sum
	return d
}

// readMailbox reads an mbox as a mail reader does: a From_ line behind an empty
// line begins a message. A missing file is an empty one.
func readMailbox(t *testing.T, name string) []delivery {
	t.Helper()
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var (
		all      []delivery
		text     strings.Builder
		begun    bool
		empty    = true
		from, to int64
	)
	flush := func() {
		if begun {
			d := readLetter(strings.TrimSuffix(text.String(), "\n"))
			d.from, d.to = from, to
			all = append(all, d)
		}
		from = to
		text.Reset()
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if empty && strings.HasPrefix(line, "From ") {
			flush()
			begun = true
		} else {
			text.WriteString(line)
		}
		empty = line == "\n"
		to += int64(len(line))
		if err != nil {
			break
		}
	}
	flush()
	return all
}

// readSink is what a sink took, in order.
func readSink(s *testenv.Sink) []delivery {
	var all []delivery
	for _, m := range s.Messages() {
		d := readLetter(m.Text())
		d.bounce, d.session = m.From() == "", m.Session
		all = append(all, d)
	}
	return all
}

// extra counts the deliveries that were made more than once: of what lies
// together in one place, one batch of a mailbox, it counts one. A torn copy is
// such a delivery as well: an append that was cut off before its sync. The whole
// one must follow if it was acknowledged.
func extra(all []delivery, batches bool) int {
	later := map[string]bool{}
	over := make([]bool, len(all))
	for i, d := range slices.Backward(all) {
		over[i] = !d.whole || later[d.token]
		if d.whole {
			later[d.token] = true
		}
	}
	n := 0
	for i := range over {
		if over[i] && (!batches || i == 0 || !over[i-1]) {
			n++
		}
	}
	return n
}

// outcome compares what was delivered with what was acknowledged, rules 1, 2, 3
// and 7: most is how many deliveries may have been made again. places are
// mailboxes, sinks what came over SMTP.
func (l *ledger) outcome(t *testing.T, acked map[string]letter, most int, places, sinks map[string][]delivery) {
	t.Helper()
	whole := map[string]bool{}
	again, copies := 0, 0
	for name, all := range places {
		again += extra(all, true)
		copies += l.copies(t, name, all, whole)
	}
	for name, all := range sinks {
		again += extra(all, false)
		copies += l.copies(t, name, all, whole)
	}
	lost := 0
	for token, x := range acked {
		if !whole[token] {
			if lost++; lost <= 5 {
				t.Errorf("LOST: %s to %s was acknowledged and is nowhere whole", token, x.to)
			}
		}
	}
	l.mu.Lock()
	sent, refused := len(l.sent), l.refused
	l.mu.Unlock()
	t.Logf("%d sent, %d acknowledged, %d delivered whole, %d copies, %d deliveries made again (%d allowed), %d lost; not acknowledged: %v",
		sent, len(acked), len(whole), copies, again, most, lost, refused)
	if again > most {
		t.Errorf("%d deliveries were made again, want at most %d", again, most)
	}
}

// copies checks every copy by itself, adds the whole ones to whole, and counts.
func (l *ledger) copies(t *testing.T, name string, all []delivery, whole map[string]bool) int {
	t.Helper()
	for i, d := range all {
		switch {
		case d.bounce:
			t.Errorf("%s: message %d of %d is a bounce", name, i, len(all))
		case d.whole && !l.known(d.token):
			t.Errorf("%s: message %d of %d was never sent: %q", name, i, len(all), d.token)
		case d.whole:
			whole[d.token] = true
		}
	}
	return len(all)
}

var (
	queueID   = regexp.MustCompile(`^[0-9A-Z]{10,40}$`)
	ownFiles  = []string{"lock", "ballast", "maildrop"}
	subdirs   = []string{"queue", "hold", "corrupt", "tmp"}
	youngTemp = 36 * time.Hour
)

// explained looks at every file of the spool, rule 4, and returns how many
// messages there are. Interrupted arrivals are what a kill may leave.
func (s *site) explained() (messages int) {
	s.t.Helper()
	root := s.path("queue")
	for _, e := range readDir(s.t, root) {
		if !slices.Contains(ownFiles, e.Name()) && !slices.Contains(subdirs, e.Name()) {
			s.t.Errorf("%s: what is %s?", root, e.Name())
		}
	}
	for _, dir := range subdirs {
		for _, e := range readDir(s.t, filepath.Join(root, dir)) {
			info, err := e.Info()
			if err != nil {
				s.t.Fatal(err)
			}
			switch {
			case dir == "corrupt":
				s.t.Errorf("a message was set aside: %s/%s", dir, e.Name())
			case !queueID.MatchString(e.Name()) || !info.Mode().IsRegular():
				s.t.Errorf("what is %s/%s?", dir, e.Name())
			case dir == "tmp" && time.Since(info.ModTime()) > youngTemp:
				s.t.Errorf("%s/%s is old", dir, e.Name())
			}
			if dir != "tmp" {
				messages++
			}
		}
	}
	return messages
}

func readDir(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// listed is what mailq shows of the queue, by state; its exit code must be 0.
// What waits in maildrop/ is in no queue yet.
func (s *site) listed() map[string]int {
	s.t.Helper()
	states := map[string]int{}
	for line := range strings.Lines(s.applet("mailq", "--json")) {
		var m struct{ State string }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			s.t.Fatalf("mailq --json: %v: %s", err, line)
		}
		states[m.State]++
	}
	delete(states, control.Dropped)
	return states
}

// recovered is rules 4, 5 and 6: with nothing running, the queue is explained and
// listed as it is, it is empty after two runs, and what is there then stays as
// it is.
func (s *site) recovered() {
	s.t.Helper()
	files := s.explained()
	total := 0
	for _, n := range s.listed() {
		total += n
	}
	if total != files {
		s.t.Errorf("mailq lists %d messages, the spool has %d", total, files)
	}
	for run := 1; run <= 2; run++ {
		s.applet("runq")
		s.gone(30 * time.Second)
	}
	if left := s.explained(); left != 0 {
		s.t.Errorf("%d messages are left after two runs:\n%s", left, s.applet("mailq"))
	}
	before := s.state()
	s.applet("runq")
	s.gone(30 * time.Second)
	if after := s.state(); after != before {
		s.t.Errorf("a further run changed something:\nbefore:\n%safter:\n%s", before, after)
	}
}

// state is what spool and mailboxes hold: names, sizes and times.
func (s *site) state() string {
	s.t.Helper()
	var b strings.Builder
	for _, root := range []string{s.path("queue"), s.mail} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil || d.IsDir() {
				return err
			}
			_, err = fmt.Fprintf(&b, "%s %d %v\n", path, info.Size(), info.ModTime().UnixNano())
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return b.String()
}

// mailboxes reads all mailboxes of the site; other files than those of accounts
// are not explained.
func (s *site) mailboxes() map[string][]delivery {
	s.t.Helper()
	all := map[string][]delivery{}
	for _, e := range readDir(s.t, s.mail) {
		if !slices.ContainsFunc(people, func(u user) bool { return u.Name == e.Name() }) {
			s.t.Errorf("what is %s in the mail directory?", e.Name())
			continue
		}
		all[e.Name()] = readMailbox(s.t, filepath.Join(s.mail, e.Name()))
	}
	return all
}
