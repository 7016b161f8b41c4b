//go:build e2e

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postoffice/applets/control"
	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
)

var (
	queueID   = regexp.MustCompile(`^[0-9A-Z]{10,40}$`)
	ownFiles  = []string{"lock", "ballast", "maildrop"}
	subdirs   = []string{"queue", "filter", "hold", "corrupt", "tmp"}
	youngTemp = 36 * time.Hour
)

// explained looks at every file of the spool, rule 4, and returns how many
// messages there are. Interrupted arrivals are what a kill may leave.
func explained(s *lan.Site) (messages int) {
	s.T.Helper()
	root := s.Path("queue")
	for _, e := range lan.ReadDir(s.T, root) {
		if !slices.Contains(ownFiles, e.Name()) && !slices.Contains(subdirs, e.Name()) {
			s.T.Errorf("%s: what is %s?", root, e.Name())
		}
	}
	for _, dir := range subdirs {
		for _, e := range lan.ReadDir(s.T, filepath.Join(root, dir)) {
			info, err := e.Info()
			if err != nil {
				s.T.Fatal(err)
			}
			switch {
			case dir == "corrupt":
				s.T.Errorf("a message was set aside: %s/%s", dir, e.Name())
			case !queueID.MatchString(e.Name()) || !info.Mode().IsRegular():
				s.T.Errorf("what is %s/%s?", dir, e.Name())
			case dir == "tmp" && time.Since(info.ModTime()) > youngTemp:
				s.T.Errorf("%s/%s is old", dir, e.Name())
			}
			if dir != "tmp" {
				messages++
			}
		}
	}
	return messages
}

// listed is what mailq shows of the queue, by state; its exit code must be 0.
// What waits in maildrop/ is in no queue yet.
func listed(s *lan.Site) map[string]int {
	s.T.Helper()
	states := map[string]int{}
	for line := range strings.Lines(s.Applet("mailq", "--json")) {
		var m struct{ State string }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			s.T.Fatalf("mailq --json: %v: %s", err, line)
		}
		states[m.State]++
	}
	delete(states, control.Dropped)
	return states
}

// recovered is rules 4, 5 and 6: with nothing running, the queue is explained and
// listed as it is, it is empty after two runs, and what is there then stays as
// it is.
func recovered(s *lan.Site) {
	s.T.Helper()
	files := explained(s)
	total := 0
	for _, n := range listed(s) {
		total += n
	}
	if total != files {
		s.T.Errorf("mailq lists %d messages, the spool has %d", total, files)
	}
	for run := 1; run <= 2; run++ {
		s.Applet("runq")
		s.Gone(30 * time.Second)
	}
	if left := explained(s); left != 0 {
		s.T.Errorf("%d messages are left after two runs:\n%s", left, s.Applet("mailq"))
	}
	before := state(s)
	s.Applet("runq")
	s.Gone(30 * time.Second)
	if after := state(s); after != before {
		s.T.Errorf("a further run changed something:\nbefore:\n%safter:\n%s", before, after)
	}
}

// state is what spool and mailboxes hold: names, sizes and times.
func state(s *lan.Site) string {
	s.T.Helper()
	var b strings.Builder
	for _, root := range []string{s.Path("queue"), s.Mail} {
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
			s.T.Fatal(err)
		}
	}
	return b.String()
}

// mailboxes reads all mailboxes of the site; other files than those of accounts
// are not explained.
func mailboxes(s *lan.Site) map[string][]letters.Delivery {
	s.T.Helper()
	all := map[string][]letters.Delivery{}
	for _, e := range lan.ReadDir(s.T, s.Mail) {
		if !slices.ContainsFunc(lan.People, func(u lan.User) bool { return u.Name == e.Name() }) {
			s.T.Errorf("what is %s in the mail directory?", e.Name())
			continue
		}
		all[e.Name()] = letters.ReadMailbox(s.T, filepath.Join(s.Mail, e.Name()))
	}
	return all
}
