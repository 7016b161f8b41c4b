package applets

import (
	"bytes"
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
)

// TestSessions: what a server knows is shown in columns and as JSON, nothing that a
// client chose reaches the terminal as it is (B95) or looks like what we say, and the
// end of sessions is told for each.
func TestSessions(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	begun := time.Now().Add(-90 * time.Second)
	go func() {
		served <- control.Serve(ctx, l, control.Handler{
			Sessions: func(control.Peer) iter.Seq[control.Session] {
				return slices.Values([]control.Session{
					{ID: "ID1", Client: "unknown[192.0.2.7]:25", State: "data", QueueID: "Q1", TLS: "TLS 1.3 X", Helo: "x\x1b[31m\n qid=Q2", Begun: begun, Since: begun.Add(30 * time.Second), Received: 1234567},
					{ID: "ID2", Client: "joe[uid 1000]", State: "idle", Begun: begun, Since: begun},
				})
			},
			EndSession: func(_ control.Peer, id string) error {
				if id != "ID1" {
					return &control.Error{Code: 69, Text: "no session"}
				}
				return nil
			},
		})
	}()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"", 0, "ID          State         For     Age   Octets  Client\n" +
			"ID1         data         1m0s   1m30s    1.18M  unknown[192.0.2.7]:25 qid=Q1 tls=\"TLS 1.3 X\" helo=x?[31m? qid=Q2\n" +
			"ID2         idle        1m30s   1m30s        0  joe[uid 1000]\n", ""},
		{"--json", 0, `{"id":"ID1","client":"unknown[192.0.2.7]:25","helo":"x\u001b[31m\n qid=Q2","tls":"TLS 1.3 X","state":"data","qid":"Q1","begun":`, ""},
		{"end ID1 ID3", 69, "ID1: ended\n", "sessions: end: ID3: no session\n"},
		{"--json end ID1 ID3", 69, `{"id":"ID1","action":"end","ok":true,"code":0}` + "\n" + `{"id":"ID3","action":"end","ok":false,"code":69,"error":"no session"}` + "\n", ""},
	} {
		var stdout, stderr bytes.Buffer
		env := &cmdline.Env{Program: "sessions", Stdout: &stdout, Stderr: &stderr}
		env.Prepare(sessionsApplet, append([]string{"-C", "/dev/null", "-o", "run-dir=" + dir}, strings.Fields(tt.args)...))
		code := env.Finish(sessionsApplet.Run(t.Context(), env))
		if code != tt.code || !strings.HasPrefix(stdout.String(), tt.out) || stderr.String() != tt.errs {
			t.Errorf("sessions %s: exit %d, printed\n%s\nand %q, want exit %d,\n%s\nand %q", tt.args, code, &stdout, &stderr, tt.code, tt.out, tt.errs)
		}
	}
}
