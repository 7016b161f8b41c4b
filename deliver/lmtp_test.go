package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/schedule"
	"postoffice/internal/account"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// store is an LMTP server that keeps what it takes.
type store struct {
	mu       sync.Mutex
	sessions int
	boxes    map[string][]string // by address, each as it came after the dot was taken off
	rcpt     map[string]string   // by address: the reply to RCPT instead of 250
	final    map[string]string   // the same after the dot; "" ends the connection
	hang     bool                // say nothing after the greeting
}

// newStore makes a store the place of all mailboxes.
func newStore(r *rig) *store {
	s := &store{boxes: map[string][]string{}, rcpt: map[string]string{}, final: map[string]string{}}
	r.o.Mailbox, r.o.Delimiter = "lmtp:/run/store", "+"
	r.network.peers["/run/store"] = s.serve
	return s
}

func (s *store) box(address string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boxes[address]
}

func (s *store) setHang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = on
}

// opened counts the sessions so far.
func (s *store) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

func (s *store) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.sessions++
	hang := s.hang
	s.mu.Unlock()
	in := bufio.NewReader(conn)
	say := func(reply string) { fmt.Fprint(conn, reply, "\r\n") }
	say("220 store LMTP")
	var to []string
	for {
		line, err := in.ReadString('\n')
		if err != nil || hang {
			if err == nil {
				in.ReadString(0)
			}
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "LHLO":
			say("250-store\r\n250-PIPELINING\r\n250 8BITMIME")
		case "RCPT":
			address := strings.TrimSuffix(strings.TrimPrefix(arg, "TO:<"), ">")
			s.mu.Lock()
			reply := s.rcpt[address]
			s.mu.Unlock()
			if reply == "" {
				reply = "250 2.1.5 ok"
				to = append(to, address)
			}
			say(reply)
		case "DATA":
			if len(to) == 0 {
				say("503 5.5.1 nobody")
				continue
			}
			say("354 go")
			if !s.message(in, to, say) {
				return
			}
			to = nil
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *store) message(in *bufio.Reader, to []string, say func(string)) bool {
	text := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text += strings.ReplaceAll(strings.TrimPrefix(line, "."), "\r", "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, address := range to {
		switch reply, set := s.final[address]; {
		case !set:
			s.boxes[address] = append(s.boxes[address], text)
			say("250 2.0.0 kept")
		case reply == "":
			return false
		default:
			say(reply)
		}
	}
	return true
}

// TestStoreA37A41: what the LMTP server says of each recipient is what becomes
// of them; anything but 2xx and 5xx is for later.
func TestStoreA37A41(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := newStore(r)
		r.o.Escape = local.EscapeAll
		r.users.names = append(r.users.names, "full", "gone", "lost", "off")
		s.rcpt["gone@us.example"] = "550 5.1.1 unknown"
		s.final["full@us.example"] = "452 4.2.2 over quota"
		s.final["off@us.example"] = "550 5.2.1 switched off"
		s.final["lost@us.example"] = ""
		text := "Return-Path: <x@y>\nSubject: hello\n\nFrom me\n" + strings.Repeat("x", 3000) + "\n.\n"
		r.mailText(text, r.now(), "s@x.example", "alice+box@us.example", "gone@us.example", "full@us.example", "lost@us.example", "off@us.example")
		r.pass()
		want := "Subject: hello\n\n>From me\n" + strings.Repeat("x", 3000) + "\n.\n"
		if got := s.box("alice+box@us.example"); len(got) != 1 || got[0] != want {
			t.Errorf("%.300q, want %.300q\nlog:\n%s", got, want, r.log)
		}
		for user, parts := range map[string][]string{
			"alice": {"message delivered", "relay=lmtp", "2.0.0 kept"}, "full": {"delivery deferred", "4.2.2", "over quota"},
			"lost": {"delivery deferred", "4.3.0"}, "gone": {"message bounced", "5.1.1"}, "off": {"message bounced", "5.2.1"},
		} {
			r.wantLog(append(parts, "to=<"+user)...)
		}
	})
}

