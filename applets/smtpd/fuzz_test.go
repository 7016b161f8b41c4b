package smtpd

import (
	"context"
	"io"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// fuzzTail comes behind what a fuzzer sends: it ends a line and a message, and
// then asks what only one reply answers.
const fuzzTail = "\r\n.\r\nHELP NOOP\r\nHELP RCPT\r\nQUIT\r\n"

// FuzzSession sends octets as commands and data. Whatever they are, replies are
// well-formed printable ASCII, each command behind them gets its own one reply
// or the session has ended, and what is stored holds no CR and begins with our
// trace field.
func FuzzSession(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\nSubject: x\r\n\r\nb\r\n.\r\n", false, false)
	f.Add("EHLO x\r\nMAIL FROM:<\x80@b>\r\nRCPT TO:<\"a b\"@us.example>\r\nDATA\r\n x", true, true)
	f.Add("HELO x\nMAIL FROM:<a>\nRCPT TO:<bob> SIZE=1\nDATA\n\n.\n.\r\n", false, true)
	f.Add("NOOP "+strings.Repeat("a", 3000)+"\r\nHELP\r\nEHLO \x1b\xff(\r\nVRFY x", true, false)
	f.Add("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob>\r\nDATA\r\n\r\n.\r\r\n.\n\r\n..\r\n", false, false)
	f.Fuzz(func(t *testing.T, in string, strict, program bool) {
		if strings.Contains(strings.ToUpper(in), "BDAT") {
			return // a chunk may take in the tail: FuzzBDAT
		}
		q := &memQueue{}
		o := options(q)
		o.RejectBareNewline = strict
		o.Timeout = 10 * time.Second
		kind := Relay
		if program {
			kind = Local
		}
		replies := exchange(t, New(o), kind, in+fuzzTail)
		checkReplies(t, in, replies)
		for _, m := range q.messages() {
			if strings.Contains(m.Data, "\r") || !strings.HasPrefix(m.Data, "Received: from ") || strings.Count(m.Data, "\nReceived: from ") > strings.Count(in, "eceived: from ") {
				t.Errorf("sent %q, stored %q", in, m.Data)
			}
		}
		if q.unfinished() > 0 {
			t.Errorf("sent %q: %d messages left open", in, q.unfinished())
		}
	})
}

// exchange sends text as a session and returns all that came back.
func exchange(t *testing.T, s *Server, k Kind, text string) string {
	conn, end := peerOf(s, k, strangerAddr)
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(conn)
		read <- string(all)
	}()
	io.WriteString(conn, text) // the session may end before
	all := <-read
	conn.Close()
	<-end
	return all
}

// replyLines reads a session's replies: code and text of the last line of each. open is
// the code of one whose last line did not come.
func replyLines(t *testing.T, in, all string) (replies []string, open string) {
	t.Helper()
	for line := range strings.SplitAfterSeq(all, "\r\n") {
		if line == "" {
			continue
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(line) > 512 || len(text) < 4 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("sent %q: bad line %q", in, line)
		}
		code, sep := text[:3], text[3]
		if n, err := strconv.Atoi(code); err != nil || n < 200 || n > 599 || sep != ' ' && sep != '-' || open != "" && open != code {
			t.Fatalf("sent %q: bad line %q", in, line)
		}
		if open = code; sep == ' ' {
			replies = append(replies, text)
			open = ""
		}
	}
	return replies, open
}

// checkReplies reads a session's replies.
func checkReplies(t *testing.T, in, all string) {
	replies, open := replyLines(t, in, all)
	n := len(replies)
	if open != "" || n < 2 {
		t.Fatalf("sent %q: replies end in the middle: %q", in, all)
	}
	switch last := replies[n-1]; {
	case strings.HasPrefix(last, "421 4.4.2"):
		t.Fatalf("sent %q: the server waited for more: %q", in, replies)
	case strings.HasPrefix(last, "421 "):
	case !strings.HasPrefix(last, "221 "):
		t.Fatalf("sent %q: the end is %q", in, last)
	case strings.Contains(strings.ToUpper(in), "QUIT"): // it may have come early
	case n < 3 || replies[n-3] != "214 2.0.0 NOOP [text]" || replies[n-2] != "214 2.0.0 RCPT TO:<address>":
		t.Fatalf("sent %q: out of step: %q", in, replies)
	}
}

