package applets

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/deliver"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

var filterTime = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// filterMessages are what the filters are tried on, by ID.
func filterMessages() []control.Message {
	pending := envelope.Pending.String()
	return []control.Message{
		{ID: "REMOTE", Sender: "Ann@One.example", Arrived: filterTime.Add(-3 * time.Hour), State: control.Deferred, Recipients: []control.Recipient{
			{Address: "bob@two.example", State: pending, Relay: "mx.three.example[192.0.2.7]:25", Reply: "451 4.7.1 see https://three.example/why"},
			{Address: "done@four.example", State: envelope.Delivered.String()},
		}},
		{ID: "HELD", Sender: "", Arrived: filterTime, State: control.Held, Reason: "looks odd", Recipients: []control.Recipient{{Address: "carol", State: pending}}},
		{ID: "MIXED", Sender: "ann@one.example", Arrived: filterTime, State: control.Active, Recipients: []control.Recipient{
			{Address: "x@five.example", State: pending, Relay: "local", Reply: "mailbox full"}, {Address: "y@six.example", State: pending}}},
		{ID: "DAMAGED", State: control.Corrupt, Reason: "first line torn"},
	}
}

func TestQueueFilter(t *testing.T) {
	for _, tt := range []struct {
		f    queueFilter
		want string
	}{
		{queueFilter{}, "REMOTE HELD MIXED DAMAGED"},
		{queueFilter{to: "*"}, "REMOTE HELD MIXED"},
		{queueFilter{to: "BOB@*"}, "REMOTE"},
		{queueFilter{to: "done@*"}, ""}, // has it already
		{queueFilter{to: "carol"}, "HELD"},
		{queueFilter{to: "car"}, ""},
		{queueFilter{from: "ann@one.example"}, "REMOTE MIXED"},
		{queueFilter{from: "<>"}, "HELD"},
		{queueFilter{from: "*"}, "REMOTE MIXED"},
		{queueFilter{host: "two.example"}, "REMOTE"},
		{queueFilter{host: "mx.three.*"}, "REMOTE"},
		{queueFilter{host: "192.0.2.?"}, "REMOTE"},
		{queueFilter{host: "local"}, "MIXED"},
		{queueFilter{host: "four.example"}, ""},
		{queueFilter{reason: "*https://three*"}, "REMOTE"},
		{queueFilter{reason: "451*"}, "REMOTE"},
		{queueFilter{reason: "looks*"}, "HELD"},
		{queueFilter{reason: "first line*"}, "DAMAGED"},
		{queueFilter{to: "*", reason: "*full*"}, "MIXED"},
		{queueFilter{to: "y@*", reason: "*full*"}, ""}, // one recipient must fit both
		{queueFilter{older: "2h"}, "REMOTE"},
		{queueFilter{older: "4h"}, ""},
		{queueFilter{older: "1h", from: "[ab]nn@*", to: "b*", host: "*.example", reason: "4*"}, "REMOTE"},
	} {
		f := tt.f
		if err := f.check(filterTime); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range filterMessages() {
			if f.fits(m) {
				got = append(got, m.ID)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %v, want %s", tt.f, got, tt.want)
		}
	}
}

// fakeQueue is a queue of filterMessages that notes what is done to it.
type fakeQueue struct {
	did []control.Request
}

func (f *fakeQueue) List(context.Context) iter.Seq2[control.Message, error] {
	return listOf(filterMessages()...)
}

func (f *fakeQueue) Show(_ context.Context, id string) (control.Message, error) {
	all := filterMessages()
	i := slices.IndexFunc(all, func(m control.Message) bool { return m.ID == id })
	if i < 0 {
		return control.Message{}, server.NoMessage(id)
	}
	return all[i], nil
}

func (f *fakeQueue) Cat(_ context.Context, id string, w io.Writer) error {
	if _, err := io.WriteString(w, "x\xff\n"); err != nil {
		return err
	}
	if id == "DAMAGED" {
		return errors.New("input/output error")
	}
	return nil
}

func (f *fakeQueue) Act(_ context.Context, r control.Request) error {
	f.did = append(f.did, r)
	switch r.ID {
	case "HELD":
		return &control.Error{Code: 77, Text: "not you"}
	case "REMOTE", "MIXED":
		return nil
	}
	return server.NoMessage(r.ID)
}

// queueCall runs one command line on f.
func queueCall(t *testing.T, f client.Queue, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := &cmdline.Env{Program: "queue", Stdout: &stdout, Stderr: &stderr}
	env.Prepare(queueApplet, args)
	q := &queueRun{env: env}
	err := q.parse()
	if err == nil {
		q.queue = f
		err = q.run(t.Context())
	}
	return env.Finish(err), stdout.String(), stderr.String()
}

func TestQueueCommands(t *testing.T) {
	for _, tt := range []struct {
		args      string
		code      int
		out, errs string // in the output
		did       string
	}{
		{"remove REMOTE MIXED", 0, "REMOTE: removed\nMIXED: removed\n", "", "remove REMOTE,remove MIXED"},
		{"bounce GONE REMOTE", 69, "REMOTE: returned\n", "queue: bounce: GONE: no message", "bounce GONE,bounce REMOTE"},
		{"remove REMOTE *", 64, "", `"*" is no queue ID; patterns go with --to, --from`, ""},
		{"bounce GONE HELD REMOTE", 77, "REMOTE: returned\n", "queue: bounce: HELD: not you", "bounce GONE,bounce HELD,bounce REMOTE"},
		{"remove -n REMOTE GONE", 69, "REMOTE: would be removed\n", "GONE: no message", ""},
		{"retry -n REMOTE HELD", 69, "REMOTE: would be tried now\n", "HELD: it is held", ""},
		{"release -n REMOTE HELD", 69, "HELD: would be released\n", "REMOTE: it is not held", ""},
		{"remove -n DAMAGED", 0, "DAMAGED: would be removed\n", "", ""},
		{"hold -n DAMAGED", 69, "", "DAMAGED: its file is damaged", ""},
		{"remove -n --reason *torn*", 0, "DAMAGED: would be removed\n", "", ""},
		{"retry --from ann@*", 0, "REMOTE: to be tried now\nMIXED: to be tried now\n", "", "retry REMOTE,retry MIXED"},
		{"retry --reroute REMOTE", 0, "REMOTE: to be tried now, expanded anew\n", "", "retry REMOTE rerouted"},
		{"retry --reroute -n REMOTE", 0, "REMOTE: would be tried now, expanded anew\n", "", ""},
		{"bounce --reroute REMOTE", 64, "", "--reroute is for retry", ""},
		{"retry --from zoe@*", 0, "", "no message fits", ""},
		{"hold REMOTE --reason odd", 0, "REMOTE: held\n", "", "hold REMOTE odd"},
		{"hold REMOTE", 0, "REMOTE: held\n", "", "hold REMOTE an administrator asked"},
		{"remove --json REMOTE GONE", 69, `{"id":"REMOTE","action":"remove","ok":true,"code":0}` + "\n" + `{"id":"GONE","action":"remove","ok":false,"code":69,"error":`, "", "remove REMOTE,remove GONE"},
		{"list GONE", 69, "Mail queue is empty.", "list: GONE: no message", ""},
		{"list --json --host 192.0.2.7", 0, `"relay":"mx.three.example[192.0.2.7]:25"`, "", ""},
		{"show HELD", 0, "It is held: looks odd.", "", ""},
		{"cat REMOTE MIXED", 0, "x\xff\nx\xff\n", "", ""},
		{"cat --json REMOTE", 0, `{"id":"REMOTE","data":"eP8K","ok":true,"code":0}` + "\n", "", ""},
		{"cat --json DAMAGED", 75, `{"id":"DAMAGED","data":"eP8K","ok":false,"code":75,"error":"input/output error"}` + "\n", "", ""},
		{"", 64, "", "no command", ""},
		{"frob", 64, "", `no command "frob"`, ""},
		{"remove", 64, "", "needs queue IDs or filters", ""},
		{"remove REMOTE --to *", 64, "", "either queue IDs or filters", ""},
		{"list -n", 64, "", "-n is for what changes messages", ""},
		{"list --to [", 64, "", "is no pattern", ""},
		{"list --older soon", 64, "", "want a time", ""},
		{"hold --reason a\x1bb REMOTE", 64, "", "want a line", ""},
	} {
		f := &fakeQueue{}
		code, out, errs := queueCall(t, f, strings.Fields(tt.args)...)
		var did []string
		for _, r := range f.did {
			if r.Do != control.Hold {
				r.Reason = ""
			}
			if r.Reroute {
				r.Reason = "rerouted"
			}
			did = append(did, strings.TrimSpace(r.Do+" "+r.ID+" "+r.Reason))
		}
		if code != tt.code || !strings.Contains(out, tt.out) || tt.out == "" && out != "" ||
			!strings.Contains(errs, tt.errs) || tt.errs == "" && errs != "" || strings.Join(did, ",") != tt.did {
			t.Errorf("queue %s: exit %d, did %v, printed\n%s\nand\n%s\nwant exit %d, %q", tt.args, code, did, out, errs, tt.code, tt.did)
		}
	}
}

// TestQueueFiles does everything to the files.
func TestQueueFiles(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	dir := t.TempDir()
	conf, err := config.Load(config.Options{UID: os.Getuid(), Sets: []string{"queue-dir=" + dir + "/q", "log=file:" + dir + "/log", "hostname=one.example"}})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := spool.Open(spool.Options{Dir: conf.QueueDir, UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	damaged := mailInto(t, queue, "z@four.example")
	if err := os.Rename(filepath.Join(dir, "q/queue", damaged), filepath.Join(dir, "q/corrupt", damaged)); err != nil {
		t.Fatal(err)
	}
	first := mailInto(t, queue, "x@two.example")
	second := mailInto(t, queue, "y@three.example")
	if err := queue.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := client.OpenFiles(&cmdline.Env{Stderr: io.Discard}, conf, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"remove", damaged}, 0, damaged + ": removed\n"},
		{[]string{"list", damaged}, 69, ""},
		{[]string{"hold", "--host", "two.*", "--reason", "odd"}, 0, first + ": held\n"},
		{[]string{"list", "--reason", "odd"}, 0, "!" + first},
		{[]string{"cat", first}, 0, "Subject: x\n\nhello\n"},
		{[]string{"release", second}, 69, ""},
		{[]string{"retry", first}, 69, ""},
		{[]string{"bounce", first}, 0, first + ": returned\n"},
		{[]string{"list", "--from", "<>"}, 0, "from@one.example"},
		{[]string{"remove", "--to", "y@*"}, 0, second + ": removed\n"},
		{[]string{"show", first, second}, 69, ""},
	} {
		if code, out, errs := queueCall(t, files, tt.args...); code != tt.code || !strings.Contains(out, tt.out) {
			t.Errorf("queue %v: exit %d, printed\n%s\nand\n%s\nwant exit %d and %q", tt.args, code, out, errs, tt.code, tt.out)
		}
	}
	if err := files.Close(); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || !strings.Contains(string(log), "queue[") || !strings.Contains(string(log), "message removed qid="+second) {
		t.Errorf("log: %v\n%s", err, log)
	}
}

// mailInto puts a message into a spool.
func mailInto(t *testing.T, q *spool.Queue, to string) string {
	t.Helper()
	path := func(s string) smtp.Path {
		p, err := smtp.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	in, err := q.Create(envelope.Envelope{Arrived: time.Now(), Client: "test", ReversePath: path("from@one.example"), Recipients: []smtp.Recipient{{Path: path(to)}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "Subject: x\n\nhello\n"); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	return string(in.ID())
}

// TestQueueWaitsOnce: of five messages three are being worked on for good. The others
// are removed at once, and these three are waited for together.
func TestQueueWaitsOnce(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		conf, err := config.Load(config.Options{UID: os.Getuid(), Sets: []string{"queue-dir=" + dir + "/q", "log=file:" + dir + "/log", "hostname=one.example"}})
		if err != nil {
			t.Fatal(err)
		}
		queue, err := spool.Open(spool.Options{Dir: conf.QueueDir, UID: -1, GID: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer queue.Close()
		args, free := []string{"remove"}, ""
		for i := range 5 {
			id := mailInto(t, queue, "x@two.example")
			args = append(args, id)
			if i%2 == 1 {
				free += id + ": removed\n"
				continue
			}
			m, err := queue.Claim(spool.ID(id))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
		}
		files, err := client.OpenFiles(&cmdline.Env{Stderr: io.Discard}, conf, true)
		if err != nil {
			t.Fatal(err)
		}
		defer files.Close()
		begun := time.Now()
		code, out, errs := queueCall(t, files, args...)
		if took := time.Since(begun); code != 75 || took != deliver.AdminWait {
			t.Errorf("exit code %d after %v, want 75 after %v", code, took, deliver.AdminWait)
		}
		if out != free || strings.Count(errs, "being delivered") != 3 {
			t.Errorf("%q, %q, want %q and three that are being delivered", out, errs, free)
		}
	})
}
