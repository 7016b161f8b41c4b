package smtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// TestLMTP: LHLO, and after the dot a reply for each recipient that was
// accepted, in their order (RFC 2033 section 4.2).
func TestLMTP(t *testing.T) {
	const (
		hello  = "S: 220 hi\nC: LHLO us.example\nS: 250-them\nS: 250 PIPELINING\n"
		rcpts  = "C: MAIL FROM:<a@b>\nC: RCPT TO:<p@x>\nC: RCPT TO:<q@x>\nC: RCPT TO:<r@x>\nC: DATA\n"
		letter = "S: 354 go\nC: S: x\nC: \\.\n"
	)
	for _, tt := range []struct {
		name, script string
		want         string // MAIL, each RCPT, DATA, then the final reply for each
		err          error
	}{
		{"all good", hello + rcpts + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + letter + "S: 250 ok\nS: 250 ok\nS: 250 ok", "250 250 250 250 354 250 250 250", nil},
		{"each its own", hello + rcpts + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + letter + "S: 452 4.2.2 full\nS: 250 ok\nS: 550 5.2.1 off", "250 250 250 250 354 452 250 550", nil},
		{"one refused before", hello + rcpts + "S: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\n" + letter + "S: 250 ok\nS: 451 later", "250 250 550 250 354 250 0 451", nil},
		{"none accepted", hello + rcpts + "S: 250 ok\nS: 550 no\nS: 550 no\nS: 450 no\nS: 503 nobody\nC!", "250 550 550 450 0 0 0 0", nil},
		{"none accepted, DATA taken", hello + rcpts + "S: 250 ok\nS: 550 no\nS: 550 no\nS: 450 no\nS: 354 go", "250 550 550 450 0 0 0 0", ErrOutOfStep},
		{"lost after the first", hello + rcpts + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + letter + "S: 250 ok\nS!", "250 250 250 250 354 250 0 0", io.ErrUnexpectedEOF},
		{"ends after the first", hello + rcpts + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + letter + "S: 250 ok\nS: 421 bye", "250 250 250 250 354 250 421 0", ErrClosing},
		{"odd", hello + rcpts + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + letter + "S: 250 ok\nS: 354 what", "250 250 250 250 354 250 0 0", ErrOutOfStep},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withLMTPServer(t, tt.script, func(t *testing.T, c *Client) {
				start(t, c)
				res, err := c.Send(transaction("p", "q", "r"))
				got := fmt.Sprint(res.Mail.Code)
				for _, r := range res.Rcpt {
					got += fmt.Sprint(" ", r.Code)
				}
				got += fmt.Sprint(" ", res.Data.Code)
				for i := range res.Rcpt {
					got += fmt.Sprint(" ", res.FinalFor(i).Code)
				}
				if got != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
					t.Errorf("%s, %v, want %s, %v", got, err, tt.want, tt.err)
				}
			})
		})
	}
}

// TestLMTPHasNoHELO: a server that takes no LHLO is none.
func TestLMTPHasNoHELO(t *testing.T) {
	withLMTPServer(t, "S: 220 hi\nC: LHLO us.example\nS: 500 what\nC!", func(t *testing.T, c *Client) {
		c.Greeting()
		if r, err := c.Hello(); r.Code != 500 || err != nil {
			t.Errorf("%v, %v", r, err)
		}
	})
}

// TestLMTPSecondMessage: a session goes on after one.
func TestLMTPSecondMessage(t *testing.T) {
	one := "C: MAIL FROM:<a@b>\nC: RCPT TO:<p@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: S: x\nC: \\.\nS: 250 ok\n"
	withLMTPServer(t, "S: 220 hi\nC: LHLO us.example\nS: 250-them\nS: 250 PIPELINING\n"+one+one, func(t *testing.T, c *Client) {
		start(t, c)
		for range 2 {
			if res, err := c.Send(transaction("p")); err != nil || !res.Accepted(0) {
				t.Errorf("%+v, %v", res, err)
			}
		}
	})
}

// withLMTPServer is withServer for LMTP.
func withLMTPServer(t *testing.T, dialogue string, do func(t *testing.T, c *Client)) {
	t.Helper()
	d, err := testenv.ParseDialogue(t.Name(), strings.TrimSpace(dialogue))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		played := make(chan error)
		go func() {
			err := d.Play(theirs, testenv.Server)
			theirs.Close()
			played <- err
		}()
		c := NewClient(ours, ClientOptions{Hello: "us.example", LMTP: true, Step: time.Minute})
		do(t, c)
		c.Close()
		if err := <-played; err != nil {
			t.Error(err)
		}
	})
}