// FuzzHeader writes a message in two pieces. The cut makes no difference;
// what a stranger sent is all there behind our trace field but Return-Path, and what says Authentication-Results in our name;
// what a program sent has all fields that a message must have.
func FuzzHeader(f *testing.F) {
	f.Add("Return-Path: x\n y\nTo: a\nFrom: \"b\" <c>\n\nbody", 20)
	f.Add(" X: y\n", 1)
	f.Add("a b: c\n", 2)
	f.Add("Date: x\nMessage-ID: y\nFrom:\njunk\n", 5)
	f.Fuzz(func(t *testing.T, in string, cut int) {
		if strings.Contains(in, "\r") {
			return // ReadData leaves none
		}
		if in != "" && in[len(in)-1] != '\n' {
			in += "\n" // nor such a message
		}
		cut = max(0, min(cut, len(in)))
		for _, local := range []bool{false, true} {
			whole, pieces := filter(t, local, in), filter(t, local, in[:cut], in[cut:])
			if whole != pieces {
				t.Fatalf("%q in one piece gives\n%q, cut at %d\n%q", in, whole, cut, pieces)
			}
			if local {
				head, _, _ := strings.Cut("\n"+whole, "\n\n")
				for _, name := range []string{"\nfrom", "\ndate", "\nmessage-id"} {
					if !strings.Contains(strings.ToLower(head), name) {
						t.Errorf("%q gives %q, without %q", in, whole, name)
					}
				}
				continue
			}
			low := strings.ToLower(in)
			if !strings.Contains(low, "return-path") && !strings.Contains(low, "authentication-results") && whole != in && whole != "\n"+in {
				t.Errorf("%q gives %q", in, whole)
			}
			if whole != "" && (whole[0] == ' ' || whole[0] == '\t') {
				t.Errorf("%q extends our trace field: %q", in, whole)
			}
		}
	})
}

// filter puts pieces through a header and returns what it wrote behind our
// trace field.
func filter(t *testing.T, local bool, pieces ...string) string {
	return filterOf(t, Client{Local: local}, pieces...)
}

