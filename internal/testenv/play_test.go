package testenv

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// talk plays the client's side of script against serve and returns how that
// went and how long it took.
func talk(t *testing.T, script string, serve func(net.Conn)) (took time.Duration, err error) {
	t.Helper()
	d, err := ParseDialogue("script", script)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(theirs)
			theirs.Close()
		}()
		begin := time.Now()
		err = d.Play(ours, Client)
		took = time.Since(begin)
		ours.Close()
		<-done
	})
	return took, err
}

// Both sides of one dialogue agree.
func TestDialogueBothSides(t *testing.T) {
	const script = "# a comment\n\nset name=value\nS: 220 hi\nC: EHLO x\nS: 250-a\nS: 250-b\nS: 250 c\n" +
		"C| NO\\x4f\\0\\t\\\\P\\{3*ab}\nC: \nS* 1s 250 slow\nS: \npause 1h\nwithin 2h\nC| tail\nS: end\nC!"
	d, err := ParseDialogue("both", script)
	if err != nil || d.Settings["name"] != "value" {
		t.Fatal(err, d)
	}
	server := strings.Replace(script, "S: 250-a", "pause 10s\nS: 250-a", 1)
	took, err := talk(t, strings.NewReplacer("pause 1h", "", "S* 1s 250 slow\nS: ", "S: 250 slow", "S: 250-a\nS: 250-b\nS: 250 c", "S= 250").Replace(script), func(conn net.Conn) {
		d, err := ParseDialogue("server", strings.NewReplacer("pause 1h", "", "C| NO", "C| NO", "P\\{3*ab}\nC: ", "Pababab\\r\\n").Replace(server))
		if err != nil {
			t.Error(err)
			return
		}
		if err := d.Play(conn, Server); err != nil {
			t.Error(err)
		}
	})
	if err != nil || took != 18*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

func TestDialogueTellsDifferences(t *testing.T) {
	for _, tt := range []struct{ name, script, server, want string }{
		{"another line", "S: 220 hi", "220 ho\r\n", `script:1: want a line "220 hi", got "220 ho"`},
		{"LF alone", "S: 220 hi", "220 hi\n", "not ended by CR LF"},
		{"whole line", "S: 220", "220 hi\r\n", "want a line"},
		{"end", "S: 220", "", "EOF"},
		{"another code", "S= 250", "250-a\r\n251 b\r\n", `want a reply 250, got "251 b"`},
		{"more", "S!", "421 x\r\n", "want the end"},
		{"octets", "S| ab", "ax", `want "ab", got "ax"`},
	} {
		_, err := talk(t, tt.script, func(conn net.Conn) { io.WriteString(conn, tt.server) })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if took, err := talk(t, "S: 220 hi", func(conn net.Conn) { io.Copy(io.Discard, conn) }); err == nil || took != stepLimit {
		t.Errorf("silence: %v after %v", err, took)
	}
	for _, script := range []string{"X: y", "pause x", "within", "S* x y", "hello"} {
		if _, err := ParseDialogue("f", script); err == nil {
			t.Errorf("%q was taken", script)
		}
	}
	for _, text := range []string{`\`, `\q`, `\xzz`, `\{3}`, `\{x*y}`, `\{3*y`} {
		if _, err := unescape(text); err == nil {
			t.Errorf("escape %q was taken", text)
		}
	}
}

func TestSink(t *testing.T) {
	sink := &Sink{Answer: func(ev Event) Action {
		switch {
		case ev.Verb == "RCPT" && strings.Contains(ev.Line, "bad"):
			return Action{Reply: "550-5.1.1 no\n550 5.1.1 really"}
		case ev.Verb == "NOOP":
			return Action{Mute: true}
		case ev.Verb == "." && ev.Message.Octets > 10000:
			return Action{Reply: "552 too big", Drop: true}
		}
		return Action{}
	}}
	_, err := talk(t, "S: 220 sink.example .*\nC: EHLO c\nS= 250\nC: MAIL FROM:<a@b>\nS: 250.*\nC: RCPT TO:<bad@x>\nS: 550-.*\nS: 550 .*\nC: DATA\nS: 503.*\n"+
		"C: RCPT TO:<good@x>\nS: 250.*\nC: DATA\nS: 354.*\nC| a\\n.\\n\\r.\\r\\n..b\\r\\n.\\nc\\r\\n.\\r\\nNOOP\\r\\nMAIL FROM:<c@d>\\r\\n\nS: 250.*\nS: 250.*\n"+
		"C: RCPT TO:<e@x>\nS: 250.*\nC: DATA\nS: 354.*\nC: \\{12000*z}\nC: .\nS: 552 .*\nS!", sink.ServeConn)
	if err != nil {
		t.Error(err)
	}
	m := sink.Messages()
	if len(m) != 1 || m[0].From() != "a@b" || len(m[0].To()) != 1 || m[0].To()[0] != "good@x" || m[0].Text() != "a\n.\n\r.\n.b\n\nc\n" {
		t.Errorf("got %+v", m)
	}
	if sink.Sessions() != 1 || len(sink.Commands()) != 10 {
		t.Errorf("%d sessions, commands %q", sink.Sessions(), sink.Commands())
	}
}

func TestSinkOverTCP(t *testing.T) {
	cert, pool := Certificate(t, "sink.example", "127.0.0.1")
	sink := &Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	addr := sink.Start(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	play := func(conn net.Conn, script string) {
		t.Helper()
		d, err := ParseDialogue("tcp", script)
		if err == nil {
			err = d.Play(conn, Client)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	play(conn, "S= 220\nC: EHLO c\nS= 250\nC: STARTTLS\nS= 220")
	secure := tls.Client(conn, &tls.Config{ServerName: "127.0.0.1", RootCAs: pool})
	play(secure, "C: EHLO c\nS= 250\nC: MAIL FROM:<>\nS= 250\nC: RCPT TO:<a@b>\nS= 250\nC: DATA\nS= 354\nC: x\nC: .\nS= 250")
	if m := sink.Await(t, 1); !m[0].TLS || m[0].From() != "" || m[0].Text() != "x\n" {
		t.Errorf("got %+v", m)
	}
}
