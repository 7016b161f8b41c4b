package applets

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/control"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// watched puts a control socket beside the submission socket, where script is
// what a watcher sees: each line is a batch.
func (l *listening) watched(t *testing.T, script func(ctx context.Context, send func(...control.Event) error) error) {
	t.Helper()
	sock, err := net.Listen("unix", filepath.Join(filepath.Dir(l.conf), service.Control))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- control.Serve(ctx, sock, control.Handler{Watch: func(ctx context.Context, _ control.Peer, r control.Request, send func([]control.Event) error) error {
			if r.All || r.Run {
				t.Errorf("sendmail asks for more than its own: %+v", r)
			}
			if err := send(nil); err != nil {
				return err
			}
			return script(ctx, func(some ...control.Event) error { return send(some) })
		}})
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// event is one of message Q1, whose outcome is for bob@us.example.
func event(status, reply, dsn string) control.Event {
	return control.Event{ID: "Q1", Outcome: &control.Outcome{Address: "bob@us.example", Original: "bob@us.example", Status: status, Relay: "local", Reply: reply, DSN: dsn}}
}

func ended(pending int) control.Event {
	return control.Event{ID: "Q1", End: &control.End{Pending: pending}}
}

// TestWait is --wait and -v against a server that tells what the table says.
func TestWait(t *testing.T) {
	sent, later := event("sent", "250 2.0.0 done", "2.0.0"), event("deferred", "450 4.2.0 locked", "4.2.0")
	later.Outcome.Next = time.Date(2026, 11, 25, 12, 0, 0, 0, time.Local)
	failed, nobody := event("bounced", "552 5.2.2 full", "5.2.2"), event("bounced", "550 5.1.1 who", "5.1.1")
	line := control.Event{ID: "Q1", Line: &control.Line{Relay: "mx.example[192.0.2.1]:25", Dir: control.Sent, Text: "EHLO\x1b us.example"}}
	end, open := ended(0), ended(1)
	other := failed
	other.ID = "Q2"
	again := control.Event{ID: "Q1", End: &control.End{Pending: 1, Again: true}}
	kept := control.Event{ID: "Q1", End: &control.End{Pending: 1, Kept: true}}
	for _, tt := range []struct {
		name  string
		args  string
		sees  []control.Event
		code  int
		words string // in the order in which they are said; "" says nothing
	}{
		{"delivered", "--wait=30s bob", []control.Event{sent, end}, 0, ""},
		{"delivered and seen", "-v bob", []control.Event{line, sent, end}, 0, "      192.0.2.1 << EHLO? us.example|sendmail: bob@us.example: delivered: 250 2.0.0 done"},
		{"deferred", "--wait=30s bob", []control.Event{line, later, open}, 75, "not delivered yet: 450 4.2.0 locked; the next attempt is at 12:00:00|message Q1 is in the queue|hint: it need not be sent again; mailq Q1"},
		{"deferred and seen", "-v bob", []control.Event{later, open}, 0, "not delivered yet"},
		{"bounced", "--wait=30s bob", []control.Event{failed, end}, 69, "bob@us.example: failed, and goes back to the sender: 552 5.2.2 full|message Q1: recipients that failed: 1"},
		{"said once", "--wait=30s bob", []control.Event{{ID: "Q1", Outcome: &control.Outcome{Address: "bob@us.example", Status: "bounced", Relay: "local", Reply: "550 5.3.0 program ended with exit code 1", Err: "program ended with exit code 1"}}, end}, 69, "550 5.3.0 program ended with exit code 1\n"},
		{"unknown", "--wait=30s bob", []control.Event{nobody, end}, 67, "550 5.1.1 who|unknown recipients: 1"},
		{"both", "--wait=30s bob", []control.Event{nobody, failed, end}, 69, "that failed: 2"},
		{"worse than later", "--wait=30s bob", []control.Event{later, failed, open}, 69, "that failed: 1"},
		{"others' messages", "--wait=30s bob", []control.Event{other, sent, end}, 0, ""},
		{"no turn at first", "--wait=30s bob", []control.Event{again, sent, end}, 0, ""},
		{"no outcome", "--wait=30s bob amy", []control.Event{sent, open}, 75, "amy: nothing has come of it yet|message Q1 is in the queue"},
		{"kept", "--wait=30s bob", []control.Event{kept}, 75, "waits for the next run"},
		{"lost lines", "-v bob", []control.Event{{Lost: 3}, sent, end}, 0, "3 lines|delivered"},
		{"watch broken", "--wait=30s bob", []control.Event{later}, 75, "can't be watched any more: cut|message Q1 is in the queue"},
		{"over", "--wait=1s bob", nil, 75, "bob: nothing has come of it yet|waited for 1s|message Q1 is in the queue"},
		{"over and seen", "-v --wait=1s bob", []control.Event{line}, 75, "192.0.2.1 <<|nothing has come of it yet"},
		{"not now", "--wait=30s -odq bob", nil, 64, "don't go together"},
		{"no time", "--wait=soon bob", nil, 64, "want a time"},
		{"no unit", "--wait=30 bob", nil, 64, "want a time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := listen(t, nil)
			in.watched(t, func(ctx context.Context, send func(...control.Event) error) error {
				for _, s := range tt.sees {
					if err := send(s); err != nil {
						return err
					}
				}
				if tt.name == "watch broken" {
					return &control.Error{Code: 75, Text: "cut"}
				}
				<-ctx.Done()
				return nil
			})
			code, stderr := in.sendmail("hello\n", strings.Fields(tt.args)...)
			if code != tt.code || !inOrder(stderr, tt.words) || tt.words == "" && stderr != "" {
				t.Errorf("exit code %d, want %d; it said\n%s\nwant %q", code, tt.code, stderr, tt.words)
			}
		})
	}
}

