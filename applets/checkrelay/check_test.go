package checkrelay

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/internal/testenv"
)

// conf reads a configuration.
func conf(t *testing.T, text string) *config.Config {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cf")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: name, UID: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCheck: each sentence is there as far as the way works, the rest is told with what
// to do, and the exit code says whether somebody has to.
func TestCheck(t *testing.T) {
	cert, _ := testenv.Certificate(t, "127.0.0.1")
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o644); err != nil {
		t.Fatal(err)
	}
	answer := func(verb, reply string) func(*testenv.Sink) {
		return func(s *testenv.Sink) {
			s.Answer = func(ev testenv.Event) testenv.Action {
				if ev.Verb == verb {
					return testenv.Action{Reply: reply}
				}
				return testenv.Action{}
			}
		}
	}
	works := []string{"goes to submissions://me@[127.0.0.1]:", "There is a password for me at 127.0.0.1.", "Its addresses are 127.0.0.1:", "[127.0.0.1]:"}
	for _, tt := range []struct {
		name, passwords string
		change          func(*testenv.Sink)
		code            int
		out             []string
		err             string
	}{
		{"all is well", "127.0.0.1 me geheim", nil, 0, append(works, " answers.", "with a certificate that is good.", "me is logged in, by PLAIN.", "Nothing was sent."), ""},
		{"wrong password", "127.0.0.1 me gehiem", nil, 1, works, "login of me at 127.0.0.1 refused: look at user and password in relay-passwords"},
		{"no password", "127.0.0.1 you geheim", nil, 1, works[:1], `add "127.0.0.1 me PASSWORD"`},
		{"not now", "127.0.0.1 me geheim", answer("AUTH", "454 4.7.0 later"), 75, works, "not checked now: it is tried again; it said: 454 4.7.0 later"},
		{"busy", "127.0.0.1 me geheim", answer("", "421 4.3.2 busy"), 75, works, "421 4.3.2 busy"},
		{"another certificate", "127.0.0.1 me geheim", func(s *testenv.Sink) {
			other, _ := testenv.Certificate(t, "127.0.0.1")
			s.TLS = &tls.Config{Certificates: []tls.Certificate{other}}
		}, 1, works, "from an authority that is not trusted here"},
	} {
		s := &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSFirst: true, Users: map[string]string{"me": "geheim"}}
		if tt.change != nil {
			tt.change(s)
		}
		address := s.Start(t)
		file := filepath.Join(t.TempDir(), "passwords")
		if err := os.WriteFile(file, []byte(tt.passwords+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		task, err := NewTask(t.Context(), conf(t, fmt.Sprintf("relay-host=submissions://me@%s\nrelay-passwords=%s\nrelay-tls=%s\nhostname=us.example\n", address, file, ca)), "", true)
		if err != nil {
			t.Fatal(err)
		}
		task = testenv.ByJSON(t, task) // as it comes to the other process
		var out bytes.Buffer
		err = task.Do(t.Context(), &out)
		code := 0
		if err != nil {
			code = cmdline.ExitStatus(err)
		}
		if code != tt.code || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d, %v; want %d, %q", tt.name, code, err, tt.code, tt.err)
		}
		for _, want := range tt.out[:min(len(tt.out), 3)] {
			if tt.name != "no password" && !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, &out)
			}
		}
		for _, want := range tt.out[min(len(tt.out), 4):] {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, &out)
			}
		}
		if all := fmt.Sprint(out.String(), err); strings.Contains(all, "geheim") || strings.Contains(all, "Z2VoZWlt") || len(s.Messages()) > 0 {
			t.Errorf("%s: the password is told, or something was sent:\n%s", tt.name, all)
		}
	}
}

// TestNoRelay: without relay-host there is nothing to check.
func TestNoRelay(t *testing.T) {
	if _, err := NewTask(t.Context(), conf(t, ""), "", false); err == nil || !strings.Contains(err.Error(), "no relay-host") {
		t.Error(err)
	}
}

// TestCheckAll: the relay-host and each smarthost that a line of routes logs in at are
// tried, each once, and one that fails keeps none of the others.
func TestCheckAll(t *testing.T) {
	cert, _ := testenv.Certificate(t, "127.0.0.1")
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	ca := write("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})), 0o644)
	sink := func(user, password string) (*testenv.Sink, string) {
		s := &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSFirst: true, Users: map[string]string{user: password}}
		return s, s.Start(t)
	}
	one, first := sink("me", "geheim")
	two, second := sink("work", "other")
	_, third := sink("x", "changed")
	routes := write("routes", fmt.Sprintf("from:a@b.example submissions://work@%s\nplain.example [127.0.0.1]:1\nfrom:c@d.example submissions://x@%s\nfrom:e@f.example submissions://me@%s\n", second, third, first), 0o644)
	file := write("passwords", "127.0.0.1 me geheim\n127.0.0.1 work other\n127.0.0.1 x geheim\n", 0o600)
	c := conf(t, fmt.Sprintf("relay-host=submissions://me@%s\nroutes=%s\nrelay-passwords=%s\nrelay-tls=%s\nhostname=us.example\n", first, routes, file, ca))
	task, err := NewTask(t.Context(), c, "", false)
	if err != nil {
		t.Fatal(err)
	}
	task = testenv.ByJSON(t, task) // as it comes to the other process
	var out bytes.Buffer
	if err := task.Do(t.Context(), &out); cmdline.ExitStatus(err) != Finding {
		t.Errorf("%v, want the exit code of a finding", err)
	}
	parts := strings.Split(out.String(), "\n\n")
	for i, want := range [][]string{
		{"Mail for other machines goes to submissions://me@", "me is logged in", "Nothing was sent."},
		{"Mail by line 1 of " + routes + " goes to submissions://work@", "work is logged in", "Nothing was sent."},
		{"Mail by line 3 of " + routes, "It does not work: ", "login of x at 127.0.0.1 refused: look at user and password"},
	} {
		for _, want := range want {
			if len(parts) != 3 || !strings.Contains(parts[i], want) {
				t.Errorf("%d parts, no %q in part %d of\n%s", len(parts), want, i, &out)
			}
		}
	}
	if strings.Contains(out.String(), "geheim") || len(one.Messages())+len(two.Messages()) > 0 {
		t.Errorf("a password is told, or something was sent:\n%s", &out)
	}
	if task, err := NewTask(t.Context(), c, "submissions://x@"+third, false); err != nil || len(task.Hosts) != 1 {
		t.Errorf("one that is named: %+v, %v", task.Hosts, err)
	}
}
