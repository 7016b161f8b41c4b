package coal

import (
	"net/netip"
	"testing"
	"time"
)

// TestSaved: a score goes on after a restart as if there had been none, and decays
// meanwhile; what is worth nothing any more is known as such; and what somebody wrote there
// keeps nobody out.
func TestSaved(t *testing.T) {
	start := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	bad, good := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	var before, after Scores
	before.Changed(start)
	before.Add(start, bad, -39, 0)
	before.Add(start, good, 50, 0)
	saved := before.Changed(start)
	if len(saved) != 2 || len(before.Changed(start)) != 0 {
		t.Fatalf("%q", saved)
	}
	now := start.Add(10 * time.Minute)
	for key, value := range saved {
		after.Restore(now, key, value)
	}
	for key, value := range map[string]string{"x": "-39 0", "192.0.2.2": "-30000 0", "192.0.2.3": "", "192.0.2.4": "-40 99999999999"} {
		after.Restore(now, key, value)
	}
	if after.Add(now, bad, -11, 0) {
		t.Error("out at 40")
	}
	if !after.Add(now, bad, -1, 0) {
		t.Error("not out below 40")
	}
	if after.Add(now, good, -80, 0) {
		t.Error("the good points are forgotten")
	}
	if after.Add(now, netip.MustParseAddr("192.0.2.2"), -40, 0) {
		t.Error("a score that can't be counts")
	}
	// From the future: the clock was set back, and it counts from now.
	if !after.Add(now, netip.MustParseAddr("192.0.2.4"), -1, 0) {
		t.Error("a score from the future counts nothing")
	}
	key := bad.String()
	if after.Spent(now, key, saved[key]) || !after.Spent(start.Add(39*time.Minute), key, saved[key]) || !after.Spent(now, key, "what") {
		t.Error("what is spent isn't known")
	}
}
