// The other implementation compiles for 64 bits alone.

//go:build !386 && !arm && !mips && !mipsle

package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gomilter "github.com/d--j/go-milter"
	"github.com/d--j/go-milter/mailfilter"
	"github.com/google/go-cmp/cmp"

	"postoffice/internal/smtp"
)

// A peer is a filter on another implementation of the protocol, which answers Continue
// but at one step.
type peer struct {
	gomilter.NoOpMilter
	at     Step
	answer *gomilter.Response
	edit   func(m gomilter.Modifier) error
	heard  *[]string // what it was told
}

func (p *peer) step(s Step, format string, args ...any) (*gomilter.Response, error) {
	*p.heard = append(*p.heard, fmt.Sprintf(s.String()+": "+format, args...))
	if s == p.at {
		return p.answer, nil
	}
	return gomilter.RespContinue, nil
}

func (p *peer) Connect(host, family string, port uint16, addr string, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtConnect, "%s %s %d %s j=%s", host, family, port, addr, m.Get("j"))
}
func (p *peer) Helo(name string, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtHelo, "%s", name)
}
func (p *peer) MailFrom(from, args string, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtMail, "%s %s {mail_addr}=%s", from, args, m.Get("{mail_addr}"))
}
func (p *peer) RcptTo(to, args string, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtRcpt, "%s %s", to, args)
}
func (p *peer) Data(m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtData, "i=%s", m.Get("i"))
}
func (p *peer) Header(name, value string, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtHeader, "%s|%s", name, value)
}
func (p *peer) Headers(m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtEndOfHeader, "")
}
func (p *peer) BodyChunk(chunk []byte, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtBody, "%d %q", len(chunk), chunk[:min(len(chunk), 12)])
}
func (p *peer) Unknown(cmd string, m gomilter.Modifier) (*gomilter.Response, error) {
	return p.step(AtUnknown, "%s", cmd)
}
func (p *peer) Abort(gomilter.Modifier) error {
	*p.heard = append(*p.heard, "abort")
	return nil
}
func (p *peer) EndOfMessage(m gomilter.Modifier) (*gomilter.Response, error) {
	if p.edit != nil {
		if err := p.edit(m); err != nil {
			return nil, err
		}
	}
	return p.step(AtEnd, "")
}

