package smtpd

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/internal/maillog"
	"postoffice/internal/testenv"
)

// TestLogOfAMessage has one line for it, with both of its names, and has it
// before anybody works on the message.
func TestLogOfAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &testenv.Log{}
		var before string
		o := options(&memQueue{released: func() { before = lines.String() }})
		o.Log = lines.Logger()
		o.ClientName = nameOf("mail.client.example.")
		c := dial(t, New(o))
		c.do("EHLO client.example")
		c.do("MAIL FROM:<joe@client.example>")
		c.do("RCPT TO:<nobody@us.example>")
		c.do("RCPT TO:<alice@us.example>")
		c.do("DATA")
		c.do("Message-ID: <m@client.example>\r\n\r\nbody\r\n.")
		const session = `session=\w+ client=mail\.client\.example\[192\.0\.2\.7\]:40000 helo=client\.example `
		for _, want := range []string{
			`level=INFO msg="recipient refused" qid=Q1 ` + session + `from=<joe@client\.example> to=<nobody@us\.example> reply="550 5\.1\.1 no such user"`,
			`level=INFO msg="message queued" qid=Q1 ` + session + `from=<joe@client\.example> nrcpt=1 size=\d+ msgid=<m@client\.example>`,
		} {
			if !regexp.MustCompile(`(?m) ` + want + `$`).MatchString(lines.String()) {
				t.Errorf("no line %s in\n%s", want, lines)
			}
		}
		if !strings.Contains(before, "message queued") {
			t.Errorf("released before its line was written: %s", before)
		}
	})
}

// TestOneQueueID: from MAIL on every line has the transaction's ID, the session
// and the client, also where nothing comes of it; the next transaction has
// another ID.
func TestOneQueueID(t *testing.T) {
	event := regexp.MustCompile(`level=INFO msg="([^"]+)" (?:qid=(\w+) )?session=\w+ client=\S+`)
	for _, tt := range []struct{ name, lines, want string }{
		{"all refused", "MAIL FROM:<joe@a.example>\nRCPT TO:<nobody@us.example>\nDATA\nRSET\nMAIL FROM:<joe@a.example>\nRCPT TO:<no@us.example>\nQUIT",
			" client connected;Q1 recipient refused;Q2 recipient refused"},
		{"gone", "MAIL FROM:<joe@a.example>", " client connected;Q1 client gone"},
		{"sender refused", "MAIL FROM:<joe@evil.example>\nQUIT", " client connected; sender refused"},
		{"message refused", "MAIL FROM:<joe@a.example>\nRCPT TO:<alice@us.example>\nDATA\n" + strings.Repeat("Received: x|", 200) + ".\nQUIT",
			" client connected;Q1 message refused"},
		{"no message", "NOOP", " client connected"},
	} {
		synctest.Test(t, func(t *testing.T) {
			lines, q := &testenv.Log{}, &memQueue{}
			o := options(q)
			o.Log = lines.Logger()
			c := dial(t, New(o))
			for line := range strings.SplitSeq("HELO a.example\n"+tt.lines, "\n") {
				c.do(strings.ReplaceAll(line, "|", "\r\n"))
			}
			c.conn.Close()
			synctest.Wait()
			var got []string
			for _, m := range event.FindAllStringSubmatch(lines.String(), -1) {
				got = append(got, m[2]+" "+m[1])
			}
			if got := strings.Join(got, ";"); got != tt.want {
				t.Errorf("%s: got %s, want %s\n%s", tt.name, got, tt.want, lines)
			}
			if q.unfinished() != 0 || len(q.messages()) != 0 {
				t.Errorf("%s: something is left of the message", tt.name)
			}
		})
	}
}

// TestNoQueueID: without one the client is told to come again.
func TestNoQueueID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, New(options(&memQueue{noID: errors.New("no random octets")})))
		c.do("HELO a.example")
		if r := c.do("MAIL FROM:<joe@a.example>"); r.Code != 451 {
			t.Errorf("%v, want 451", r)
		}
	})
}

// TestLogOfAnAddedMessageID has the Message-ID that the message got here.
func TestLogOfAnAddedMessageID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &testenv.Log{}
		o := options(nil)
		o.Log = lines.Logger()
		store(t, o, Local, "127.0.0.1:1", "joe", "\nbody\n", "alice")
		if want := "msgid=<20000101000000.Q1@us.example>"; !strings.Contains(lines.String(), want) {
			t.Errorf("no %s in\n%s", want, lines)
		}
	})
}

// TestHostileLog has octets of a client's in no line but as \xNN (A25).
func TestHostileLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	log, closer, err := maillog.New(maillog.Options{Sink: "file:" + file, Program: "smtpd"})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.ClientName = nameOf("x\r\ny\x1b[2J")
		o.Log = log
		c := dial(t, New(o))
		c.do("EHLO a) (evil [1.2.3.4]) by mx")
		c.do(`MAIL FROM:<"a b\"c"@client.example>`)
		c.do(`RCPT TO:<"|id"@us.example>`)
		c.do("RCPT TO:<alice@us.example>")
		c.do("DATA")
		c.do("Message-ID: <\x1b[2J\x00\xff>\r\n\r\nbody\r\n.")
	})
	closer.Close()
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 3 {
		t.Fatalf("want three lines: %q, %v", text, err)
	}
	for _, c := range text {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Errorf("octet %#x in %q", c, text)
		}
	}
}

// TestForeignText: what a client says keeps its case in the log, the envelope, our
// Received field and replies (R36), and what is no letter, digit or sign of names is
// escaped in the log, and replaced in the field and the greeting (B95).
func TestForeignText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "log")
		log, out, err := maillog.New(maillog.Options{Sink: "file:" + file, Program: "smtpd"})
		if err != nil {
			t.Fatal(err)
		}
		q := &memQueue{}
		o := options(q)
		o.Log = log
		o.ClientName = nameOf("Mail.\x1b[31m\nClient.Example.")
		c := dial(t, New(o))
		if r := c.do(`EHLO MiXed.Example<"b>\`); !strings.HasPrefix(r.Text, "us.example greets Mail.?[31m?Client.Example\n") {
			t.Errorf("EHLO: %v", r)
		}
		c.do("MAIL FROM:<JoE@A.Example>")
		c.do("RCPT TO:<NoBody@us.example>")
		c.do("RCPT TO:<AlIcE@US.Example>")
		c.do("DATA")
		c.do("Subject: \x1b[31m\r\n\r\nbody\r\n.")
		c.do("QUIT")
		synctest.Wait()
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if len(lines) != 3 || strings.ContainsRune(string(text), '\x1b') {
			t.Errorf("%d lines, want connected, refused and queued, without an escape:\n%s", len(lines), text)
		}
		for _, want := range []string{`client=Mail.?[31m?Client.Example[192.0.2.7]:40000 helo="MiXed.Example<\"b>\x5c"`, "from=<JoE@A.Example>", "to=<NoBody@us.example>"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %s in the log:\n%s", want, text)
			}
		}
		m := q.messages()[0]
		if head, _, _ := strings.Cut(m.Data, "Subject:"); !strings.Contains(head, "from MiXed.Example??b?? (Mail.?[31m?Client.Example [192.0.2.7])") {
			t.Errorf("Received field:\n%s", head)
		}
		if m.From.String() != "JoE@A.Example" || m.To[0].String() != "AlIcE@US.Example" {
			t.Errorf("envelope: %v to %v", m.From, m.To)
		}
	})
}
