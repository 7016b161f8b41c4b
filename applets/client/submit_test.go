package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/server"
	"postoffice/internal/smtp"
)

// TestReplay reads a message in parts, again and again, from its start.
func TestReplay(t *testing.T) {
	for _, size := range []int{0, 1, maxReplay - 1, maxReplay, maxReplay + 1, 5*maxReplay + 17} {
		text := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		r := &replay{src: iotestReader(text)}
		defer r.close()
		for _, part := range []int{0, 10, maxReplay, 2 * maxReplay, size, size} {
			from, err := r.start()
			if err != nil {
				t.Fatal(err)
			}
			want := text[:min(part, size)]
			got := make([]byte, len(want))
			if _, err := io.ReadFull(from, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d octets of %d: %v, equal %v", part, size, err, bytes.Equal(got, want))
			}
		}
		from, _ := r.start()
		if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, text) {
			t.Errorf("the whole of %d: %d octets, %v", size, len(got), err)
		}
	}
}

// iotestReader gives a text in pieces of odd sizes.
func iotestReader(text []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(text[:len(text)/3]), bufio.NewReader(bytes.NewReader(text[len(text)/3:])))
}

// TestReplayWithoutRoom: where nothing can be kept, the first reading goes on
// and the second is refused.
func TestReplayWithoutRoom(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	text := bytes.Repeat([]byte("x"), 3*maxReplay)
	r := &replay{src: bytes.NewReader(text)}
	from, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d octets, %v", len(got), err)
	}
	if _, err := r.start(); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v, want why it could not be kept", err)
	}
}

// A flakyServer ends its sessions at one command after the other, and takes the
// message of the first one that it lets come to its end.
type flakyServer struct {
	ends []string // of each session: the command at which it ends, "" at the greeting, "." behind the message
	say  string   // what it says then
	got  []string // messages taken

	patience time.Duration // for a message as a whole; 0: as long as it takes
}

func (f *flakyServer) dial() net.Conn {
	client, server := net.Pipe()
	end := "never"
	if len(f.ends) > 0 {
		end, f.ends = f.ends[0], f.ends[1:]
	}
	go f.serve(server, end)
	return client
}

func (f *flakyServer) serve(conn net.Conn, end string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for command := ""; ; {
		if command == end {
			io.WriteString(conn, f.say)
			return
		}
		switch command {
		case "":
			io.WriteString(conn, "220 us\r\n")
		case "DATA":
			io.WriteString(conn, "354 go\r\n")
			var text bytes.Buffer
			if f.patience > 0 {
				conn.SetReadDeadline(time.Now().Add(f.patience))
			}
			if _, err := smtp.ReadData(&text, r, smtp.DataOptions{}); err != nil {
				io.WriteString(conn, f.say)
				return
			}
			if end == "." {
				io.WriteString(conn, f.say)
				return
			}
			f.got = append(f.got, text.String())
			io.WriteString(conn, "250 2.0.0 queued as X\r\n")
		default:
			io.WriteString(conn, "250 ok\r\n")
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		command = strings.ToUpper(line[:4])
	}
}

// TestSubmitAgain: a server that goes away, or says 421, at any moment costs no
// message; one that does so for ever costs half a minute, and a minute more where it
// doesn't greet any more.
func TestSubmitAgain(t *testing.T) {
	moments := []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."}
	for _, say := range []string{"", "421 4.3.2 us is shutting down\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			f := &flakyServer{ends: moments, say: say}
			sent, err := submitTo(t, f)
			if err != nil || !slices.Equal(sent.ids, []string{"X"}) || !slices.Equal(f.got, []string{"Subject: x\n\nhello\n"}) {
				t.Errorf("said %q: %v, taken %q", say, err, f.got)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			f := &flakyServer{ends: slices.Repeat(moments, 20), say: say}
			begun := time.Now()
			if _, err := submitTo(t, f); cmdline.ExitStatus(err) != 75 {
				t.Errorf("said %q: %v, want exit 75", say, err)
			}
			if took := time.Since(begun); took > restartWait+greetWait || took < restartWait/2 {
				t.Errorf("said %q: gave up after %v", say, took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a refusal is an answer
		f := &flakyServer{ends: []string{"MAIL"}, say: "550 5.7.1 not you\r\n"}
		if _, err := submitTo(t, f); cmdline.ExitStatus(err) != 69 || len(f.got) > 0 {
			t.Errorf("%v, taken %q, want exit 69", err, f.got)
		}
	})
}

func submitTo(t *testing.T, f *flakyServer) (*submitted, error) {
	text := "Subject: x\n\nhello\n"
	l := letter{
		from: smtp.Path{Local: "alice", Domain: "us.example"}, body: &replay{src: strings.NewReader(text)},
		to: []smtp.Recipient{{Path: smtp.Path{Local: "bob", Domain: "us.example"}}},
	}
	env := &cmdline.Env{Stderr: os.Stderr}
	return l.submit(t.Context(), env, f.dial(), time.Now().Add(greetWait), sessions{
		more: func(time.Time) (net.Conn, error) { return f.dial(), nil },
		last: func(why error) (net.Conn, error) { return nil, why },
	})
}

// A70, A81: a server that gives no session for a minute, however it does that, isn't
// waited for: the message goes another way, and is kept once. One that greets in the
// last second of that minute has it.
func TestUnheard(t *testing.T) {
	text := "Subject: x\n\nhello\n"
	for _, tt := range []struct {
		name  string
		dial  func(begun time.Time, f *flakyServer) net.Conn
		other bool // it goes another way
	}{
		{"silent", func(time.Time, *flakyServer) net.Conn { ours, _ := net.Pipe(); return ours }, true},
		{"421 for ever", func(_ time.Time, f *flakyServer) net.Conn {
			f.ends = []string{""}
			return f.dial()
		}, true},
		{"slow", func(begun time.Time, f *flakyServer) net.Conn {
			if time.Since(begun) < 57*time.Second {
				f.ends = []string{""}
			}
			return f.dial()
		}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			busy, spare := &flakyServer{say: "421 4.7.0 too many sessions\r\n"}, &flakyServer{}
			l := letter{body: &replay{src: strings.NewReader(text)}, to: []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}}}
			env := &cmdline.Env{Stderr: os.Stderr}
			var waited time.Duration
			sent, err := l.submit(t.Context(), env, tt.dial(begun, busy), begun.Add(greetWait), sessions{
				more: func(time.Time) (net.Conn, error) { return tt.dial(begun, busy), nil },
				last: func(why error) (net.Conn, error) {
					waited = time.Since(begun)
					if !errors.Is(why, server.ErrNoSession) {
						t.Errorf("%s: the last way because of %v", tt.name, why)
					}
					return spare.dial(), nil
				},
			})
			if err != nil || sent == nil || len(busy.got)+len(spare.got) != 1 || len(spare.got) == 1 != tt.other {
				t.Errorf("%s: %v; the server has %q, the other way %q", tt.name, err, busy.got, spare.got)
			}
			if tt.other && (waited > greetWait || waited < greetWait-2*lastPause) {
				t.Errorf("%s: another way after %v, want %v", tt.name, waited, greetWait)
			}
		})
	}
}

