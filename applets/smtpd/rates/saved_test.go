package rates

import (
	"maps"
	"testing"
	"time"
)

// TestSaved: who was refused logins before a restart is after it, for as long as without
// one; what would be over by then is not saved, nor what hasn't changed; and what somebody
// wrote there harms nobody.
func TestSaved(t *testing.T) {
	hour := ten()
	hour.Per = time.Hour
	var before Table
	bad, short := addr("192.0.2.7"), addr("2001:db8:1:2::7")
	for range 10 {
		before.Count(start, bad, Logins, hour)
		before.Count(start, short, Messages, ten())
	}
	saved := before.Changed(start)
	if len(saved) != 2 || saved["192.0.2.7/32"] == "" || saved["192.0.2.0/24"] == "" {
		t.Fatalf("%q", saved)
	}
	if again := before.Changed(start); len(again) > 0 {
		t.Errorf("saved twice: %q", again)
	}
	maps.Copy(saved, map[string]string{"x": "logins=9999999999", "192.0.2.9/31": "logins=1900000000", "192.0.2.9/32": "logins=x", "::1/64": "", "192.0.2.10/32": "logins=99999999999999999999"})
	var after Table
	now := start.Add(time.Minute)
	for key, value := range saved {
		after.Restore(now, key, value)
	}
	r, ok := after.Look(now, bad, Logins, hour)
	want, _ := before.Look(now, bad, Logins, hour)
	if ok || r.Wait > want.Wait || r.Wait < want.Wait-time.Second {
		t.Errorf("%v, %v, want %v", r.Wait, ok, want.Wait)
	}
	for _, a := range []string{"192.0.2.9", "192.0.2.10", "::1"} {
		if _, ok := after.Look(now, addr(a), Logins, hour); !ok {
			t.Errorf("%s is refused", a)
		}
	}
	for key, spent := range map[string]bool{"192.0.2.7/32": false, "192.0.2.9/32": true} {
		if got := after.Spent(now, key, saved[key]); got != spent {
			t.Errorf("%s is spent: %v", key, got)
		}
	}
	if !after.Spent(start.Add(2*time.Hour), "", saved["192.0.2.7/32"]) {
		t.Error("it never ends")
	}
}
