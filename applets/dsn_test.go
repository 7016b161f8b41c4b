package applets

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
	"postoffice/applets/sysexits"
	"postoffice/internal/peer"
)

// listening is a server of this machine's programs that keeps what it gets.
type listening struct {
	conf string // for -C
	mu   sync.Mutex
	got  []smtpd.Transaction
	data []string
}

// listen serves a submission socket until the test ends. change may be nil.
func listen(t *testing.T, change func(*smtpd.Options)) *listening {
	t.Helper()
	dir := t.TempDir()
	in := &listening{conf: filepath.Join(dir, "cf")}
	if err := os.WriteFile(in.conf, []byte("run-dir="+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, service.Submission))
	if err != nil {
		t.Fatal(err)
	}
	o := smtpd.Options{Hostname: "us.example", Queue: in, Account: func(int) (string, string, error) { return "joe", "", nil }, Crash: true}
	if change != nil {
		change(&o)
	}
	s := smtpd.New(o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l, smtpd.Local) }()
	t.Cleanup(func() {
		l.Close()
		s.Shutdown(context.Background())
		<-done
	})
	return in
}

func (l *listening) Room(context.Context) (peer.Amount, error) {
	return peer.Amount{Octets: math.MaxInt64 / 2, Files: math.MaxInt64 / 2}, nil
}
func (l *listening) Held(context.Context) *peer.Held { return &peer.Held{} }
func (l *listening) NewID() (string, error)          { return "Q1", nil }

func (l *listening) Begin(_ context.Context, tx *smtpd.Transaction) (smtpd.Incoming, error) {
	return &heard{l: l, tx: *tx}, nil
}

type heard struct {
	strings.Builder
	l  *listening
	tx smtpd.Transaction
}

func (h *heard) ID() string     { return "Q1" }
func (h *heard) More() []string { return nil }
func (h *heard) Abort()         {}
func (h *heard) Release()       {}
func (h *heard) Hold(string)    {}

func (h *heard) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(h.String()).ReadAt(p, off)
}

func (h *heard) Instead(ctx context.Context, tx *smtpd.Transaction) (smtpd.Incoming, error) {
	return h.l.Begin(ctx, tx)
}

func (h *heard) Commit(context.Context) error {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	h.l.got, h.l.data = append(h.l.got, h.tx), append(h.l.data, h.String())
	return nil
}

// sendmail runs sendmail with args and returns its exit code and standard
// error.
func (l *listening) sendmail(text string, args ...string) (code int, stderr string) {
	var out, errs strings.Builder
	env := &cmdline.Env{Stdin: strings.NewReader(text), Stdout: &out, Stderr: &errs}
	code = programs().Run(context.Background(), env, append([]string{"sendmail", "-C", l.conf}, args...))
	return code, errs.String()
}

// TestDeliveryModes: -odq and -odd leave the message to the next run; the last
// one counts, and what nobody knows changes nothing.
func TestDeliveryModes(t *testing.T) {
	for _, tt := range []struct {
		args  string
		waits bool
	}{
		{"bob", false},
		{"-odq bob", true},
		{"-o dq bob", true},
		{"-odd bob", true},
		{"-ODeliveryMode=queueonly bob", true},
		{"-odb bob", false},
		{"-odi bob", false},
		{"-odx bob", false},
		{"-odq -odi bob", false},
		{"-odb -oi -odq bob", true},
	} {
		in := listen(t, nil)
		code, stderr := in.sendmail("hello\n", strings.Fields(tt.args)...)
		if code != 0 || len(in.got) != 1 {
			t.Fatalf("%q: exit code %d, %d messages, %q", tt.args, code, len(in.got), stderr)
		}
		if tx := in.got[0]; tx.Queue != tt.waits || len(tx.Params) != 0 {
			t.Errorf("%q: waits %v, want %v; parameters %v", tt.args, tx.Queue, tt.waits, tx.Params)
		}
	}
}

// TestDSNFlags: -N, -R and -V reach the envelope, and A67 what can't stand
// there is a wrong command line.
func TestDSNFlags(t *testing.T) {
	for _, tt := range []struct{ args, want string }{ // want "" is code 64; "_" in args is a blank
		{"bob", "MAIL [] RCPT []"},
		{"-N never bob", "MAIL [] RCPT [NOTIFY=NEVER]"},
		{"-Nsuccess,delay -R hdrs bob amy", "MAIL [RET=HDRS] RCPT [NOTIFY=SUCCESS,DELAY] RCPT [NOTIFY=SUCCESS,DELAY]"},
		{"-Rfull -V QQ314159 bob", "MAIL [RET=FULL ENVID=QQ314159] RCPT []"},
		{"-Va+2Bb bob", "MAIL [ENVID=a+2Bb] RCPT []"},
		{"-V a_b bob", "MAIL [ENVID=a+20b] RCPT []"},
		{"-N sometimes bob", ""},
		{"-N never,delay bob", ""},
		{"-R body bob", ""},
		{"-V a\nX:y bob", ""},
		{"-R full\nX:y bob", ""},
	} {
		t.Run(tt.args, func(t *testing.T) {
			in := listen(t, nil)
			args := strings.Split(tt.args, " ")
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
			code, stderr := in.sendmail("hello\n", args...)
			if tt.want == "" {
				if code != sysexits.Usage || len(in.got) != 0 || strings.Count(stderr, "\n") > 4 {
					t.Errorf("%q: exit code %d, %d messages, %q", args, code, len(in.got), stderr)
				}
				return
			}
			if code != 0 || len(in.got) != 1 {
				t.Fatalf("%q: exit code %d, %d messages, %q", args, code, len(in.got), stderr)
			}
			got := fmt.Sprint("MAIL ", in.got[0].Params)
			for _, r := range in.got[0].Recipients {
				got += fmt.Sprint(" RCPT ", r.Params)
			}
			if got != tt.want {
				t.Errorf("%q: got %s, want %s", args, got, tt.want)
			}
		})
	}
}
