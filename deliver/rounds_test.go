package deliver

import (
	"fmt"
	"strings"
	"testing"

	"postoffice/deliver/local"
	"postoffice/spool/envelope"
)

// TestRoundOneSync: all that settles in one round is recorded with one sync,
// however many recipients it is about.
func TestRoundOneSync(t *testing.T) {
	r := newRig(t)
	var broken, mended strings.Builder
	to := []string{"alice", "bob"}
	for i := range 8 {
		name := fmt.Sprintf("p%d", i)
		to = append(to, name)
		fmt.Fprintf(&broken, "%s: \"unbalanced\n", name)
		fmt.Fprintf(&mended, "%s: \\alice\n", name)
	}
	r.alias(broken.String())
	r.mailer.answer = func(user string) (local.Result, bool) { return later("locked"), user == "bob" }
	id := r.mail("s@x.example", to...)
	r.pass()
	r.alias(mended.String())
	before := r.syncs.Load()
	r.pass()
	if n := r.syncs.Load() - before; n != 1+8*2+1 { // the claim, a block and its octet for each alias, and all of alice's at once
		t.Errorf("%d syncs for 8 expansions and one round, want 18\n%s", n, r.log)
	}
	pending := 0
	for _, rc := range r.snapshot(id).Recipients {
		if rc.State == envelope.Pending {
			pending++
		}
	}
	if pending != 1 {
		t.Errorf("%d pending, want bob alone", pending)
	}
	r.wantBox("alice", 1)
}
