package deliver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/testenv"
)

// TestLoop has what a header says of the message's way.
func TestLoop(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		name, in  string
		received  int
		delivered []string
	}{
		{"nothing", "", 0, nil},
		{"in whatever case", "Received: a\nRECEIVED : b\nreceived:c\n d\n\nReceived: e\n", 3, nil},
		{"names that begin alike", "Received-SPF: a\nX-Received: b\nReceive: c\n\n", 0, nil},
		{"delivered before", "Delivered-To: A@Us.example \nX: y\nDelivered-To:\n b@us.example\nDelivered-To: a@us.example\n\n", 0, []string{"a@us.example", "b@us.example"}},
		{"a folded line is no field", "X: y\n Received: a\n\tDelivered-To: a@us.example\n\n", 0, nil},
		{"the header ends at what is no field", "Received: a\njunk\nReceived: b\n", 1, nil},
		{"a field longer than the buffer", "Received: " + strings.Repeat(long, 5) + "\nReceived: b\n\n", 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, l := range []*loop{readLoop(strings.NewReader(tt.in)), readLoop(iotest.DataErrReader(strings.NewReader(tt.in)))} {
				if diff := cmp.Diff(tt.delivered, slices.Sorted(maps.Keys(l.deliveredTo)), cmp.Transformer("nil", func(s []string) string { return strings.Join(s, " ") })); l.received != tt.received || diff != "" {
					t.Errorf("%.60q: %d Received, want %d; Delivered-To (-want +got):\n%s", tt.in, l.received, tt.received, diff)
				}
			}
		})
	}
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, "Delivered-To: u%d@us.example\n", i)
	}
	if n := len(readLoop(strings.NewReader(many.String())).deliveredTo); n != maxDeliveredTo {
		t.Errorf("%d Delivered-To fields are remembered, want %d", n, maxDeliveredTo)
	}
}

// A59: whoever forges Delivered-To, and our own Received fields too, gets no report
// sent to anybody but postmaster, whatever aliases lead to the mailbox. A message of
// this machine is reported to its sender, and so is a stranger's whose next hop is
// this machine.
func TestLoopReports(t *testing.T) {
	const here = "Received: from far.example ([192.0.2.7])\n\tby us.example (postoffice) with ESMTP id X; Tue, 24 Nov 2026 12:00:00 +0000\n"
	zone := testenv.NewDNS(t, "back.example. 60 IN MX 10 us.example.")
	const forged = "Delivered-To: alice@us.example\nSubject: x\n\nbody\n"
	for _, tt := range []struct {
		name, client, to, text string
		postmaster             bool
	}{
		{"a stranger's", "far.example[192.0.2.7]:4000", "alice@us.example", here + forged, true},
		{"one that says it was here before", "far.example[192.0.2.7]:4000", "alice@us.example", here + here + forged, true},
		{"the same by an alias", "far.example[192.0.2.7]:4000", "team@us.example", here + here + forged, true},
		{"too many hosts", "far.example[192.0.2.7]:4000", "alice@us.example", strings.Repeat(here, 101) + "\nbody\n", true},
		{"of this machine", "carol[uid 2001]", "alice@us.example", here + forged, false},
		{"whose next hop is this machine", "far.example[192.0.2.7]:4000", "x@back.example", here + "\nbody\n", false},
	} {
		r := newRig(t)
		r.alias("team: alice\n")
		r.dns(zone.Addr())
		r.client = tt.client
		r.mailText(tt.text, r.now(), "carol@us.example", tt.to)
		r.pass()
		r.want()
		told := map[bool]string{true: "root", false: "carol"} // root is postmaster
		r.wantBox(told[tt.postmaster], 1)
		r.wantBox(told[!tt.postmaster], 0)
		r.wantBox("alice", 0)
	}
}

// A loop that the next server finds is told to the sender, as two servers whose
// users forward to each other have it.
func TestLoopElsewhere(t *testing.T) {
	r := newRig(t)
	r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		return testenv.Action{Reply: map[string]string{".": "554 5.4.6 message was delivered here before, it is looping"}[ev.Verb]}
	}})
	r.mailer.forwards = map[string]string{"alice": "alice@[192.0.2.1]"}
	r.client = "one.example[192.0.2.1]:4000"
	r.mail("carol@us.example", "alice@us.example")
	r.pass()
	r.want()
	r.wantBox("carol", 1)
	r.wantBox("root", 0)
}