// filterOf is filter for a client's message.
func filterOf(t *testing.T, client Client, pieces ...string) string {
	q := &memQueue{}
	s := &session{o: options(q).withDefaults(), client: client}
	s.o.Hops = 1 << 30
	s.tx = Transaction{Client: &s.client}
	s.incoming, _ = q.Begin(context.Background(), &s.tx)
	h := newHeader(s)
	defer h.free()
	for _, p := range pieces {
		if _, err := io.WriteString(h, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.finish(); err != nil {
		t.Fatal(err)
	}
	s.incoming.Commit(context.Background())
	data := q.messages()[0].Data
	for range 3 { // lines of our trace field
		_, data, _ = strings.Cut(data, "\n")
	}
	return data
}

// FuzzAddresses completes address fields: it only ever inserts, doing it again
// changes nothing, and what it makes of a field that is then well-formed is
// what smtp's reader of addresses would make of it.
func FuzzAddresses(f *testing.F) {
	f.Add(" a, b@c, \"d e\" <f>, g: h, i;, <@j:k>, (l) m\n")
	f.Add(" \"a\\\"b\" <c>, d.e, f@[1.2.3.4], <g@h> i\n")
	f.Fuzz(func(t *testing.T, body string) {
		const host = "host.postoffice.invalid"
		if strings.Contains(body, host) {
			return
		}
		once := complete(t, "To:"+body, host)
		if strings.ReplaceAll(once, "@"+host, "") != "To:"+body {
			t.Fatalf("%q became %q", body, once)
		}
		if again := complete(t, once, host); again != once {
			t.Errorf("%q became %q and then %q", body, once, again)
		}
		want := body
		for _, m := range slices.Backward(smtp.Mailboxes(body)) {
			if m.Path.Domain == "" {
				want = want[:m.End] + "@" + host + want[m.End:]
			}
		}
		if _, err := mail.ParseAddressList(want); err == nil && once != "To:"+want {
			t.Errorf("%q became %q, want %q", body, once, want)
		}
	})
}

// plan is a Checker that says what a fuzzer wants, and looks how it is asked.
type plan struct {
	t     *testing.T
	moves string // one octet for each verdict, over and over; all of it is the words
	at    int

	said     *smtp.Reply // a refusal that the client has not heard yet
	accepted int         // messages
	mark     Mark
	open     bool // a transaction is, and Aborted is to come if nobody takes its message
	judged   bool // its message was accepted
	closed   bool
}

func (p *plan) verdict(refused bool) (v Verdict) {
	if p.closed || p.said != nil {
		p.t.Errorf("a check is asked behind the end, or before the client has heard of %v", p.said)
	}
	move := byte(0)
	if p.moves != "" {
		move = p.moves[p.at%len(p.moves)]
		p.at++
	}
	if move%3 != 1 {
		return v
	}
	v.Refuse = refused && move&64 != 0
	v.Reply = smtp.Reply{Code: []int{421, 450, 451, 521, 550, 554}[move/7%6], Text: p.moves}
	if move&32 != 0 {
		v.Reply.Status = []string{"4.7.1", "5.7.1"}[v.Reply.Code/100-4]
	}
	p.said = &v.Reply
	return v
}

func (p *plan) Connect(context.Context) Verdict {
	v := p.verdict(true)
	if v.Accepted() {
		v.Greeting, v.Mark = "\n"+p.moves, Mark{Reason: p.moves, Folder: p.moves}
		p.mark = v.Mark
	}
	return v
}

func (p *plan) Helo(context.Context) Verdict                          { return p.verdict(true) }
func (p *plan) Unknown(context.Context, string) Verdict               { return p.verdict(false) }
func (p *plan) Rcpt(context.Context, *Transaction, smtp.Path) Verdict { return p.verdict(false) }

func (p *plan) Data(context.Context, *Transaction) Verdict { return p.verdict(false) }

func (p *plan) Mail(context.Context, *Transaction) Verdict {
	v := p.verdict(false)
	if p.open {
		p.t.Error("a transaction begins before the end of another")
	}
	p.open, p.judged = v.Accepted(), false
	return v
}

// Aborted comes once for each transaction that was begun, but where its message was taken.
func (p *plan) Aborted() {
	if !p.open && !p.judged {
		p.t.Error("a transaction ends that was none")
	}
	p.open, p.judged = false, false
}

func (p *plan) Message(context.Context, *Transaction, Message) Verdict {
	v := p.verdict(false)
	if v.Accepted() {
		p.accepted++
		p.open, p.judged = false, true // what comes then is the queue's
	}
	return v
}

func (p *plan) Replied(_, _ string, r smtp.Reply) smtp.Reply {
	if p.said != nil && r != *p.said && r.Code != 421 {
		p.t.Errorf("the check said %v, and the client heard %v", *p.said, r)
	}
	p.said = nil
	return smtp.Reply{}
}

func (p *plan) Close() {
	if p.open {
		p.t.Error("nobody was told of the end of a transaction")
	}
	if p.closed {
		p.t.Error("closed twice")
	}
	p.closed = true
}

// FuzzVerdicts has checks say anything at any stage, to a client that says anything.
// The client hears what a check said, in well-formed replies of printable ASCII, the
// session ends however long the client is kept out, a message is stored if and only if
// the checks took it, with its mark, and no text of a client's or a check's begins a
// line of the log (B95).
func FuzzVerdicts(f *testing.F) {
	whole := "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\nDATA\r\nSubject: x\r\n\r\nb\r\n.\r\n"
	f.Add(whole, "")
	for stage := range 6 { // each of them refuses, with each code
		for _, move := range "147:=CFILORUX[^adgjmpsvy|" {
			f.Add(whole+whole, strings.Repeat("0", stage)+string(move))
			f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@us.example>\r\nBDAT 5\r\na: b\nBDAT 6 LAST\r\nQUIT\r\n", strings.Repeat("0", stage)+string(move))
		}
	}
	for _, moves := range []string{"0\r\n250 ok\x1b[0m\xff 421-", "00000", strings.Repeat("0 x\n", 200)} {
		f.Add(whole+whole, moves)
	}
	f.Add("EHLO \x1b\r\nNOOP\r\nMAIL FROM:<\x80@b>\r\nHELO a b\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<\"a\\\r b\"@us.example>\r\n", "00am0")
	f.Fuzz(func(t *testing.T, in, moves string) {
		synctest.Test(t, func(t *testing.T) {
			q, p, lines := &memQueue{}, &plan{t: t, moves: moves}, testenv.Log{}
			o := options(q)
			o.Log = lines.Logger()
			o.Checker = func(*Client) Checker { return p }
			replies, open := replyLines(t, in, exchange(t, New(o), Relay, in+fuzzTail))
			if len(replies) == 0 || open != "" {
				t.Errorf("sent %q: no reply, or half of one", in)
			}
			stored := q.messages()
			if !p.closed || p.said != nil || q.unfinished() > 0 || len(stored) != p.accepted {
				t.Errorf("sent %q: closed %v, unheard %v, %d messages open, %d stored of %d accepted", in, p.closed, p.said, q.unfinished(), len(stored), p.accepted)
			}
			for _, m := range stored {
				if m.Mark != p.mark {
					t.Errorf("stored with the mark %q, want %q", m.Mark, p.mark)
				}
			}
			for line := range strings.Lines(lines.String()) {
				if !strings.HasPrefix(line, "time=") {
					t.Errorf("sent %q: a line of the log begins with %q", in, line)
				}
			}
		})
	})
}
