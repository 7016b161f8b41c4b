package remote

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A39: a host that accepts and says nothing keeps its session for 30 seconds where others
// wait for one, from then on or when they come, and for the greeting's time where nobody
// does.
func TestScarceWelcome(t *testing.T) {
	const step = 5 * time.Minute
	for _, tt := range []struct {
		name        string
		scarce      func(time.Duration) bool // after so long
		least, most time.Duration
	}{
		{"others wait", func(time.Duration) bool { return true }, scarceWelcome, scarceWelcome},
		{"others come", func(d time.Duration) bool { return d > time.Minute }, time.Minute, time.Minute + scarceCheck},
		{"nobody waits", func(time.Duration) bool { return false }, step, step},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, false)
				p.peers[mxAddr] = func(context.Context) (net.Conn, error) {
					client, server := net.Pipe()
					t.Cleanup(func() { server.Close() })
					return client, nil
				}
				begun, ended := time.Now(), make(chan time.Duration, 1)
				j := p.job(hopOf("192.0.2.1"), "m", 1)
				j.Options.Step = step
				j.Options.Scarce = func() bool { return tt.scarce(time.Since(begun)) }
				answer := j.Answer
				j.Answer = func(x Answer) {
					answer(x)
					ended <- time.Since(begun)
				}
				p.Add(j)
				if took := <-ended; took < tt.least || took > tt.most {
					t.Errorf("the session ended after %v, want %v to %v", took, tt.least, tt.most)
				}
				p.end()
				p.want("m: 0-1 deferred, down")
			})
		})
	}
}
