package client

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
)

// TestSpeakEnds: sendmail -bs ends with 1 where the server ended the session,
// with 0 behind QUIT and an end of input, also where nobody reads the replies any
// more; other errors of its output are told.
func TestSpeakEnds(t *testing.T) {
	for _, tt := range []struct {
		name, replies string
		want          int
	}{
		{"QUIT", "220 us\r\n221 bye\r\n", 0},
		{"end of input behind a message", "220 us\r\n250-x\r\n250 ok\r\n354 go\r\n250 queued as X\r\n", 0},
		{"too slow", "220 us\r\n421 4.4.2 us closes the connection\r\n", 1},
		{"421 of several lines", "220 us\r\n421-4.4.2 us closes\r\n421 4.4.2 the connection\r\n", 1},
		{"nothing", "", 0},
	} {
		for _, out := range []error{nil, syscall.EPIPE, syscall.ENOSPC, syscall.EBADF} {
			client, server := net.Pipe()
			go func() {
				go io.Copy(io.Discard, server)
				io.WriteString(server, tt.replies)
				server.Close()
			}()
			var shown bytes.Buffer
			env := &cmdline.Env{Stdin: strings.NewReader("x"), Stdout: &shown}
			want := tt.want
			if out != nil {
				env.Stdout = badOutput{out}
			}
			if tt.replies != "" && out == syscall.ENOSPC {
				want = sysexits.TempFail
			}
			if tt.replies != "" && out == syscall.EBADF {
				want = sysexits.IOErr
			}
			if got := cmdline.ExitStatus(speak(env, client)); got != want {
				t.Errorf("%s, output %v: exit %d, want %d", tt.name, out, got, want)
			}
			if out == nil && shown.String() != tt.replies {
				t.Errorf("%s: shown %q, want %q", tt.name, shown.String(), tt.replies)
			}
		}
	}
}

// badOutput is one that can't be written.
type badOutput struct{ err error }

func (b badOutput) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "out", Err: b.err}
}
