package trymilter

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/config"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// TestTrial: each step, what the filter says and wants changed is printed, and what is
// refused; a filter that fails is an error.
func TestTrial(t *testing.T) {
	edits := testfilter.Reply('h', "X-A\x00b\x00") + testfilter.Reply('b', "new\r\n") + testfilter.Reply('h', "X-B\x00b\nc\x00") + testfilter.Reply('c', "")
	for _, tt := range []struct {
		name  string
		f     *testfilter.Filter
		want  []string
		never string
		err   error
	}{
		{"edits", &testfilter.Filter{Answers: map[byte]string{'E': edits}},
			[]string{"connect          continue", "header Subject   continue", "end of message   continue", "add a header field: X-A: b", "replace the body: by one of 4 octets", "refused: "}, "failed", nil},
		{"refusal", &testfilter.Filter{Answers: map[byte]string{'R': testfilter.Reply('y', "550 5.7.1 no %s\x00")}}, []string{"reply 550 5.7.1 no %s"}, "data", nil},
		{"failure", &testfilter.Filter{Answers: map[byte]string{'B': ""}, Closes: "B"}, []string{"octets  failed: body"}, "end of message", ErrFilter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			served := make(chan error, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					err = tt.f.Serve(c)
				}
				served <- err
			}()
			conf := conf(t, "filter="+address+" name=a\n")
			task, err := NewTask(conf, "a", "")
			if err != nil {
				t.Fatal(err)
			}
			task = testenv.ByJSON(t, task) // as it comes to the other process
			var out strings.Builder
			if err := task.Do(t.Context(), &out); err != tt.err {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("there is no %q", want)
				}
			}
			if strings.Contains(out.String(), tt.never) || t.Failed() {
				t.Errorf("it says:\n%s", &out)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// conf is a configuration.
func conf(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file, UID: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNames: a filter that isn't there is told, with those that are.
func TestNames(t *testing.T) {
	_, err := NewTask(conf(t, ""), "a", "")
	if err != errNone {
		t.Errorf("got %v", err)
	}
	if _, err = NewTask(conf(t, "filter=/b name=b\n"), "a", ""); err == nil || !strings.Contains(err.Error(), "there are b") {
		t.Errorf("got %v", err)
	}
}
