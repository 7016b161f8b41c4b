package filters

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv/testfilter"
)

// answers are what a filter may write, right or wrong.
var answers = []string{
	testfilter.Reply('c', ""), testfilter.Reply('a', ""), testfilter.Reply('r', ""), testfilter.Reply('t', ""), testfilter.Reply('d', ""),
	testfilter.Reply('s', ""), testfilter.Reply('f', ""), testfilter.Reply('4', ""), testfilter.Reply('p', "") + testfilter.Reply('c', ""),
	testfilter.Reply('y', "550 5.7.1 no\x00"), testfilter.Reply('y', "450 4.7.1 later\r\n450 4.7.1 much\x00"), testfilter.Reply('y', "250 2.0.0 yes\x00"),
	testfilter.Reply('y', "550 %s%n\x00\x00"), testfilter.Reply('y', "221 bye\x00"), testfilter.Reply('y', "354 go on\x00"),
	testfilter.Reply('y', "550 5.7.1 a\r\n250 b\r\nMAIL FROM:<>\x00"), testfilter.Reply('z', "what\x00"), testfilter.Reply('c', "") + testfilter.Reply('r', ""),
	testfilter.Reply('h', "X\x00y\x00") + testfilter.Reply('c', ""), testfilter.Reply('b', "body\r\n") + testfilter.Reply('c', ""),
	testfilter.Reply('-', "<alice@us.example>\x00") + testfilter.Reply('-', "<bob@us.example>\x00") + testfilter.Reply('a', ""),
	"\x00\x00\x00\x00", "\xff\xff\xff\xffc", "\x00\x00\x00\x01", "c", "HTTP/1.1 400 Bad Request\r\n\r\n",
}

// said is a line that a client sent, and the reply to it.
type said struct {
	line string
	smtp.Reply
}

// converse sends two messages as a client does that looks at replies, and returns all that
// was said.
func (w *world) converse() (all []said) {
	ours, end := w.connect()
	defer end()
	r := bufio.NewReader(ours)
	ours.SetDeadline(time.Now().Add(time.Minute))
	read := func(line string) smtp.Reply {
		reply, err := smtp.ReadReply(r)
		if err != nil {
			w.t.Errorf("behind %q: %v", line, err)
			reply.Code = 421
		}
		all = append(all, said{line, reply})
		return reply
	}
	say := func(line string) smtp.Reply {
		if len(all) > 0 && (all[len(all)-1].Code == 421 || all[len(all)-1].Code == 221) {
			return smtp.Reply{Code: 421}
		}
		io.WriteString(ours, strings.ReplaceAll(line, "\n", "\r\n")+"\r\n")
		return read(line)
	}
	defer say("QUIT")
	if read("").Code != 220 || say("EHLO c.example").Code != 250 {
		return // and QUIT; what else it says is answered late
	}
	for range 2 {
		say("WHAT")
		say("MAIL FROM:<joe@far.example>")
		say("RCPT TO:<alice@us.example>")
		say("RCPT TO:<bob@us.example>")
		if say("DATA").Code == 354 {
			say(letterText)
		}
		say("RSET")
		say("NOOP")
	}
	return
}

// TestAnyAnswers: whatever two filters say to each step of 100 sessions, every command has
// one reply, which is one that its command may have, or the server says that the session is
// over, and RSET and NOOP are answered as without filters; nothing of a filter's is left
// open.
func TestAnyAnswers(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		some := func() *testfilter.Filter {
			f := &testfilter.Filter{Answers: map[byte]string{}, Forgets: true}
			for range 1 + r.IntN(3) {
				at := "CHMRTLNBEU"[r.IntN(10)]
				f.Answers[at] = answers[r.IntN(len(answers))]
				f.Closes += map[bool]string{true: string(at)}[r.IntN(4) == 0]
			}
			return f
		}
		words := func() string {
			return "command=1s message=2s fail=" + []string{"open", "tempfail", "reject", "quarantine"}[r.IntN(4)]
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []*testfilter.Filter{some(), some()}, words(), words())
			all := w.converse()
			for _, one := range all {
				good := one.Class() == 2 || one.Class() == 4 || one.Class() == 5
				switch one.line {
				case "DATA":
					good = one.Code == 354 || one.Code >= 400
				case "RSET", "NOOP":
					good = one.Code == 250 || one.Code == 421
				}
				if !good || strings.ContainsAny(one.Text, "\x00\r") {
					t.Errorf("%q: %+v", one.line, one.Reply)
				}
			}
			if last := all[len(all)-1]; last.Code != 221 && last.Code != 421 {
				t.Errorf("the session ends with %+v:\n%s", last, &w.log)
			}
			for _, f := range w.set.all {
				if n := f.room.Inside(); n != 0 {
					t.Errorf("%d connections to %s are left", n, f.Name)
				}
			}
		})
	}
}
