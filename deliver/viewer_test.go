package deliver

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postoffice/deliver/local"
	"postoffice/deliver/route"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// viewers is a Watcher that keeps what each viewer is shown.
type viewers struct {
	all []route.Viewer

	mu    sync.Mutex // guards what follows
	shown map[string]string
}

func (w *viewers) Watching() bool { return true }

func (w *viewers) Watch(_ spool.ID, _ string, e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.all {
		switch e := e.(type) {
		case SessionLine:
			if !e.Hides(v) {
				w.shown[v.User] += fmt.Sprintln(e.Relay, e.Text)
			}
		case RecipientOutcome:
			e = e.For(v)
			w.shown[v.User] += fmt.Sprintln(e.To, e.Status, e.Outcome.Relay, e.Outcome.Reply, e.Outcome.Err)
		}
	}
}

// TestViewBehindFiles: who stands in another user's .forward or list is shown
// neither while mail is delivered there nor in reports, but to the file's owner,
// to the list's, to trusted users, and with queue-view=all.
func TestViewBehindFiles(t *testing.T) {
	for _, tt := range []struct {
		name, alias, to, behind string
		owner                   string // of the file
		ownerAlias              bool   // failures go to alice, who looks after the list
	}{
		{"forward", "", "bob", "recipient of .forward of bob", "bob", false},
		{"list", "team: :include:/l\n", "team", "recipient of list team", "carol", false},
		{"list of the configuration", "team: :include:/l\n", "team", "recipient of list team", "", false},
		{"list with an owner", "team: :include:/l\nowner-team: alice\n", "team", "recipient of list team", "carol", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, sender := range []string{"s@us.example", "bob", "carol", "root"} {
				r := newRig(t)
				r.users.names = append(r.users.names, "s")
				r.alias(tt.alias)
				says("RCPT", "550 5.1.1 <secret@[192.0.2.1]> unknown")(r)
				r.mailer.forwards = map[string]string{}
				switch {
				case tt.to == "bob":
					r.mailer.forwards["bob"] = "\\bob\nsecret@[192.0.2.1]"
				case tt.owner != "":
					r.mailer.owners = map[string]*local.OwnerError{"team": {File: "/l", User: tt.owner, UID: 1000}}
					fallthrough
				default:
					r.mailer.members = map[string]string{"team": "secret@[192.0.2.1]\n"}
				}
				w := &viewers{shown: map[string]string{}, all: []route.Viewer{{UID: 5, User: "s"}, {UID: 6, User: "bob"}, {UID: 7, User: "carol"}, {UID: 8, User: "trusted", All: true}}}
				r.o.Watch = w
				id := r.mail(sender, tt.to)
				r.pass()
				r.pass()
				for who, text := range w.shown {
					sees := who == "trusted" || who == tt.owner
					if strings.Contains(text, "192.0.2.1") != sees || strings.Contains(text, "secret") != sees || strings.Contains(text, tt.behind) == sees {
						t.Errorf("%s is shown\n%s", who, text)
					}
				}
				reader, sees := strings.TrimSuffix(sender, "@us.example"), sender == "root" || sender == tt.owner
				if tt.ownerAlias {
					reader, sees = "alice", true
				}
				report := strings.Join(r.mailer.box(reader), "")
				if !strings.Contains(report, string(id)) || strings.Contains(report, "secret") != sees || strings.Contains(report, "192.0.2.1") != sees || strings.Contains(report, tt.behind) == sees {
					t.Errorf("%s reads\n%s", reader, report)
				}
			}
		})
	}
}

// TestViewOpen: with queue-view=all a report tells a stranger what stands in a
// .forward.
func TestViewOpen(t *testing.T) {
	r := newRig(t)
	r.o.OpenView = true
	r.users.names = append(r.users.names, "s")
	says("RCPT", "550 5.1.1 unknown")(r)
	r.mailer.forwards = map[string]string{"bob": "secret@[192.0.2.1]"}
	r.mail("s", "bob")
	r.pass()
	r.pass()
	if report := strings.Join(r.mailer.box("s"), ""); !strings.Contains(report, "<secret@[192.0.2.1]>") {
		t.Errorf("the report is\n%s", report)
	}
}

// TestViewQuotesNothing: a line of a .forward or a list that can't be understood is
// in no note of the queue, no event, and no line of the log.
func TestViewQuotesNothing(t *testing.T) {
	r := newRig(t)
	r.alias("team: :include:/l\n")
	bad := errors.Join(&local.LineError{File: "/home/bob/.forward", Line: 3, Quote: `"my secret" is no address`})
	r.mailer.forwards = map[string]string{"bob": "x"}
	r.mailer.broken = map[string]error{"bob": bad, "team": bad}
	w := &viewers{shown: map[string]string{}, all: []route.Viewer{{UID: 0, User: "root", All: true}}}
	r.o.Watch = w
	id := r.mail("s@x.example", "bob", "team")
	r.pass()
	s := r.snapshot(id)
	for _, rc := range s.Recipients {
		if rc.State != envelope.Pending && rc.State != envelope.Expanded {
			t.Errorf("%v is %v", rc.Target, rc.State)
		}
	}
	for _, text := range []string{fmt.Sprint(s.Notes), w.shown["root"], r.log.String()} {
		if strings.Contains(text, "secret") || !strings.Contains(text, "/home/bob/.forward:3 can't be understood; sendmail -bv tells its owner and root more") {
			t.Errorf("told:\n%s", text)
		}
	}
}
