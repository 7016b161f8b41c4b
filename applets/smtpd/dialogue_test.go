package smtpd

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// TestDialogues plays testdata/dialogues/*.txt. Their "set" lines are read by
// dialogueServer. Hours pass at once.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.Root(), "testdata/dialogues/*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playDialogue(t, file) })
		})
	}
}

func playDialogue(t *testing.T, file string) {
	d, err := testenv.ReadDialogue(file)
	if err != nil {
		t.Fatal(err)
	}
	q := &memQueue{}
	o, kind, addr := dialogueServer(t, d, q)
	conn, end := peerOf(New(o), kind, addr)
	if err := d.Play(conn, testenv.Client); err != nil {
		t.Error(err)
	}
	conn.Close()
	<-end
	if n := q.unfinished(); n > 0 {
		t.Errorf("%d messages left open in the queue", n)
	}
	if want, ok := d.Settings["stored"]; ok && strconv.Itoa(len(q.messages())) != want {
		t.Errorf("%d messages stored, want %s: %v", len(q.messages()), want, q.messages())
	}
}

// dialogueServer turns the settings of a dialogue into a server's.
func dialogueServer(t *testing.T, d *testenv.Dialogue, q *memQueue) (Options, Kind, string) {
	o := options(q)
	kind, addr := Relay, strangerAddr
	for name, value := range d.Settings {
		n, _ := strconv.Atoi(value)
		switch name {
		case "stored": // judged afterwards
		case "client":
			addr = value
		case "program":
			kind = Local
		case "name":
			o.ClientName = nameOf(value)
		case "size":
			o.Size = int64(n)
		case "hops":
			o.Hops = n
		case "timeout":
			o.Timeout = time.Duration(n) * time.Second
		case "bare-newline":
			o.RejectBareNewline = value == "reject"
		case "room":
			q.room = errors.New(value)
		case "begin":
			q.begin = errors.New(value)
		case "write":
			q.write = errNoSpace
		case "commit":
			q.commit = errors.New(value)
		default:
			t.Fatalf("%s: unknown setting %q", d.Name, name)
		}
	}
	return o, kind, addr
}

func nameOf(name string) func(context.Context, netip.Addr) (string, Naming) {
	return func(context.Context, netip.Addr) (string, Naming) { return name, Named }
}
