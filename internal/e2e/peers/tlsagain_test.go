//go:build e2e

package peers

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// typed runs openssl s_client on a host, each entry of lines typed once what stands before
// it was printed, and returns what it printed; it must end by itself.
func typed(t *testing.T, h *lan.Host, args []string, lines ...[2]string) string {
	t.Helper()
	in, keyboard, err := os.Pipe() // whose end s_client would take for QUIT
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	cmd := h.Command(context.Background(), append([]string{"timeout", "60", "openssl", "s_client"}, args...)...)
	cmd.Stdin = in
	p := h.Start(cmd)
	in.Close()
	for _, l := range lines {
		lan.Until(t, time.Minute, "openssl prints "+l[0]+"\n"+p.Output(), func() bool { return strings.Contains(p.Output(), l[0]) })
		if _, err := keyboard.WriteString(l[1]); err != nil {
			t.Fatal(err)
		}
	}
	<-p.Done
	return p.Output()
}

// savedElsewhere saves a session of TLS 1.3, which may be resumed with early data, with a
// server of openssl's.
func savedElsewhere(t *testing.T, h *lan.Host, saved string) {
	t.Helper()
	key, cert := h.Path("other.key"), h.Path("other.pem")
	lan.Sh(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other.test", "-keyout", key, "-out", cert)
	p := h.Start(h.Command(context.Background(), "timeout", "60", "openssl", "s_server", "-accept", "4433", "-key", key, "-cert", cert, "-naccept", "1", "-www", "-max_early_data", "16384"))
	lan.Until(t, time.Minute, "openssl listens", func() bool { return strings.Contains(p.Output(), "ACCEPT") })
	typed(t, h, []string{"-connect", "127.0.0.1:4433", "-tls1_3", "-sess_out", saved}, [2]string{"Verify return code", "GET / HTTP/1.0\n\n"})
	<-p.Done
}

// TestTLSAgain: a session under TLS 1.2 is resumed, one of TLS 1.3 has no ticket for that,
// keys may be changed, and what would begin TLS once more within it, or put a command into
// the handshake (0-RTT, which may be sent again by anybody), ends the connection and is no
// command; others are served all the while.
func TestTLSAgain(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	h, stranger := l.Host("one.test"), l.Host("stranger.test")
	s := h.Install("msps", "msp")
	s.Serve()
	s.Listening("465")
	beside, err := stranger.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	other, err := lan.NewDialogue(beside, "stranger.test")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Quit()
	inStep := func(after string) {
		t.Helper()
		if err := other.Expect("NOOP", "250"); err != nil {
			t.Errorf("%s: another session: %v", after, err)
		}
		if out := typed(t, stranger, []string{"-connect", s.IP + ":25", "-starttls", "smtp", "-crlf", "-ign_eof"}, [2]string{"250 ", "QUIT\n"}); !strings.Contains(out, "221 2.0.0") {
			t.Errorf("%s: the next session:\n%s", after, out)
		}
	}

	for port, start := range map[string][]string{"25": {"-starttls", "smtp"}, "465": nil} {
		greeting := map[string]string{"25": "250 ", "465": "220 "}[port]
		out := typed(t, stranger, append([]string{"-connect", s.IP + ":" + port, "-tls1_2", "-crlf"}, start...), [2]string{greeting, "R\n"})
		if !strings.Contains(out, "RENEGOTIATING") || !strings.Contains(out, "alert") {
			t.Errorf("renegotiation at port %s:\n%s", port, out)
		}
		inStep("renegotiation")
		out = typed(t, stranger, append([]string{"-connect", s.IP + ":" + port, "-tls1_3", "-crlf"}, start...),
			[2]string{greeting, "K\n"}, [2]string{"KEYUPDATE", "EHLO stranger.test\n"}, [2]string{"CHUNKING", "quit\n"})
		if !strings.Contains(out, "221 2.0.0") {
			t.Errorf("new keys at port %s:\n%s", port, out)
		}
	}

	saved, early := stranger.Path("session"), stranger.Path("early")
	first := []string{"-connect", s.IP + ":465", "-tls1_3", "-crlf", "-ign_eof"}
	if out := typed(t, stranger, first, [2]string{"220 ", "QUIT\n"}); !strings.Contains(out, "221 2.0.0") || strings.Contains(out, "Session Ticket") {
		t.Errorf("a session of TLS 1.3, in which no ticket comes:\n%s", out)
	}
	savedElsewhere(t, stranger, saved)
	lan.WriteFile(t, early, "EHLO early.test\r\nMAIL FROM:<early@stranger.test>\r\n")
	out := typed(t, stranger, append(first, "-sess_in", saved, "-early_data", early))
	if !strings.Contains(out, "SSL alert number 110") || strings.Contains(out, "250 ") {
		t.Errorf("early data:\n%s", out)
	}
	inStep("early data")
	if out := typed(t, stranger, []string{"-connect", s.IP + ":25", "-starttls", "smtp", "-tls1_2", "-reconnect"}, [2]string{"250 ", "Q\n"}); strings.Count(out, "Reused, TLSv1.2") != 5 {
		t.Errorf("five more connections at port 25:\n%s", out)
	}
	inStep("five resumed sessions")
	if !lan.Says(s.Log, "TLS handshake failed") || lan.Contains(s.Log, "helo=early.test") {
		t.Errorf("early data became a command, or the log has no word on it")
	}
}
