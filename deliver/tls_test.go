package deliver

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"

	"postoffice/internal/testenv"
)

// TestTLSIsTold: log and note say how the session was encrypted that an
// outcome came by, and that one was in clear by saying nothing.
func TestTLSIsTold(t *testing.T) {
	cert, _ := testenv.Certificate(t, "mx.example")
	for _, tt := range []struct {
		name   string
		sink   *testenv.Sink
		secure bool
	}{
		{"encrypted", &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}, true},
		{"in clear", &testenv.Sink{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.sink.Answer = func(ev testenv.Event) testenv.Action {
				if strings.Contains(ev.Line, "later@") {
					return testenv.Action{Reply: "450 4.2.0 greylisted"}
				}
				return testenv.Action{}
			}
			r.peer("192.0.2.1", tt.sink)
			id := r.mail("alice", "taken@[192.0.2.1]", "later@[192.0.2.1]")
			r.pass()
			for _, event := range []string{"message delivered", "delivery deferred"} {
				var line string
				for l := range strings.Lines(r.log.String()) {
					if strings.Contains(l, event) {
						line = l
					}
				}
				if strings.Contains(line, `tls="TLS 1.3 TLS_`) != tt.secure || line == "" {
					t.Errorf("%s: %q", event, line)
				}
			}
			notes := r.snapshot(id).Notes
			if len(notes) != 1 || strings.HasPrefix(notes[0].TLS, "TLS 1.3 TLS_") != tt.secure {
				t.Errorf("notes %+v", notes)
			}
			if bytes.Contains(r.file(id), []byte(` tls="TLS 1.3 `)) != tt.secure {
				t.Errorf("the queue file has\n%s", r.file(id))
			}
		})
	}
}
