package deliver

import (
	"testing"

	"postoffice/internal/testenv"
)

// TestForwardLoopEnds: a message that a .forward sent to another server, and
// that comes back for the same user, goes no second time. Whoever it was sent to
// without a .forward sees nothing of that.
func TestForwardLoopEnds(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	reports := r.peer("192.0.2.2", &testenv.Sink{})
	r.mailer.forwards = map[string]string{
		"alice": "alice@[192.0.2.1]\n", "bob": "carol\n", "carol": "carol@[192.0.2.1], \\carol\n", "root": "direct@[192.0.2.1]\n",
	}
	r.mail("s@[192.0.2.2]", "alice@us.example", "bob", "direct@[192.0.2.1]", "root")
	r.pass()
	r.want()
	r.wantBox("carol", 1)
	came := map[string][]string{}
	for _, m := range sink.Messages() {
		for _, to := range m.To() {
			came[to] = append(came[to], m.Text())
		}
	}
	for to, want := range map[string]string{
		"alice": "Delivered-To: alice@us.example\n" + plain, "carol": "Delivered-To: carol@us.example\nDelivered-To: bob@us.example\n" + plain, "direct": plain,
	} {
		got := came[to+"@[192.0.2.1]"]
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s got %q, want\n%q", to, got, want)
			continue
		}
		text := got[0]
		if to != "direct" {
			r.mailText(text, r.now(), "s@[192.0.2.2]", to+"@us.example")
		}
	}
	before := len(sink.Messages())
	r.pass()
	r.want()
	r.wantBox("carol", 1)
	r.wantLog("message bounced", "to=<alice@us.example>", "5.4.6", "goes round in a loop")
	r.wantLog("message bounced", "to=<carol@us.example>", "5.4.6", "goes round in a loop")
	if n := len(sink.Messages()); n != before {
		t.Errorf("it went out again: %v", sink.Messages()[before:])
	}
	if n := len(reports.Messages()); n != 2 {
		t.Errorf("%d reports, want 2", n)
	}
}
