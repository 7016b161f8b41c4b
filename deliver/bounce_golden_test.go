package deliver

import (
	"context"
	"io"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool/envelope"
)

// TestReportsToTheLetter: reports of each kind, word for word. What differs
// each time has another text in the files of testdata.
func TestReportsToTheLetter(t *testing.T) {
	r := newRig(t)
	r.users.names = append(r.users.names, "dave", "erin", "frank", "grace")
	r.alias("staff: grace, gone\nlist: x@[192.0.2.1]\nprog: \"|prog arg\"\n")
	r.mailer.running = func(local.Job) local.Result {
		return local.Result{Outcome: outcome.Refusal("5.3.0", "the program said: no\nand why", nil)}
	}
	r.mailer.answer = func(user string) (local.Result, bool) { return later("mailbox is locked"), user == "bob" }
	for addr, reply := range map[string]string{
		"192.0.2.1": "550-5.1.1 No such user here,\n550 5.1.1 see <http://peer.example/why>",
		"192.0.2.2": "554 no",
		"192.0.2.3": "451 4.2.1 not now \xff",
	} {
		r.peer(addr, &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			if ev.Verb == "RCPT" {
				return testenv.Action{Reply: reply}
			}
			return testenv.Action{}
		}})
	}
	in, err := r.queue.Create(envelope.Envelope{
		Arrived: r.now(), Client: "client", ReversePath: path(t, "carol"),
		Recipients: []smtp.Recipient{
			{Path: path(t, "staff")}, {Path: path(t, "list")}, {Path: path(t, "no-one@also.example")},
			{Path: path(t, "A.User@[192.0.2.1]"), Params: []smtp.Param{{Name: "ORCPT", Value: "rfc822;a+2Buser@far.example"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "Received: by us.example; now\nSubject: gr\xc3\xbc\xc3\x9fe,\n folded\nMessage-Id: <m1@x.example>\nTo: staff\n\nbody\n")
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	old := r.now().Add(-100 * time.Hour)
	r.mailText(plain, old, "alice", "u@[192.0.2.3]", "w@[192.0.2.3]")
	r.mailText("Message-ID: a b\n\n", old, "erin", "v@[192.0.2.9]")
	r.mailText(plain, old, "frank", "bob")
	r.mail("dave", "prog")
	r.mail("", "z@[192.0.2.2]")
	r.pass()
	r.mailer.answer = nil
	returned := r.mailText("X: y\n", r.now(), "bob", "u@[192.0.2.3]")
	if err := NewRunner(r.o).Bounce(context.Background(), returned, "root"); err != nil {
		t.Fatal(err)
	}
	r.pass()
	for _, user := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "root"} {
		got := r.wantBox(user, 1)[0]
		for _, x := range []struct{ like, as string }{
			{`\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`, "DATE"},
			{`(?m)^From <> .*`, "From <> DATE"},
			{`[A-Z2-7]{26}`, "RANDOM"},
			{`(Queue-ID: )\w+`, "${1}ID"},
		} {
			got = regexp.MustCompile(x.like).ReplaceAllString(got, x.as)
		}
		name := "testdata/report-" + user + ".txt"
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