// slowInput is the output of a program that works for six minutes after its first
// line.
type slowInput struct{ lines []string }

func (s *slowInput) Read(p []byte) (int, error) {
	if len(s.lines) == 0 {
		return 0, io.EOF
	}
	if len(s.lines) == 1 {
		time.Sleep(6 * time.Minute)
	}
	n := copy(p, s.lines[0])
	s.lines = s.lines[1:]
	return n, nil
}

// A90: a message that comes so slowly that its session is ended meanwhile is
// submitted again, whole.
func TestSubmitSlowInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flakyServer{patience: 5 * time.Minute, say: "421 4.4.2 too slow\r\n"}
		l := letter{
			body: &replay{src: &slowInput{lines: []string{"Subject: x\n\none\n", "two\n"}}},
			to:   []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}},
		}
		env := &cmdline.Env{Stderr: os.Stderr}
		sent, err := l.submit(t.Context(), env, f.dial(), time.Now().Add(greetWait), sessions{
			more: func(time.Time) (net.Conn, error) { return f.dial(), nil },
			last: func(why error) (net.Conn, error) { return nil, why },
		})
		if err != nil || sent == nil || !slices.Equal(f.got, []string{"Subject: x\n\none\ntwo\n"}) {
			t.Errorf("%v, taken %q", err, f.got)
		}
	})
}

// A70: where no session is to be had, and no server may be started for the message,
// as with errors in the configuration, it is left in maildrop/.
func TestUnheardWay(t *testing.T) {
	why := errors.New("nobody greets")
	env := &cmdline.Env{}
	bad := &flaw{env: env, err: errors.New("cf:1: no")}
	if _, err := unheard(t.Context(), env, &config.Config{QueueDir: t.TempDir()}, bad, why); !errors.Is(err, errNoServer) || !errors.Is(err, why) {
		t.Errorf("%v, want the way to maildrop/", err)
	}
}

// TestFlawOnce: what is wrong with the configuration is told once, also where the
// server goes away and the message to maildrop/.
func TestFlawOnce(t *testing.T) {
	var said strings.Builder
	env := &cmdline.Env{Program: "sendmail", Stderr: &said}
	bad := &flaw{env: env, err: errors.New("cf:1: no")}
	bad.tell()
	bad.tell()
	(&flaw{env: env}).tell()
	if said.String() != "sendmail: cf:1: no\n" {
		t.Errorf("told %q", &said)
	}
}
