package deliver

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A report to a sender of this machine has all of the message, unless RET says
// that the header does; others get the header.
func TestReturnedMessage(t *testing.T) {
	const text = "Subject: x\n\nbody\n\n--report\ngr\xc3\xbc\xc3\x9fe, no newline"
	for _, tt := range []struct {
		client, ret string
		whole       bool
	}{
		{"alice[uid 2001]", "", true}, {"alice[uid 2001]", "FULL", true}, {"alice[uid 2001]", "hdrs", false},
		{"mx.example[192.0.2.1]:25", "", false}, {"mx.example[192.0.2.1]:25", "FULL", false}, {bounceClient, "", false},
	} {
		r := newRig(t)
		r.returned(text, tt.client, tt.ret)
		r.pass()
		r.want()
		box := r.wantBox("carol", 1)[0]
		whole := strings.Contains(box, "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n"+text+"\n--report.") && strings.Contains(box, "not concerned. Your message is at the end.")
		header := strings.Contains(box, "Content-Type: text/rfc822-headers\n\nSubject: x\n\n--report.") && !strings.Contains(box, "body")
		if whole != tt.whole || header == tt.whole {
			t.Errorf("%+v:\n%s", tt, box)
		}
	}
}

// Where there is no room for all of a message, its header goes back.
func TestReturnedHeader(t *testing.T) {
	r := newRig(t)
	r.returned("Subject: large\n\n"+strings.Repeat("0123456789\n", 10<<10), "alice[uid 2001]", "")
	r.tight.Store(true)
	r.pass()
	r.want()
	if box := r.wantBox("carol", 1)[0]; !strings.Contains(box, "text/rfc822-headers\n\nSubject: large\n") || strings.Contains(box, "0123456789") {
		t.Errorf("the report:\n%.2000s", box)
	}
}

// A81: a message without room in the share of reports goes back as its header alone,
// however much is free.
func TestReturnedShare(t *testing.T) {
	for _, fits := range []bool{true, false} {
		r := newRig(t)
		text := "Subject: large\n\n" + strings.Repeat("0123456789\n", 10<<10)
		r.returned(text, "alice[uid 2001]", "")
		asked := int64(0)
		r.o.WholeFits = func(octets int64) bool { asked = octets; return fits }
		r.pass()
		r.want()
		if box := r.wantBox("carol", 1)[0]; strings.Contains(box, "0123456789") != fits || asked != int64(len(text)) {
			t.Errorf("fits: %v; asked for %d octets of %d; the report:\n%.2000s", fits, asked, len(text), box)
		}
	}
}

// What is too large for another machine is no part of the report that goes there,
// which would be too large as well; a mailbox here gets it.
func TestReturnedLarge(t *testing.T) {
	for _, tt := range []struct {
		from, to, reply string
		octets          int
		whole           bool
	}{
		{"carol@[192.0.2.1]", "no-one@us.example", "", 1000, true},
		{"carol@[192.0.2.1]", "no-one@us.example", "", maxSentBack, false},
		{"carol@us.example", "no-one@us.example", "", maxSentBack, true},
		{"carol@us.example", "x@[192.0.2.1]", "552 5.3.4 too large", maxSentBack, false},
		{"carol@us.example", "x@[192.0.2.1]", "550 5.2.3 too large", maxSentBack, false},
		{"carol@us.example", "x@[192.0.2.1]", "552 too large", maxSentBack, false},
		{"carol@us.example", "x@[192.0.2.1]", "552 5.2.2 mailbox full", maxSentBack, true},
	} {
		r := newRig(t)
		sink := r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			return testenv.Action{Reply: map[string]string{".": tt.reply}[ev.Verb]}
		}})
		r.client = "alice[uid 2001]"
		r.mailText("Subject: x\n\n"+strings.Repeat("0123456789abcde\n", tt.octets/16), r.now(), tt.from, tt.to)
		r.pass()
		r.want()
		var report string
		if tt.reply == "" && !strings.HasSuffix(tt.from, "us.example") {
			report = sink.Messages()[0].Text()
		} else {
			report = r.wantBox("carol", 1)[0]
		}
		if whole := strings.Contains(report, "message/rfc822") && strings.Contains(report, "0123456789abcde"); whole != tt.whole {
			t.Errorf("%+v: whole: %v", tt, whole)
		}
	}
}

// returned queues a message for nobody.
func (r *rig) returned(text, client, ret string) spool.ID {
	r.t.Helper()
	env := envelope.Envelope{Arrived: r.now(), Client: client, ReversePath: path(r.t, "carol"), Recipients: []smtp.Recipient{{Path: path(r.t, "no-one")}}}
	if ret != "" {
		env.Params = []smtp.Param{{Name: "RET", Value: ret}}
	}
	in, err := r.queue.Create(env)
	if err == nil {
		_, err = io.WriteString(in, text)
	}
	if err := errors.Join(err, in.Commit()); err != nil {
		r.t.Fatal(fmt.Errorf("queue a message: %w", err))
	}
	return in.ID()
}
