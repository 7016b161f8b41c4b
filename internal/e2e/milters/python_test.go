//go:build e2e

package milters

import (
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestPythonEdits: a filter by pymilter makes every edit, and its words reach the client
// as they are; when it is gone, mail is refused for now, and taken once it is back.
func TestPythonEdits(t *testing.T) {
	one, client, socket := site(t)
	edits := program(one, "edits.py")
	p := filter(one, socket, "/usr/bin/python3", edits, socket)
	one.Serve()
	got := send(one, client, strings.Replace(letter, "Subject:", "X-Gone: yes\nSubject:", 1))
	for _, want := range []string{"From ann@one.test", "X-First: ", " one.test\n", "\nX-Added: one\n\ttwo\n", "\nSubject: changed\n", "\n\na new\nbody\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if strings.Contains(got, "X-Gone") || strings.Contains(got, "Hello") {
		t.Error("there is what the filter took away")
	}
	if t.Failed() {
		t.Logf("bob got:\n%s", got)
	}
	lan.Until(t, 20*time.Second, "alice has it too", func() bool { return lan.Contains(one.Mailbox("alice"), "a new\nbody") })

	try := func(text string) error {
		conn, err := client.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		d, err := lan.NewDialogue(conn, "client.test")
		if err != nil {
			t.Fatal(err)
		}
		return d.Send("joe@one.test", "bob@one.test", text)
	}
	if err := try(strings.Replace(letter, "Greetings", "refuse me", 1)); err == nil || !strings.Contains(err.Error(), "554") || !strings.Contains(err.Error(), "no 100% letters") {
		t.Errorf("the client heard %v", err)
	}
	p.Stop()
	os.Remove(socket)
	if err := try(letter); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("without the filter the client heard %v", err)
	}
	told := lan.Says(one.Log, "filter failed")
	if log, _ := os.ReadFile(one.Log); !told || strings.Count(string(log), "filter failed") > 1 {
		t.Error("not one line of the log tells of the filter's end")
	}
	filter(one, socket, "/usr/bin/python3", edits, socket)
	lan.Until(t, 20*time.Second, "mail is taken again", func() bool { return try(letter) == nil })
}
