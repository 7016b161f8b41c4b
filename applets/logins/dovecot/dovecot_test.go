package dovecot

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/smtpd/login"
)

const hello = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tscram-sha-256\tmutual-auth\nMECH\tGSSAPI\nMECH\tEXTERNAL\tprivate\nSPID\t1\nCUID\t2\nCOOKIE\tabc\nDONE\n"

// service is Dovecot's end: it says greeting, and then answers each line of the client
// behind its own greeting with what answer returns; "" closes the connection.
func service(t *testing.T, greeting string, answer func(line string) string) *Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				c.Write([]byte(greeting))
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasPrefix(line, "VERSION\t") || strings.HasPrefix(line, "CPID\t") {
						continue
					}
					a := answer(strings.TrimSuffix(line, "\n"))
					if a == "" {
						return
					}
					c.Write([]byte(a))
				}
			}()
		}
	}()
	return New(path)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestExchange: a login of one step, and what the service is told of the client.
func TestExchange(t *testing.T) {
	var told string
	s := service(t, hello, func(line string) string {
		told = line
		return "CUID\t9\nFAIL\t7\tuser=other\nOK\t1\tuser=alice@us.example\toriginal_user=x\n"
	})
	x := s.Begin(login.Client{Addr: netip.MustParseAddrPort("[2001:db8::7]:4000"), Server: netip.MustParseAddrPort("192.0.2.1:587"), Session: "S1", TLS: true}, login.Plain)
	_, r := x.Step(t.Context(), []byte("\x00alice\x00pass\tword"))
	if r != (login.Result{Answer: login.Yes, User: "alice@us.example"}) {
		t.Errorf("%+v", r)
	}
	want := "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tsession=S1\trip=2001:db8::7\trport=4000\tlip=192.0.2.1\tlport=587\tsecured\tresp=" + b64("\x00alice\x00pass\tword")
	if told != want {
		t.Errorf("told\n%q, want\n%q", told, want)
	}
	if got := fmt.Sprint(s.Mechanisms()); got != "[{PLAIN false} {SCRAM-SHA-256 false}]" {
		t.Errorf("mechanisms %q", got)
	}
}

// TestSteps: a login of several steps.
func TestSteps(t *testing.T) {
	s := service(t, hello, func(line string) string {
		if strings.HasPrefix(line, "AUTH") {
			return "CONT\t1\t" + b64("r=nonce") + "\n"
		}
		if line == "CONT\t1\t"+b64("c=biws") {
			return "OK\t1\tuser=alice\n"
		}
		return "FAIL\t1\n"
	})
	x := s.Begin(login.Client{}, "SCRAM-SHA-256")
	if challenge, r := x.Step(t.Context(), []byte("n,,n=alice")); string(challenge) != "r=nonce" || r.Answer != login.Asks {
		t.Fatalf("%q, %+v", challenge, r)
	}
	if _, r := x.Step(t.Context(), []byte("c=biws")); r.Answer != login.Yes || r.User != "alice" {
		t.Errorf("%+v", r)
	}
}