// TestStoreForwards: a .forward comes first, but not for what is final.
func TestStoreForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := newStore(r)
		r.mailer.forwards = map[string]string{"alice": "bob, \\alice\n", "bob+x": "carol\n"}
		r.mail("s@x.example", "alice@us.example", "bob+x@us.example")
		r.pass()
		for _, user := range []string{"alice", "bob", "carol"} {
			if got := s.box(user + "@us.example"); len(got) != 1 {
				t.Errorf("%s has %d messages\nlog:\n%s", user, len(got), r.log)
			}
		}
		r.want()
	})
}

// TestStoreSessionsAreUsedAgain: a session lingers for the next message, and
// ends then.
func TestStoreSessionsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := newStore(r)
		run, stop := r.start()
		for range 5 {
			run.Wake(r.mail("s@x.example", "alice@us.example"))
			time.Sleep(time.Second)
		}
		if got := s.box("alice@us.example"); len(got) != 5 || s.opened() != 1 {
			t.Errorf("%d messages in %d sessions, want 5 in 1\nlog:\n%s", len(got), s.opened(), r.log)
		}
		time.Sleep(2 * linger)
		run.Wake(r.mail("s@x.example", "alice@us.example"))
		time.Sleep(time.Second)
		if s.opened() != 2 {
			t.Errorf("%d sessions, want a second one", s.opened())
		}
		stop()
		r.want()
	})
}

// TestStoreHangsA39: a store that says nothing holds few, and nobody else.
func TestStoreHangsA39(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := newStore(r)
		s.setHang(true)
		for i := range 200 {
			r.users.names = append(r.users.names, fmt.Sprint("u", i))
			r.mail("s@x.example", fmt.Sprintf("u%d@us.example", i))
		}
		begun := time.Now()
		r.pass()
		if took := time.Since(begun); took > 3*time.Minute {
			t.Errorf("200 messages took %v", took)
		}
		if _, most := schedule.Stored.Places(); len(r.list()) != 200 || s.opened() > most {
			t.Errorf("%d in the queue, %d sessions", len(r.list()), s.opened())
		}
		s.setHang(false)
		time.Sleep(time.Hour)
		r.pass()
		r.want()
	})
}

// TestStoreNotThere: the words say what to look at.
func TestStoreNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		newStore(r)
		delete(r.network.peers, "/run/store")
		r.mail("s@x.example", "alice@us.example")
		r.pass()
		r.wantLog("delivery deferred", "4.3.0", "connection refused", "LMTP server at /run/store (is it running")
	})
}

// TestMailer: option mailer has the user's program run instead, whatever option
// mailbox says; a folder is a file all the same.
func TestMailer(t *testing.T) {
	r := newRig(t)
	r.o.Mailbox, r.o.Mailer = "lmtp:/run/store", "/usr/bin/procmail"
	var jobs []string
	m := &mailerOf{mailer: r.mailer, run: func(j local.Job, text string) local.Result {
		front, _, _ := strings.Cut(text, " ")
		jobs = append(jobs, fmt.Sprintf("%s %s %s final %v to %s %q %s", j.User, j.Item.Source, j.Item.Name, j.Final, j.Envelope.Recipient, j.Envelope.Extension, front))
		switch {
		case j.User == "bob" && !j.Final:
			return local.Result{Answer: local.Forwarded}
		case j.User == "carol":
			return local.Result{Outcome: outcome.Outcome{Action: outcome.Bounced, Reply: smtp.Reply{Code: 550, Status: "5.2.1", Text: "no"}, Err: errors.New("exit 77")}}
		case strings.HasSuffix(text, "\n\n"):
			t.Errorf("an empty line at the end: %q", text)
		}
		return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered, Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "run"}}}
	}}
	r.o.Local = m
	r.mailer.forwards = map[string]string{"bob": "\\bob\n"}
	for _, to := range []string{"alice@us.example", "bob@us.example", "carol@us.example"} {
		r.mail("s@x.example", to)
		r.pass()
	}
	want := []string{
		`alice mailer alice final false to alice@us.example "" From`,
		`bob mailer bob final false to bob@us.example "" From`,
		`bob mailer bob final true to bob@us.example "" From`,
		`carol mailer carol final false to carol@us.example "" From`,
	}
	if strings.Join(jobs[:min(4, len(jobs))], "\n") != strings.Join(want, "\n") {
		t.Errorf("%q\nlog:\n%s", jobs, r.log)
	}
	r.wantLog("message bounced", "to=<carol", "5.2.1")
}

