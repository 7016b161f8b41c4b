package testenv

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMessages(t *testing.T) {
	all := Messages()
	if len(all) < 50 {
		t.Errorf("only %d messages", len(all))
	}
	var facts Facts
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.Name] {
			t.Errorf("%s twice", m.Name)
		}
		seen[m.Name] = true
		octets := m.Octets()
		if int64(len(octets)) != m.Size {
			t.Errorf("%s: %d octets, Size says %d", m.Name, len(octets), m.Size)
		}
		if sha256.Sum256(octets) != sha256.Sum256(m.Octets()) {
			t.Errorf("%s: not the same octets twice", m.Name)
		}
		if m.Size < 2<<20 {
			r := m.Open()
			if err := iotest.TestReader(r, octets); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
		f := FactsOf(octets)
		facts = Facts{facts.NUL || f.NUL, facts.CR || f.CR, facts.Unended || f.Unended, facts.EightBit || f.EightBit, facts.Long || f.Long}
	}
	if facts != (Facts{true, true, true, true, true}) {
		t.Errorf("the collection lacks something: %+v", facts)
	}
}

func TestForms(t *testing.T) {
	for _, tt := range []struct{ in, spool, wire string }{
		{"", "", ".\r\n"},
		{"a", "a\n", "a\r\n.\r\n"},
		{"a\r\n.b\rc\n..", "a\n.b c\n..\n", "a\r\n..b\rc\r\n...\r\n.\r\n"},
	} {
		if got := string(SpoolForm([]byte(tt.in))); got != tt.spool {
			t.Errorf("%q: spool form %q, want %q", tt.in, got, tt.spool)
		}
		if got := string(WireForm([]byte(tt.in))); got != tt.wire {
			t.Errorf("%q: wire form %q, want %q", tt.in, got, tt.wire)
		}
	}
	for _, tt := range []struct{ got, want, unfolded string }{
		{"aa\n bb\n", "aa bb\n", "aa bb\n"},
		{"aa\n bb\n", "aabb\n", "aabb\n"},
		{"aa\n bb\n", "aa\n bb\n", "aa\n bb\n"},
		{"aa\nbb\n", "aabb\n", "aa\nbb\n"},
		{"aa\n", "aabb", "aa\n"},
	} {
		if got := string(Unfold([]byte(tt.got), []byte(tt.want))); got != tt.unfolded {
			t.Errorf("%q for %q: %q, want %q", tt.got, tt.want, got, tt.unfolded)
		}
	}
}

// A sink keeps every message of the collection octet for octet.
func TestSinkKeepsMessages(t *testing.T) {
	for _, m := range Messages() {
		if m.Size > 2<<20 {
			continue
		}
		octets := m.Octets()
		wire := WireForm(octets)
		msg := SinkMessage{Wire: wire}
		want := SpoolForm(octets)
		if got := strings.ReplaceAll(msg.Text(), "\r", " "); got != string(want) {
			t.Errorf("%s: %d octets, want %d", m.Name, len(got), len(want))
		}
		if bytes.Count(wire, []byte("\n.\r\n")) != 1 && len(wire) > 3 {
			t.Errorf("%s: has more than one end", m.Name)
		}
	}
}