// TestAnswers: what each answer of the service, and each fault of it, means.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		greeting, answer string
		want             login.Answer
		err              string
	}{
		{hello, "FAIL\t1\tuser=alice\n", login.No, ""},
		{hello, "FAIL\t1\n", login.No, ""},
		{hello, strings.Repeat("FAIL\t2\n", maxLines-1) + "FAIL\t1\n", login.No, ""},
		{hello, strings.Repeat("FAIL\t2\n", maxLines) + "OK\t1\tuser=alice\n", login.Later, "are no answer"},
		{hello, "FAIL\t1\tuser=alice\tuser_disabled\n", login.No, "user_disabled"},
		{hello, "FAIL\t1\tuser=alice\tcode=pass_expired\n", login.No, "pass_expired"},
		{hello, "FAIL\t1\tuser=alice\ttemp\n", login.Later, "has a fault"},
		{hello, "FAIL\t1\tcode=temp_fail\n", login.Later, "has a fault"},
		{hello, "OK\t1\n", login.Yes, ""}, // of nobody: the dialogue refuses that
		{hello, "CONT\t1\t?\n", login.Later, "base64"},
		{hello, "CONT\t1\t" + b64(strings.Repeat("x", 361)) + "\n", login.Later, "has room for"},
		{hello, "", login.Later, "doesn't answer"},
		{hello, strings.Repeat("x", 20000), login.Later, "too long"},
		{"VERSION\t2\t0\nDONE\n", "x", login.Later, "no version 1"},
		{"DONE\n", "x", login.Later, "no version 1"},
		{"220 mail.example ESMTP\r\n" + strings.Repeat("250 x\r\n", 300), "x", login.Later, "no end"},
		{strings.Repeat("x", 20000), "x", login.Later, "too long"},
	} {
		s := service(t, tt.greeting, func(string) string { return tt.answer })
		x := s.Begin(login.Client{}, login.Plain)
		_, r := x.Step(t.Context(), []byte("\x00alice\x00wrong"))
		x.Close()
		if r.Answer != tt.want || (r.Err != nil) != (tt.err != "") || r.Err != nil && !strings.Contains(r.Err.Error(), tt.err) {
			t.Errorf("%.40q %.40q: %+v, want %v %q", tt.greeting, tt.answer, r, tt.want, tt.err)
		}
		if r.Err != nil && strings.Contains(r.Err.Error(), "wrong") {
			t.Errorf("%v tells the password", r.Err)
		}
	}
}

// TestAway: a service that isn't there, or that keeps silent until nobody wants to know
// any more. The words say what to look at.
func TestAway(t *testing.T) {
	x := New(filepath.Join(t.TempDir(), "none")).Begin(login.Client{}, login.Plain)
	if _, r := x.Step(t.Context(), []byte("\x00a\x00b")); r.Answer != login.Later || !strings.Contains(r.Err.Error(), "unix_listener") {
		t.Errorf("%+v", r)
	}
	asked := make(chan struct{})
	silent := make(chan struct{})
	defer close(silent)
	s := service(t, hello, func(string) string { close(asked); <-silent; return "" })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	x = s.Begin(login.Client{}, login.Plain)
	if _, r := x.Step(ctx, []byte("\x00a\x00b")); r.Answer != login.Later || r.Err == nil {
		t.Errorf("%+v", r)
	}
	if err := New(filepath.Join(t.TempDir(), "none")).Look(t.Context()); err == nil {
		t.Error("a look at nothing is content")
	}
}

// FuzzLine: fields come through the protocol as they were, and no line of a stranger's
// makes two.
func FuzzLine(f *testing.F) {
	f.Add("a\tb", "c\x01\nd")
	f.Add("", "\x00\r\x01t")
	f.Fuzz(func(t *testing.T, a, b string) {
		text := line(a, b)
		r := bufio.NewReaderSize(strings.NewReader(string(text)), maxLine)
		fields, err := readLine(r)
		if len(text) > maxLine {
			return
		}
		if err != nil || len(fields) != 2 || fields[0] != a || fields[1] != b || r.Buffered() != 0 {
			t.Errorf("%q %q: %q, %v", a, b, fields, err)
		}
	})
}

// FuzzService: whatever the service says, a login ends, and only OK lets in.
func FuzzService(f *testing.F) {
	f.Add("OK\t1\tuser=x\n")
	f.Add("FAIL\t1\ttemp\nOK\t1\n")
	f.Add("CONT\t1\t====\n")
	f.Fuzz(func(t *testing.T, answer string) {
		client, server := net.Pipe()
		go func() {
			bufio.NewReader(server).ReadString('\n')
			server.Write([]byte(answer))
			server.Close()
		}()
		x := &exchange{source: New("/none"), conn: &conn{client, bufio.NewReaderSize(client, maxLine)}}
		_, r := x.Step(t.Context(), []byte("x"))
		x.Close()
		if r.Answer == login.Yes && !strings.Contains("\n"+answer, "\nOK\t1") {
			t.Errorf("%q lets in: %+v", answer, r)
		}
	})
}
