package spool

import (
	"errors"
	"os"
	"testing"

	"postoffice/spool/envelope"
)

// TestCreateAs: the ID that was made before is the message's, until then nothing
// is on disk, and what is no ID names no file.
func TestCreateAs(t *testing.T) {
	q, dir := tempQueue(t)
	id, err := q.NewID()
	if err != nil {
		t.Fatal(err)
	}
	later := accept(t, q, envelopeFor(1), "later\n")
	in, err := q.CreateAs(id, envelopeFor(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"tmp", "queue"} {
		if entries, err := os.ReadDir(dir + "/" + d); err != nil || len(entries) > 1 {
			t.Errorf("%s before anything was written: %v, %v", d, entries, err)
		}
	}
	if err := in.Commit(); err != nil || in.ID() != id || id >= later {
		t.Errorf("%s became %s, beside %s: %v", id, in.ID(), later, err)
	}
	for _, bad := range []ID{"", "../queue/x", "lock"} {
		if _, err := q.CreateAs(bad, envelopeFor(1)); !errors.Is(err, envelope.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", bad, err)
		}
	}
}
