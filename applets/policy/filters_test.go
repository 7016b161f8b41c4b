package policy

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/internal/filterline"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// TestNoFilterCostsNothing: without filters the stages at which they are asked allocate
// nothing.
func TestNoFilterCostsNothing(t *testing.T) {
	s := New(world(Options{}), nil).Session(stranger())
	tx := &smtpd.Transaction{}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		s.Data(ctx, tx)
		s.Message(ctx, tx, smtpd.Message{})
		s.Aborted()
		s.Unknown(ctx, "WHAT")
		s.Close()
	}); n > 0 {
		t.Errorf("%v allocations for each message", n)
	}
}

// TestFiltersAndScan: av looks at the message as the filters leave it, what both say holds,
// and a message that a filter refuses when it has come is marked where option spam takes
// such mail (S95). Of who has logged in neither is asked with safe.
func TestFiltersAndScan(t *testing.T) {
	edit := testfilter.Reply('h', "X-Seen\x00yes\x00") + testfilter.Reply('q', "odd\x00") + testfilter.Reply('c', "")
	no := testfilter.Reply('y', "554 5.7.1 it is spam\x00")
	for _, tt := range []struct {
		name    string
		answer  string // of the filter at the message's end
		o       Options
		account string
		code    int
		words   string
		mark    smtpd.Mark
		edited  bool
		scanned string // what av sees; "": it isn't asked
	}{
		{"both let it pass", edit, Options{}, "", 0, "", smtpd.Mark{}, true, "Received: ours\nSubject: x\nX-Seen: yes\n\nhello\n"},
		{"av marks it", edit, Options{Spam: Forbidden{Take: true}}, "", 0, "", smtpd.Mark{Reason: "found"}, true, "Received: ours\nSubject: x\nX-Seen: yes\n\nhello\n"},
		{"the filter refuses", no, Options{}, "", 554, "it is spam", smtpd.Mark{}, false, ""},
		{"in other words", no, Options{Spam: Forbidden{Why: "not here"}}, "", 554, "not here", smtpd.Mark{}, false, ""},
		{"the filter refuses, and it is taken", no, Options{Spam: Forbidden{Take: true, Folder: "junk"}}, "", 0, "", smtpd.Mark{Reason: "it is spam", Folder: "junk"}, false, ""},
		{"logged in", no, Options{}, "joe", 554, "it is spam", smtpd.Mark{}, false, ""},
		{"logged in, with safe", no, Options{Safe: true}, "joe", 0, "", smtpd.Mark{}, false, ""},
	} {
		f := &testfilter.Filter{Answers: map[byte]string{'E': tt.answer}}
		lines, err := filterline.Parse(testenv.ServeFilter(t, f), func(s string) (string, bool) { return s, true })
		if err != nil {
			t.Fatal(err)
		}
		o := tt.o
		o.Log = slog.New(slog.DiscardHandler)
		o.Filters = filters.New(filters.Options{Filters: lines, Hostname: "us.example", Log: o.Log}, nil)
		scanned := ""
		o.Scan = func(_ context.Context, _ *smtpd.Client, _ string, r io.Reader) (bool, string, error) {
			b, err := io.ReadAll(r)
			scanned = string(b)
			return tt.mark.Reason == "found", "found", err
		}
		client := smtpd.Client{Kind: smtpd.Relay, Addr: netip.MustParseAddrPort("192.0.2.7:1"), Server: netip.MustParseAddrPort("192.0.2.1:25"), Account: tt.account}
		c := New(o, nil).Session(&client)
		tx := &smtpd.Transaction{Client: &client, ReversePath: smtp.Path{Local: "joe", Domain: "far.example"}}
		// Checks of ours have nothing to do with it.
		s := c.(*session)
		for _, v := range []smtpd.Verdict{s.filtersConnect(t.Context(), asked{}), s.filtersMail(t.Context(), asked{tx: tx}), s.filtersData(t.Context(), asked{tx: tx})} {
			if !v.Accepted() {
				t.Errorf("%s: %+v", tt.name, v)
			}
		}
		text := "Received: ours\nSubject: x\n\nhello\n"
		v := c.Message(t.Context(), tx, smtpd.NewMessage(strings.NewReader(text), int64(len(text)), len("Received: ours\n"), nil))
		if v.Reply.Code != tt.code || !strings.Contains(v.Reply.Text, tt.words) || v.Mark != tt.mark || v.Edits.Any() != tt.edited || scanned != tt.scanned {
			t.Errorf("%s: %+v, av saw %q", tt.name, v, scanned)
		}
		if hold := "filter "; tt.edited && !strings.HasPrefix(v.Hold, hold) {
			t.Errorf("%s: held %q", tt.name, v.Hold)
		}
		c.Close()
	}
}

