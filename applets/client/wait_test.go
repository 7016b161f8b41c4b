package client

import (
	"slices"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/internal/smtp"
)

// TestWaitWithoutServer: a message that is kept for a later server is safe, and
// the words say so.
func TestWaitWithoutServer(t *testing.T) {
	w := &waiter{viewer: viewer{out: new(strings.Builder)}, wait: true}
	if err := w.left(nil); cmdline.ExitStatus(err) != 75 || !strings.Contains(err.(*cmdline.ExitError).Hint, "need not be sent again") {
		t.Errorf("%v, want 75 and that it need not be sent again", err)
	}
	if err := w.left(cmdline.ExitWith(75, errNoServer)); cmdline.ExitStatus(err) != 71 {
		t.Errorf("exit code %d for a message that nobody took, want 71", cmdline.ExitStatus(err))
	}
	w.wait = false
	if err := w.left(nil); err != nil {
		t.Errorf("-v: %v", err)
	}
	if err := (*waiter)(nil).left(nil); err != nil {
		t.Error(err)
	}
}

// TestWaitForSeveral: a message that became several is over when all of them are,
// and an outcome of any is a recipient's.
func TestWaitForSeveral(t *testing.T) {
	out := new(strings.Builder)
	w := &waiter{viewer: viewer{out: out}, wait: true, ends: map[string]*control.End{}}
	w.submitted(&submitted{
		ids: queueIDs("queued as A\nand as B"),
		to:  []smtp.Path{{Local: "joe"}, {Local: "Ann", Domain: "x.example"}, {Local: "bob", Domain: "x.example"}},
	})
	outcome := func(id, to string) control.Event {
		return control.Event{ID: id, Outcome: &control.Outcome{Original: to, Status: "sent"}}
	}
	w.observe([]control.Event{outcome("A", "joe@us.example"), outcome("C", "bob@x.example"), {ID: "A", End: &control.End{}}})
	if w.ended() {
		t.Error("over, although B is not")
	}
	var names []string
	for _, p := range w.unseen() {
		names = append(names, p.String())
	}
	if want := []string{"Ann@x.example", "bob@x.example"}; !slices.Equal(names, want) {
		t.Errorf("nothing has come of %q, want %q", names, want)
	}
	w.observe([]control.Event{outcome("B", "ann@x.example"), outcome("B", "bob@x.example"), {ID: "B", End: &control.End{}}})
	if err := w.verdict(false); !w.ended() || err != nil || out.Len() > 0 {
		t.Errorf("%v, over: %v\n%s", err, w.ended(), out)
	}
}
