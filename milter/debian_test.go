//go:build e2e

package milter

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// start runs a filter of testdata until the test ends, and returns its socket once it
// can be reached.
func start(t *testing.T, program ...string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(program[0], append(program[1:], socket)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	testenv.Must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", program, out.String())
		}
	})
	if !testenv.Eventually(func() bool {
		c, err := Dial(t.Context(), Options{Network: "unix", Address: socket})
		if err != nil {
			return false
		}
		c.Quit()
		return true
	}) {
		t.Fatalf("%s: %s", program, out.String())
	}
	return socket
}

// tellOn says that a client of this name has come, and tells of a message up to a step.
func tellOn(t *testing.T, socket, name string, at Step) (c *Conn, v Verdict, err error) {
	t.Helper()
	c, err = Dial(t.Context(), Options{Network: "unix", Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	v, err = c.Connect(Client{Name: name, Addr: netip.MustParseAddrPort("192.0.2.1:1025")}, macros)
	for _, tell := range session(c, &v, &err)[1 : at+1] {
		if err == nil && v.Action == Continue {
			tell()
		}
	}
	return c, v, err
}

// matrix asks for each answer at each step, and then for a second message on the same
// connection, where the first verdict leaves one.
func matrix(t *testing.T, socket string, steps []Step, answers string, reply smtp.Reply) {
	cells, refused := 0, 0
	for _, s := range steps {
		for answer := range strings.FieldsSeq(answers) {
			cells++
			name := answer + ".at." + strings.ReplaceAll(s.String(), " ", "-")
			want := map[string]struct {
				code string
				v    Verdict
			}{
				"continue": {"c", Verdict{}}, "accept": {"a", Verdict{Action: Accept}}, "reject": {"r", Verdict{Action: Reject}},
				"tempfail": {"t", Verdict{Action: Tempfail}}, "reply": {"y", Verdict{ReplyCode, reply}},
				"discard": {"d", Verdict{Action: Discard}}, "skip": {"s", Verdict{Action: Skip}},
			}[answer]
			c, v, err := tellOn(t, socket, name, s)
			switch {
			case !strings.Contains(table[s].answers, want.code):
				if refused++; err == nil {
					t.Errorf("%s: %+v, want an error", name, v)
				}
			case v != want.v || err != nil:
				t.Errorf("%s: %+v, %v", name, v, err)
			case s.ofMessage():
				if err := c.Abort(); err != nil {
					t.Errorf("%s: abort: %v", name, err)
				}
				if v, err := c.Mail("<>", nil, macros); err != nil || v.Action != Continue && s != AtMail {
					t.Errorf("%s: then MAIL gives %+v, %v", name, v, err)
				}
			}
			c.Quit()
		}
	}
	t.Logf("%d cells, %d of them refused", cells, refused)
}

// edits asks for all edits at the end of a message.
func edits(t *testing.T, socket string, want []Edit) {
	c, _, err := tellOn(t, socket, "edits.at.end-of-message", AtBody)
	defer c.Quit()
	var body strings.Builder
	r, ended := c.End(macros, &body)
	if err != nil || ended != nil || !cmp.Equal(r, Result{Verdict: Verdict{Action: Accept}, Edits: want}) {
		t.Errorf("%v, %v %s", err, ended, cmp.Diff(want, r.Edits)+fmt.Sprint(r.Verdict, r.Refused))
	}
	if body.String() != strings.Repeat("a line of a body\n", 20_000) {
		t.Errorf("a body of %d octets", body.Len())
	}
}

// TestLibmilter: each answer at each step, and each edit, of a filter on libmilter.
func TestLibmilter(t *testing.T) {
	socket := start(t, "/usr/bin/python3", "testdata/filter.py")
	var all []Step
	for s := range AtUnknown + 1 {
		all = append(all, s)
	}
	matrix(t, socket, all, "continue accept reject tempfail reply discard skip", smtp.Reply{Code: 471, Status: "4.7.8", Text: "a 100% %s\nlast"})
	edits(t, socket, []Edit{
		{Kind: AddHeader, Name: "X-Add", Value: " one\n two 3XK9"}, {Kind: InsertHeader, Index: 3, Name: "X-Insert", Value: " three"},
		{Kind: ChangeHeader, Index: 2, Name: "Subject", Value: " four"}, {Kind: DeleteHeader, Index: 1, Name: "Subject"},
		{Kind: AddRcpt, Path: path("c", "us.example")},
		{Kind: AddRcpt, Path: path("d", "us.example"), Params: []smtp.Param{{Name: "NOTIFY", Value: "NEVER"}}},
		{Kind: DeleteRcpt, Path: path("b", "us.example")},
		{Kind: ChangeFrom, Path: path("e", "us.example"), Params: []smtp.Param{{Name: "RET", Value: "HDRS"}}},
		{Kind: ReplaceBody}, {Kind: Quarantine, Value: "why"},
	})
}

// TestPMilter: the same of a filter on Sendmail::PMilter, at version 2.
func TestPMilter(t *testing.T) {
	socket := start(t, "perl", "testdata/filter.pl")
	matrix(t, socket, []Step{AtConnect, AtHelo, AtMail, AtRcpt, AtHeader, AtEndOfHeader, AtBody, AtEnd},
		"continue accept reject tempfail reply discard", smtp.Reply{Code: 471, Status: "4.7.8", Text: "a 100% %s"})
	edits(t, socket, []Edit{
		{Kind: AddHeader, Name: "X-Add", Value: " one\n two 3XK9"},
		{Kind: ChangeHeader, Index: 2, Name: "Subject", Value: " four"}, {Kind: DeleteHeader, Index: 1, Name: "Subject"},
		{Kind: AddRcpt, Path: path("c", "us.example")}, {Kind: DeleteRcpt, Path: path("b", "us.example")},
		{Kind: ReplaceBody}, {Kind: Quarantine, Value: "why"},
	})
}
