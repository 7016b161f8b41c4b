package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/testenv"
)

// R47, R51, R59, S105, A39: peers that use up all time.
func TestR47SlowPeers(t *testing.T) {
	big := strings.Repeat("0123456789012345678901234567890123456789\n", 5000)
	for _, tt := range []struct {
		name string
		at   string
		act  testenv.Action
		most time.Duration
		log  bool
	}{
		{"R51 stops answering", "MAIL", testenv.Action{Hang: true}, 6 * time.Minute, true},
		{"R51 stops reading commands", "MAIL", testenv.Action{Stuck: true}, 6 * time.Minute, true},
		{"R59 stops reading the body", "BODY", testenv.Action{Stuck: true}, 15 * time.Minute, true},
		{"no answer to the dot", ".", testenv.Action{Hang: true}, 15 * time.Minute, true},
		{"an octet a second for ever", "RCPT", testenv.Action{Raw: strings.Repeat("250-x\r\n", 300), Each: time.Second}, 6 * time.Minute, true},
		{"R47 an answer every 4 minutes", "*", testenv.Action{Each: 8 * time.Second}, 15 * time.Minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.sink(mxAddr, &testenv.Sink{Extensions: []string{"8BITMIME"}, Answer: func(ev testenv.Event) testenv.Action {
					if ev.Verb == tt.at || tt.at == "*" && ev.Verb != "BODY" {
						return tt.act
					}
					return testenv.Action{}
				}})
				var log bytes.Buffer
				o := w.options()
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
				start := time.Now()
				results := deliver(t, o, message(big, "a"))
				took := time.Since(start)
				if got := words(results); got != "deferred" || took > tt.most+time.Second {
					t.Errorf("%s after %v, want deferred within %v", got, took, tt.most)
				}
				if logged := strings.Contains(log.String(), "slow peer dropped"); logged != tt.log {
					t.Errorf("logged %v, want %v: %s", logged, tt.log, log.String())
				}
				if strings.HasPrefix(tt.name, "R47") && !errors.Is(results[0].Err, ErrLimit) {
					t.Errorf("reason %v", results[0].Err)
				}
			})
		})
	}
}

// R47 in the body: 200 octets a second are never too slow for one block and
// always too slow for the whole.
func TestR47SlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		done := make(chan struct{})
		w.peers[mxAddr] = func(context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				slowReader(server)
				close(done)
			}()
			return client, nil
		}
		var log bytes.Buffer
		o := w.options()
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		start := time.Now()
		r := deliver(t, o, message(strings.Repeat(plain, 20000), "a"))[0]
		if took := time.Since(start); r.Action != outcome.Deferred || !errors.Is(r.Err, ErrLimit) || took > defaultTotal+time.Minute {
			t.Errorf("%+v after %v", r, took)
		}
		<-done // a bubble does not wait for sleepers
		if !strings.Contains(log.String(), "slow peer dropped") {
			t.Errorf("log: %q", log.String())
		}
	})
}

// slowReader welcomes a message and reads it slowly, for ever.
func slowReader(conn net.Conn) {
	defer conn.Close()
	io.WriteString(conn, "220 x\r\n")
	buf := make([]byte, 1000)
	for _, reply := range []string{"250 x", "250 x", "250 x", "354 x"} {
		conn.Read(buf)
		io.WriteString(conn, reply+"\r\n")
	}
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
		time.Sleep(5 * time.Second)
	}
}