// TestMailerOfRootA43: root runs no program; root's mail goes where option mailbox
// says.
func TestMailerOfRootA43(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := newStore(r)
		r.o.Mailer, r.o.Accounts = "/usr/bin/procmail", account.Only(account.Account{Name: "root"})
		r.mail("s@x.example", "root@us.example")
		r.pass()
		if got := s.box("root@us.example"); len(got) != 1 || len(r.mailer.jobs()) != 0 {
			t.Errorf("%d messages, jobs %v\nlog:\n%s", len(got), r.mailer.jobs(), r.log)
		}
	})
}

// mailerOf runs programs too.
type mailerOf struct {
	*mailer
	run func(j local.Job, text string) local.Result
}

func (m *mailerOf) Run(_ context.Context, _ string, j local.Job) local.Result {
	text := new(strings.Builder)
	if _, err := bufio.NewReader(j.Body).WriteTo(text); err != nil {
		return local.Result{Outcome: outcome.Outcome{Err: err}}
	}
	return m.run(j, text.String())
}

// TestFormsOfPlacesR60: each place gets its form, and option escape-from holds:
// without a word of it nobody can forge a message in a file of messages.
func TestFormsOfPlacesR60(t *testing.T) {
	const (
		from  = "From s@x.example "
		front = "Return-Path: <s@x.example>\nDelivered-To: alice@us.example\nSubject: hello\n"
	)
	for _, tt := range []struct {
		mailbox    string
		escape     local.Escape
		front, end string
	}{
		{"", local.EscapeFiles, from, "\n\n>From 1\ntext\n>From 3\n\n"},
		{"~/mbox", local.EscapeFiles, from, "\n\n>From 1\ntext\n>From 3\n\n"},
		{"~/Maildir/", local.EscapeFiles, front, "\n\nFrom 1\ntext\nFrom 3\n"},
		{"", local.EscapeAll, from, "\n\n>From 1\ntext\n>From 3\n\n"},
		{"~/Maildir/", local.EscapeAll, front, "\n\n>From 1\ntext\n>From 3\n"},
		{"", local.EscapeNone, from, "\n\nFrom 1\ntext\nFrom 3\n\n"},
		{"~/Maildir/", local.EscapeNone, front, "\n\nFrom 1\ntext\nFrom 3\n"},
	} {
		r := newRig(t)
		r.o.Mailbox, r.o.Escape = tt.mailbox, tt.escape
		r.mailText("Subject: hello\n\nFrom 1\ntext\nFrom 3\n", r.now(), "s@x.example", "alice@us.example")
		r.pass()
		got := r.wantBox("alice", 1)
		if len(got) == 1 && (!strings.HasPrefix(got[0], tt.front) || !strings.HasSuffix(got[0], tt.end)) {
			t.Errorf("%q, escape-from %v: %q", tt.mailbox, tt.escape, got[0])
		}
	}
}

// A message for many mailboxes, while others have all the places at the store,
// tries one of them and no more before there is a place.
func TestNoPlaceAtTheStore(t *testing.T) {
	r := newRig(t)
	newStore(r)
	var to []string
	for i := range 100 {
		to = append(to, fmt.Sprintf("user%d", i))
	}
	r.users.names = to
	id := r.mail("s@x.example", to...)
	run := NewRunner(r.o)
	_, all := schedule.Stored.Places()
	for i := range all {
		run.sched.Arrive(spool.ID(fmt.Sprint(i)), "", false)
		if ok, _ := run.sched.Next().Enter(schedule.Gate{Kind: schedule.Stored, Key: fmt.Sprint(i)}); !ok {
			t.Fatalf("place %d of %d is taken", i, all)
		}
	}
	run.sched.Arrive(id, "", false)
	turn := run.sched.Next()
	m, err := run.queue.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	msg := run.opened(m)
	a := &attempt{message: msg, tree: newTree(msg), todo: newTodo("", ""), turn: turn, work: t.Context()}
	a.stop, a.halt = context.WithCancel(t.Context())
	defer a.halt()
	a.begin(a.due())
	a.plan()
	for range 3 {
		a.startLocal()
		a.startLocal()
		if len(a.todo.busy) != 1 || len(a.todo.letters.targets) != len(to) || a.todo.open > 0 {
			t.Errorf("%d gates tried, %d mailboxes left, %d begun", len(a.todo.busy), len(a.todo.letters.targets), a.todo.open)
		}
		a.todo.retry()
	}
}