// serve runs the filter p on a socket of its own for one conversation.
func serve(t *testing.T, p *peer, talk func(c *Conn), more ...gomilter.Option) {
	t.Helper()
	gomilter.LogWarning = t.Logf
	p.heard = new([]string)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := gomilter.NewServer(append([]gomilter.Option{gomilter.WithMilter(func() gomilter.Milter { return p }),
		gomilter.WithActions(gomilter.AllClientSupportedActionMasks), gomilter.WithProtocol(gomilter.OptSkip)}, more...)...)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c, err := Dial(t.Context(), Options{Network: "unix", Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	talk(c)
	c.Quit()
	// Shutdown waits for the filter to have read all that it was told.
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPeerMatrix: each answer at each step on d--j/go-milter's server, another
// implementation of the protocol. What has no place at a step is an error.
func TestPeerMatrix(t *testing.T) {
	words, err := gomilter.RejectWithCodeAndReason(471, "4.7.8 a 100% %s\r\nlast")
	if err != nil {
		t.Fatal(err)
	}
	cells, refused := 0, 0
	for s := range AtUnknown + 1 {
		for _, a := range []struct {
			code   string
			answer *gomilter.Response
			want   Verdict
		}{
			{"c", gomilter.RespContinue, Verdict{}},
			{"a", gomilter.RespAccept, Verdict{Action: Accept}},
			{"r", gomilter.RespReject, Verdict{Action: Reject}},
			{"t", gomilter.RespTempFail, Verdict{Action: Tempfail}},
			{"y", words, Verdict{ReplyCode, smtp.Reply{Code: 471, Status: "4.7.8", Text: "a 100% %s\nlast"}}},
			{"d", gomilter.RespDiscard, Verdict{Action: Discard}},
			{"s", gomilter.RespSkip, Verdict{Action: Skip}},
		} {
			cells++
			name := fmt.Sprintf("%v at %v", a.want.Action, s)
			if s == AtEnd && (a.code == "c" || a.code == "s") {
				a.code, a.want = "a", Verdict{Action: Accept} // it says so itself
			}
			serve(t, &peer{at: s, answer: a.answer}, func(c *Conn) {
				v, err := tellOf(c, s)
				if strings.Contains(table[s].answers, a.code) {
					if v != a.want || err != nil {
						t.Errorf("%s: %+v, %v", name, v, err)
					}
					return
				}
				refused++
				if err == nil {
					t.Errorf("%s: %+v, want an error", name, v)
				}
			})
		}
	}
	t.Logf("%d cells, %d of them refused", cells, refused)
}

// tellOf tells of a session up to a step, and returns the verdict at that.
func tellOf(c *Conn, at Step) (v Verdict, err error) {
	for _, tell := range session(c, &v, &err)[:at+1] {
		if tell(); err != nil {
			return v, err
		}
	}
	return v, err
}

// session has for each step what tells of it.
func session(c *Conn, v *Verdict, err *error) []func() {
	return []func(){
		AtConnect: func() {
			*v, *err = c.Connect(Client{Name: "c.example", Addr: netip.MustParseAddrPort("[2001:db8::1]:1025")}, macros)
		},
		AtHelo:        func() { *v, *err = c.Helo("c.example", macros) },
		AtMail:        func() { *v, *err = c.Mail("<a@c.example>", []string{"SIZE=10", "BODY=8BITMIME"}, macros) },
		AtRcpt:        func() { *v, *err = c.Rcpt("<b@us.example>", []string{"NOTIFY=NEVER"}, macros) },
		AtData:        func() { *v, *err = c.Data(macros) },
		AtHeader:      func() { *v, *err = c.Header("Subject", " hello\n\tthere") },
		AtEndOfHeader: func() { *v, *err = c.EndOfHeader(macros) },
		AtBody:        func() { *v, *err = c.Body([]byte("one\ntwo\n")) },
		AtEnd: func() {
			var r Result
			r, *err = c.End(macros, io.Discard)
			*v = r.Verdict
		},
		AtUnknown: func() { *v, *err = c.Unknown("XYZZY plugh") },
	}
}

// TestPeerSession: the other implementation hears what was told, at versions 2 to 6.
func TestPeerSession(t *testing.T) {
	want := []string{"connect: c.example tcp6 1025 2001:db8::1 j=us.example", "helo: c.example", "mail: a@c.example SIZE=10 BODY=8BITMIME {mail_addr}=a@c.example",
		"rcpt: b@us.example NOTIFY=NEVER", "data: i=3XK9", "header: Subject|hello\n\tthere", "end of header: ", `body: 10 "one\r\ntwo\r\n"`, "end of message: ",
		"unknown command: XYZZY plugh", "abort"}
	for version := uint32(2); version <= 6; version++ {
		p := &peer{at: AtUnknown, answer: gomilter.RespContinue}
		old := gomilter.WithNegotiationCallback(func(mta, _ uint32, offered, actions gomilter.OptAction, _, _ gomilter.OptProtocol, size gomilter.DataSize) (uint32, gomilter.OptAction, gomilter.OptProtocol, gomilter.DataSize, error) {
			return min(mta, version), offered & actions, 0, size, nil
		})
		serve(t, p, func(c *Conn) {
			if c.Terms().Version != int(version) {
				t.Errorf("version %d, want %d", c.Terms().Version, version)
			}
			if _, err := tellOf(c, AtUnknown); err != nil {
				t.Errorf("version %d: %v", version, err)
			}
			c.Mail("<>", nil, nil)
			c.Abort()
			if c.QuitNew() != (version == 6) {
				t.Errorf("version %d: QuitNew", version)
			}
		}, old)
		heard := slices.DeleteFunc(slices.Clone(want), func(s string) bool {
			return version < 4 && strings.HasPrefix(s, "data") || version < 3 && strings.HasPrefix(s, "unknown")
		})
		got := slices.DeleteFunc(*p.heard, func(s string) bool { return strings.HasPrefix(s, "mail:  ") })
		// It tells itself of an abort where a message comes behind another one.
		if got = slices.Compact(got); !cmp.Equal(got, heard) {
			t.Errorf("version %d: %s", version, cmp.Diff(heard, got))
		}
	}
}

// TestPeerEdits: each edit that the other implementation has.
func TestPeerEdits(t *testing.T) {
	long := strings.Repeat("a line of a body\r\n", 20_000)
	p := &peer{at: AtEnd, answer: gomilter.RespAccept, edit: func(m gomilter.Modifier) error {
		return errors.Join(
			m.AddHeader("X-Add", "one\n two"), m.InsertHeader(3, "X-Insert", "three"), m.ChangeHeader(2, "Subject", "four"), m.ChangeHeader(1, "Subject", ""),
			m.Progress(), m.AddRecipient("<c@us.example>", ""), m.AddRecipient("<d@us.example>", "NOTIFY=NEVER"), m.DeleteRecipient("<b@us.example>"),
			m.ChangeFrom("<e@us.example>", "RET=HDRS"), m.ReplaceBody(strings.NewReader(long)), m.Quarantine("why\nnot"))
	}}
	serve(t, p, func(c *Conn) {
		if _, err := tellOf(c, AtBody); err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		r, err := c.End(nil, &body)
		want := Result{Verdict: Verdict{Action: Accept}, Edits: []Edit{
			{Kind: AddHeader, Name: "X-Add", Value: " one\n two"}, {Kind: InsertHeader, Index: 3, Name: "X-Insert", Value: " three"},
			{Kind: ChangeHeader, Index: 2, Name: "Subject", Value: " four"}, {Kind: DeleteHeader, Index: 1, Name: "Subject"},
			{Kind: AddRcpt, Path: path("c", "us.example")},
			{Kind: AddRcpt, Path: path("d", "us.example"), Params: []smtp.Param{{Name: "NOTIFY", Value: "NEVER"}}},
			{Kind: DeleteRcpt, Path: path("b", "us.example")},
			{Kind: ChangeFrom, Path: path("e", "us.example"), Params: []smtp.Param{{Name: "RET", Value: "HDRS"}}},
			{Kind: ReplaceBody}, {Kind: Quarantine, Value: "why not"}}}
		if err != nil || !cmp.Equal(r, want) {
			t.Errorf("%v %s", err, cmp.Diff(want, r))
		}
		if body.String() != strings.ReplaceAll(long, "\r\n", "\n") {
			t.Errorf("a body of %d octets", body.Len())
		}
	})
}

// TestMailfilter: a filter on d--j/go-milter's mailfilter package, which asks for macros
// of its own and computes edits from what it was told.
func TestMailfilter(t *testing.T) {
	gomilter.LogWarning = t.Logf
	seen := ""
	socket := filepath.Join(t.TempDir(), "s")
	filter, err := mailfilter.New("unix", socket, func(_ context.Context, trx mailfilter.Trx) (mailfilter.Decision, error) {
		subject, _ := trx.Headers().Text("Subject")
		body, err := io.ReadAll(trx.Body())
		seen = fmt.Sprintf("%s %s %s %s %q %q %v", trx.QueueId(), trx.MTA().FQDN, trx.MailFrom().Addr, trx.RcptTos()[0].Addr, subject, body, err)
		trx.ChangeMailFrom("new@us.example", "")
		trx.AddRcptTo("c@us.example", "")
		trx.DelRcptTo("b@us.example")
		trx.Headers().SetText("Subject", "bye")
		trx.Headers().Add("X-New", "x")
		trx.ReplaceBody(strings.NewReader("another\n"))
		return mailfilter.QuarantineResponse("spam"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer filter.Close()
	c, err := Dial(t.Context(), Options{Network: "unix", Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := tellOf(c, AtBody); err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	r, err := c.End(macros, &body)
	if err != nil || r.Verdict.Action != Accept || len(r.Refused) > 0 || body.String() != "another\n" {
		t.Errorf("%+v, %v, %q", r, err, body.String())
	}
	if want := `3XK9 us.example a@c.example b@us.example " hello there" "one\r\ntwo\r\n" <nil>`; seen != want {
		t.Errorf("it saw %s, want %s", seen, want)
	}
	kinds := map[Kind]int{}
	for _, e := range r.Edits {
		kinds[e.Kind]++
	}
	if want := map[Kind]int{ChangeFrom: 1, AddRcpt: 1, DeleteRcpt: 1, ChangeHeader: 1, InsertHeader: 1, ReplaceBody: 1, Quarantine: 1}; !cmp.Equal(kinds, want) {
		t.Errorf("%+v: %s", r.Edits, cmp.Diff(want, kinds))
	}
	c.Quit()
}
