package applets

import (
	"context"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/internal/testenv"
)

// TestSessionsApplet: what a server knows is shown in columns and as JSON, nothing that a
// client chose reaches the terminal as it is (B95) or looks like what we say, and the
// end of sessions is told for each.
func TestSessionsApplet(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	begun := time.Now().Add(-90 * time.Second)
	ask := controlled(t, sessionsApplet, control.Handler{
		Sessions: func(control.Peer) iter.Seq[control.Session] {
			return slices.Values([]control.Session{
				{ID: "ID1", Client: "unknown[192.0.2.7]:25", State: "data", QueueID: "Q1", TLS: "TLS 1.3 X", Helo: "x\x1b[31m\n qid=Q2", Begun: begun, Since: begun.Add(30 * time.Second), Received: 1234567},
				{ID: "ID2", Client: "joe[uid 1000]", State: "idle", Begun: begun, Since: begun},
			})
		},
		Filters: func(control.Peer) []control.Filter {
			return []control.Filter{
				{Name: "dkim", State: control.FilterWorks, Messages: 120, Edited: 119, Refused: 1, Connections: 2},
				{Name: "127.0.0.1:11332", State: control.FilterFailed, Reason: "said\x1b[31m", Failures: 3, Until: time.Now().Add(90*time.Second + 500*time.Millisecond)},
			}
		},
		EndSession: func(_ control.Peer, id string) error {
			if id != "ID1" {
				return &control.Error{Code: 69, Text: "no session"}
			}
			return nil
		},
	})
	for _, tt := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"", 0, "ID          State         For     Age   Octets  Client\n" +
			"ID1         data         1m0s   1m30s    1.18M  unknown[192.0.2.7]:25 qid=Q1 tls=\"TLS 1.3 X\" helo=x?[31m? qid=Q2\n" +
			"ID2         idle        1m30s   1m30s        0  joe[uid 1000]\n" +
			"Filter               State  Messages Refused  Edited Failures  Open\n" +
			"dkim                 ok          120       1     119        0     2\n" +
			"127.0.0.1:11332      failed        0       0       0        3     0  left alone for 1m", ""},
		{"--json", 0, `{"id":"ID1","client":"unknown[192.0.2.7]:25","helo":"x\u001b[31m\n qid=Q2","tls":"TLS 1.3 X","state":"data","qid":"Q1","begun":`, ""},
		{"end ID1 ID3", 69, "ID1: ended\n", "sessions: end: ID3: no session\n"},
		{"--json end ID1 ID3", 69, `{"id":"ID1","action":"end","ok":true,"code":0}` + "\n" + `{"id":"ID3","action":"end","ok":false,"code":69,"error":"no session"}` + "\n", ""},
	} {
		code, out, errs := ask(tt.args)
		if code != tt.code || !strings.HasPrefix(out, tt.out) || errs != tt.errs {
			t.Errorf("sessions %s: exit %d, printed\n%s\nand %q, want exit %d,\n%s\nand %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
		}
	}
}

// TestSessionsFilters: filters are the last objects of the list, each by its name, and
// what one of them said is fit for a terminal.
func TestSessionsFilters(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	ask := controlled(t, sessionsApplet, control.Handler{
		Sessions: func(control.Peer) iter.Seq[control.Session] { return slices.Values([]control.Session(nil)) },
		Filters: func(control.Peer) []control.Filter {
			return []control.Filter{{Name: "f", State: control.FilterFailed, Reason: "x\x1b[31m", Messages: 5, Failures: 1}}
		},
	})
	for args, want := range map[string]string{
		"":       "Filter               State  Messages Refused  Edited Failures  Open\nf                    failed        5       0       0        1     0  x?[31m\n",
		"--json": `{"filter":"f","state":"failed","reason":"x\u001b[31m","messages":5,"refused":0,"edited":0,"failures":1,"connections":0}` + "\n",
	} {
		if code, out, errs := ask(args); code != 0 || out != want || errs != "" {
			t.Errorf("sessions %s: exit %d, printed\n%q\nand %q, want\n%q", args, code, out, errs, want)
		}
	}
}

// controlled is an applet, called with arguments, that asks a server with a handler of the
// test's until that ends.
func controlled(t *testing.T, a cmdline.Applet, h control.Handler) (ask func(args string) (code int, stdout, stderr string)) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- control.Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func(args string) (int, string, string) {
		var stdout, stderr strings.Builder
		env := &cmdline.Env{Program: a.Name, Stdout: &stdout, Stderr: &stderr}
		env.Prepare(a, append([]string{"-C", "/dev/null", "-o", "run-dir=" + dir}, strings.Fields(args)...))
		code := env.Finish(a.Run(t.Context(), env))
		return code, stdout.String(), stderr.String()
	}
}