// TestRemembered: what a filter refuses before the message comes is taken where option spam
// takes such mail, and marked, with accept as with folder (B34): a message for its own
// commands, all of them for HELO.
func TestRemembered(t *testing.T) {
	no := testfilter.Reply('y', "550 5.7.1 spammers\x00")
	for at, want := range map[byte][2]string{'H': {"spammers", "spammers"}, 'M': {"spammers", ""}, 'R': {"spammers", ""}, 'T': {"spammers", ""}, 'B': {"spammers", ""}, 'Q': {"", ""}} {
		for _, spam := range []Forbidden{{}, {Take: true}, {Take: true, Folder: "junk"}} {
			first := true
			f := &testfilter.Filter{Answer: func(p testfilter.Packet) (string, bool) {
				if p.Command == at && first {
					first = at == 'H'
					return no, true
				}
				return "", false
			}}
			lines, err := filterline.Parse(testenv.ServeFilter(t, f), func(s string) (string, bool) { return s, true })
			testenv.Must(t, err)
			o := Options{Log: slog.New(slog.DiscardHandler), Spam: spam}
			o.Filters = filters.New(filters.Options{Filters: lines, Hostname: "us.example", Log: o.Log}, nil)
			client := smtpd.Client{Kind: smtpd.Relay, Hello: "c.example", Addr: netip.MustParseAddrPort("192.0.2.7:1"), Server: netip.MustParseAddrPort("192.0.2.1:25")}
			s := New(o, nil).Session(&client).(*session)
			refused := false
			note := func(v smtpd.Verdict) smtpd.Verdict {
				refused = refused || !v.Accepted()
				return v
			}
			note(s.filtersConnect(t.Context(), asked{}))
			note(s.filtersHelo(t.Context(), asked{}))
			for i := range want {
				to := smtp.Path{Local: "bob", Domain: "us.example"}
				tx := &smtpd.Transaction{Client: &client, ReversePath: smtp.Path{Local: "joe", Domain: "far.example"}, Recipients: []smtp.Recipient{{Path: to}}}
				note(s.filtersMail(t.Context(), asked{tx: tx}))
				note(s.filtersRcpt(t.Context(), asked{tx: tx, path: to}))
				note(s.filtersData(t.Context(), asked{tx: tx}))
				text := "Subject: x\n\nhello\n"
				v := note(s.filtersMessage(t.Context(), asked{tx: tx, message: smtpd.NewMessage(strings.NewReader(text), int64(len(text)), 0, nil)}))
				if mark := (smtpd.Mark{Reason: want[i], Folder: spam.Folder}); spam.Take && (v.Mark.Reason != want[i] || want[i] != "" && v.Mark != mark) {
					t.Errorf("%c, %+v: message %d is marked %+v", at, spam, i, v.Mark)
				}
				if !spam.Take {
					break
				}
			}
			if refused != (!spam.Take && at != 'Q') {
				t.Errorf("%c, %+v: refused %v", at, spam, refused)
			}
			s.Close()
		}
	}
}