// inOrder says whether text has all words, which "|" separates, in their order.
func inOrder(text, words string) bool {
	for word := range strings.SplitSeq(words, "|") {
		i := strings.Index(text, word)
		if i < 0 {
			return false
		}
		text = text[i+len(word):]
	}
	return true
}

// refusing is a policy that refuses some.
type refusing map[string]smtp.Reply

func (r refusing) session(*smtpd.Client) smtpd.Checker { return refuser{refusing: r} }

// refuser is a session of it.
type refuser struct {
	smtpd.Accepting
	refusing
}

func (r refuser) Rcpt(_ context.Context, _ *smtpd.Transaction, to smtp.Path) smtpd.Verdict {
	return smtpd.Refusal(r.refusing[to.Local])
}

// TestWaitNotTaken: with --wait 75 means a message that is in the queue, and
// nothing else.
func TestWaitNotTaken(t *testing.T) {
	policy := refusing{"nobody": {Code: 550, Status: "5.1.1", Text: "who"}, "later": {Code: 450, Status: "4.3.0", Text: "later"}}
	in := listen(t, func(o *smtpd.Options) { o.Checker = policy.session })
	try := func(args string, want int, words string) {
		t.Helper()
		code, stderr := in.sendmail("hello\n", strings.Fields(args)...)
		if code != want || !inOrder(stderr, words) {
			t.Errorf("%s: exit code %d, want %d; it said\n%s", args, code, want, stderr)
		}
	}
	try("--wait=30s bob", 71, "can't be watched, and nothing was sent|hint: nothing is in the queue: try again")
	try("-v bob", 0, "deliveries can't be shown")
	in.watched(t, func(ctx context.Context, send func(...control.Event) error) error {
		nobody := event("bounced", "550 5.1.1 who", "5.1.1") // where it is in the queue: it was refused beside a good one
		nobody.Outcome.Address, nobody.Outcome.Original = "nobody@us.example", "nobody@us.example"
		err := send(event("sent", "250 2.0.0 done", "2.0.0"), nobody, ended(0))
		<-ctx.Done()
		return err
	})
	try("later", 75, "nothing was sent")
	try("--wait=30s later", 71, "later: 450|nothing was sent|hint: nothing is in the queue: try again")
	try("--wait=30s nobody", 67, "nothing was sent")
	try("--wait=30s bob nobody", 67, "nobody: 550 5.1.1 who|message Q1: unknown recipients: 1")
	if len(in.got) != 2 {
		t.Errorf("%d messages were taken, want 2", len(in.got))
	}
}
