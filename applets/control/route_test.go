package control

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func steps() []Step {
	return []Step{
		{Recipient: "team", How: "alias", Name: "team", UID: -1},
		{Depth: 1, Recipient: "bob@x.example", File: "/etc/aliases", Line: 7, How: "remote", UID: -1, Sender: "owner-team", RelayHost: "hub",
			Hosts: []Host{{Name: "hub", Port: 25, Addrs: []string{"192.0.2.1", "2001:db8::1"}}}},
		{Depth: 1, Recipient: "nobody-here", How: "failure", UID: -1, Code: 550, Status: "5.1.1", Reason: "no such user", Permanent: true},
	}
}

func TestRoute(t *testing.T) {
	path := start(t, Handler{Route: func(_ context.Context, _ Peer, r Request) iter.Seq2[Step, error] {
		return func(yield func(Step, error) bool) {
			switch r.Address {
			case "team":
				if r.Sender != "amy@x.example" {
					t.Errorf("sender %q", r.Sender)
				}
				for _, s := range steps() {
					if !yield(s, nil) {
						return
					}
				}
			case "bad":
				yield(Step{}, &Error{64, "no address"})
			}
		}
	}})
	got, err := dial(t, path).Route(t.Context(), "team", "amy@x.example")
	if diff := cmp.Diff(steps(), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, err = dial(t, path).Route(t.Context(), "bad", "")
	wantError(t, err, 64, "no address")
	_, err = dial(t, path).Route(t.Context(), strings.Repeat("x", 2000), "")
	wantError(t, err, 64, "too long")
	if _, err = dial(t, path).Route(t.Context(), "none", ""); err == nil {
		t.Error("an answer without steps is taken")
	}
}

// TestStepsAreCapped: what is too long for a line is cut.
func TestStepsAreCapped(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	s := Step{Recipient: long, File: long, Name: long, Reason: long, User: long, Extension: long, RelayHost: long, Sender: long}
	for range 1000 {
		s.Hosts = append(s.Hosts, Host{Name: long, Addrs: make([]string, 1000)})
	}
	n := 0
	err := stepLines([]Step{s, s}, func(line []byte) error {
		f, err := decodeFrame(line)
		if n += len(f.Steps); err != nil || len(line) > MaxLine {
			t.Errorf("line of %d octets: %v", len(line), err)
		}
		return nil
	})
	if err != nil || n != 2 {
		t.Errorf("%d steps, %v", n, err)
	}
}
