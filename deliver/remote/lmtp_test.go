package remote

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

const store = "/run/store/lmtp"

// TestLMTPJudgedForEachA37A41: what the store says of each recipient is theirs
// result; long lines go as they are.
func TestLMTPJudgedForEachA37A41(t *testing.T) {
	long := strings.Repeat("x", 3000)
	const begin = "S: 220 hi\nC: LHLO us.example\nS: 250-them\nS: 250-STARTTLS\nS: 250 PIPELINING\n" +
		"C: MAIL FROM:<s@us.example>\nC: RCPT TO:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: RCPT TO:<c@x.example>\nC: DATA\n"
	for _, tt := range []struct {
		name, script string
		want         string // Outcome of each
		err          bool
	}{
		{"each its own", begin + "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 who\nS: 250 ok\nS: 354 go\nC: S: x\nC: \nC: " + long + "\nC: \\.\nS: 250 ok\nS: 452 4.2.2 full", "delivered bounced deferred", false},
		{"for good", begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \nC: " + long + "\nC: \\.\nS: 550 5.2.1 off\nS: 552 5.2.2 over quota\nS: 250 ok", "bounced bounced delivered", false},
		{"lost", begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \nC: " + long + "\nC: \\.\nS: 250 ok\nS!", "delivered deferred deferred", true},
		{"odd", begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \nC: " + long + "\nC: \\.\nS: 250 ok\nS: 299 well\nS: 300 what", "delivered delivered deferred", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				played := w.dialogue(store, tt.script)
				s, err := DialLMTP(t.Context(), store, w.options())
				if err != nil {
					t.Fatal(err)
				}
				results, err := s.Send(t.Context(), message("S: x\n\n"+long+"\n", "a", "b", "c"))
				var got []string
				for _, r := range results {
					got = append(got, r.Action.String())
					if r.Relay != "lmtp:"+store || r.Action == outcome.Deferred && r.Err == nil && !r.Reply.Temporary() {
						t.Errorf("%+v", r)
					}
				}
				if strings.Join(got, " ") != tt.want || (err != nil) != tt.err {
					t.Errorf("%v, %v, want %s", got, err, tt.want)
				}
				s.client.Close()
				if err := <-played; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// dialogue has the server's side of a script played at an address.
func (w *world) dialogue(address, script string) (played chan error) {
	d, err := testenv.ParseDialogue(w.t.Name(), script)
	if err != nil {
		w.t.Fatal(err)
	}
	played = make(chan error, 1)
	w.peers[address] = func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			played <- d.Play(server, testenv.Server)
			server.Close()
		}()
		return client, nil
	}
	return played
}

// TestLMTPStoreNotThere: everything that keeps us from the store is for later.
func TestLMTPStoreNotThere(t *testing.T) {
	_, err := DialLMTP(t.Context(), filepath.Join(t.TempDir(), "none"), Options{Hostname: "us.example"})
	if r := outcome.Of(err); r.Action != outcome.Deferred || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", r, err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, script := range []string{"S: 554 go away\nC!", "S: 220 hi\nC: LHLO us.example\nS: 500 I speak SMTP\nC!", "S!"} {
			played := w.dialogue(store, script)
			_, err := DialLMTP(t.Context(), store, w.options())
			if r := outcome.Of(err); err == nil || r.Action != outcome.Deferred {
				t.Errorf("%q: %+v, %v", script, r, err)
			}
			if err := <-played; err != nil {
				t.Error(err)
			}
		}
		w.peers[store] = func(context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			t.Cleanup(func() { server.Close() })
			return client, nil
		}
		begun := time.Now()
		_, err := DialLMTP(t.Context(), store, w.options())
		if took := time.Since(begun); err == nil || took != lmtpStep {
			t.Errorf("a store that says nothing: %v after %v", err, took)
		}
	})
}

func TestLMTPAccepted(t *testing.T) {
	ok, no := smtp.Reply{Code: 250}, smtp.Reply{Code: 450}
	res := smtp.TransactionResult{Mail: ok, Rcpt: []smtp.Reply{ok, ok, no}, Each: []smtp.Reply{ok, no, {}}}
	for i, want := range []bool{true, false, false} {
		if res.Accepted(i) != want {
			t.Errorf("recipient %d: %v", i, res.Accepted(i))
		}
	}
}
